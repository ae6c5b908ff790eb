/** What a user would call basic: nodes die, freeze, fill up, come back, and no acknowledged file suffers. */
import { afterEach, describe, expect, test } from "bun:test";
import { closeSync, existsSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { stopwatch } from "../support/fair-time.ts";
import { pick, SEED, seeded } from "../support/random.ts";
import { randomStream, sha256Of } from "../support/random-stream.ts";
import { type ClusterOptions, RealCluster } from "../support/real-cluster.ts";

const MIB = 1 << 20;
const MINUTE = 60_000;
/** Small chunks and blocks, so that a few megabytes are many of both. */
const SMALL = { chunkSizeBytes: 4 * MIB, blockSizeBytes: 256 << 10, inlineChunkBytes: 16 << 10 };

let cluster: RealCluster;
afterEach(() => cluster?.stop());

async function start(options: ClusterOptions = {}): Promise<void> {
  cluster = await RealCluster.start({ ...options, config: { ...SMALL, ...options.config } });
}

async function put(
  path: string,
  lengthBytes: number,
  seed = lengthBytes,
  onProgress?: (bytes: number) => void | Promise<void>,
) {
  const source = randomStream(lengthBytes, seed, onProgress);
  const response = await fetch(cluster.fileUrl(path), { method: "PUT", body: source.stream });
  const body = (await response.json()) as { code?: string; detail?: string };
  return { status: response.status, body, sha256: source.sha256() };
}

async function get(path: string): Promise<string> {
  const response = await fetch(cluster.fileUrl(path));
  if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
  return (await sha256Of(response.body as ReadableStream<Uint8Array>)).sha256;
}

const chunkFile = (workerId: string, chunkId: string): string =>
  join(cluster.dataOf(workerId), "chunks", chunkId.slice(-2), `${chunkId}.chunk`);

function flipByte(file: string, at: number): void {
  const fd = openSync(file, "r+");
  const byte = new Uint8Array(1);
  readSync(fd, byte, 0, 1, at);
  writeSync(fd, Uint8Array.of((byte[0] as number) ^ 0x40), 0, 1, at);
  closeSync(fd);
}

describe("the master", () => {
  test("58c. an upload goes on over a kill -9 and a restart of the master, and every acknowledged file is there", async () => {
    await start();
    const earlier = await Promise.all(Array.from({ length: 20 }, (_, n) => put(`earlier/${n}`, 5000 + n)));
    let restarted: Promise<void> | undefined;
    const sent = await put("through", 64 * MIB, 1, async (bytes) => {
      if (bytes > 32 * MIB)
        restarted ??= cluster
          .kill("master-1")
          .then(() => Bun.sleep(1000))
          .then(() => cluster.restart("master-1"));
    });
    await restarted;
    expect(sent.status).toBe(201);
    await cluster.ready();
    expect(await get("through")).toBe(sent.sha256);
    for (const [n, { status, sha256 }] of earlier.entries()) {
      expect(status).toBe(201);
      expect(await get(`earlier/${n}`)).toBe(sha256);
    }
  });

  test("while the master stays away a write fails with the reason, and nothing of it is visible when the master is back", async () => {
    await start();
    await cluster.kill("master-1");
    const sent = await put("never", 8 * MIB);
    expect([503, 504]).toContain(sent.status);
    expect(["NO_LEADER", "OUTCOME_UNKNOWN"]).toContain(sent.body.code as string);
    cluster.restart("master-1");
    await cluster.ready();
    expect((await fetch(cluster.fileUrl("never"))).status).toBe(404);
  });
});

describe("corruption", () => {
  test("44c. a flipped byte in a chunk file never reaches a reader, and the copy is replaced", async () => {
    await start();
    const sent = await put("precious", 10 * MIB);
    const [chunk] = await cluster.chunks("precious");
    const holders = chunk?.replicas.map(({ worker }) => worker) ?? [];
    for (const worker of holders.slice(0, 2)) flipByte(chunkFile(worker, chunk?.id as string), MIB + 17);
    for (let n = 0; n < 5; n++) expect(await get("precious")).toBe(sent.sha256);
    await cluster.until("the bad copies are noticed and replaced", MINUTE, async () => {
      const [now] = await cluster.chunks("precious");
      const good = now?.replicas.filter(({ state }) => state === "good").map(({ worker }) => worker) ?? [];
      const logs = holders.map((worker) => cluster.logOf(worker)).join("");
      return good.length === 3 && logs.includes("quarantine");
    });
    expect(await get("precious")).toBe(sent.sha256);
  });

  test("the scrub finds a flipped byte that nobody read", async () => {
    await start({ config: { scrub: { intervalMs: 2000, bytesPerSecond: 256 * MIB } } });
    await put("unread", 6 * MIB);
    const [, chunk] = await cluster.chunks("unread");
    const worker = chunk?.replicas[0]?.worker as string;
    flipByte(chunkFile(worker, chunk?.id as string), 99);
    await cluster.until("the scrub noticed", MINUTE, async () => cluster.logOf(worker).includes("quarantine"));
    await cluster.untilRedundant(MINUTE);
  });
});

describe("workers", () => {
  test("fewer live workers than minReplicas: a write is refused at once with the reason, reads go on", async () => {
    await start({ workers: 3 });
    const kept = await put("kept", MIB);
    await Promise.all([cluster.kill("worker-1"), cluster.kill("worker-2")]);
    await cluster.until("both are dead", MINUTE, async () => {
      const { workers } = await cluster.view();
      return workers.filter(({ state }) => state === "dead").length === 2;
    });
    const elapsed = stopwatch();
    const refused = await put("refused", 8 * MIB);
    expect(refused).toMatchObject({ status: 503, body: { code: "NOT_ENOUGH_WORKERS" } });
    expect(elapsed()).toBeLessThan(5000);
    expect(await get("kept")).toBe(kept.sha256);
  });

  test("35b. a worker that comes back brings its copies with it, and extra ones are trimmed", async () => {
    await start();
    const sent = await put("f", 24 * MIB);
    await cluster.kill("worker-3");
    await cluster.until("it is dead", MINUTE, async () =>
      (await cluster.view()).workers.some(({ state }) => state === "dead"),
    );
    await cluster.untilRedundant(MINUTE);
    cluster.restart("worker-3");
    await cluster.ready();
    await cluster.until("every chunk has exactly three copies", MINUTE, async () => {
      const chunks = await cluster.chunks("f");
      return chunks.every(({ replicas }) => replicas.filter(({ state }) => state === "good").length === 3);
    });
    expect(await get("f")).toBe(sent.sha256);
  });

  test("38b. a worker that lost its disk comes back empty, and its copies are made again", async () => {
    await start({ workers: 4 });
    const sent = await put("f", 16 * MIB);
    await cluster.kill("worker-2");
    Bun.spawnSync(["rm", "-rf", cluster.dataOf("worker-2")]);
    cluster.restart("worker-2");
    await cluster.ready();
    await cluster.untilRedundant(MINUTE);
    for (const { replicas } of await cluster.chunks("f"))
      expect(replicas.filter(({ state }) => state === "good")).toHaveLength(3);
    expect(await get("f")).toBe(sent.sha256);
  });

  test("a worker that config.json does not list joins with the secret and is used at once", async () => {
    await start({ workers: 2 });
    const port = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const free = port.port;
    port.stop(true);
    cluster.startNode("worker", "worker-new", [
      "--port",
      String(free),
      "--data",
      join(cluster.folder, "elsewhere"),
      "--zone",
      "new",
    ]);
    await cluster.until("it is live", MINUTE, async () =>
      (await cluster.view()).workers.some(({ id, state }) => id === "worker-new" && state === "live"),
    );
    await put("f", 4 * MIB);
    const [chunk] = await cluster.chunks("f");
    expect(chunk?.replicas.map(({ worker }) => worker).sort()).toEqual(["worker-1", "worker-2", "worker-new"]);
  });

  test("a worker that freezes in the middle of an upload is left behind", async () => {
    await start();
    const sent = await put("f", 48 * MIB, 3, (bytes) => {
      if (bytes > 20 * MIB) cluster.freeze("worker-5");
    });
    expect(sent.status).toBe(201);
    expect(await get("f")).toBe(sent.sha256);
    cluster.thaw("worker-5");
    await cluster.ready();
    await cluster.untilRedundant(MINUTE);
  });

  test("a full worker takes no more chunks and goes on serving", async () => {
    await start({ workers: 4 });
    await cluster.kill("worker-1");
    cluster.startNode("worker", "worker-1", ["--capacity", String(12 * MIB)]);
    await cluster.ready();
    const files = await Promise.all(Array.from({ length: 6 }, (_, n) => put(`f${n}`, 8 * MIB, n + 1)));
    for (const [n, { status, sha256 }] of files.entries()) {
      expect(status).toBe(201);
      expect(await get(`f${n}`)).toBe(sha256);
    }
    await cluster.untilRedundant(MINUTE);
  });

  test("50b. a draining worker keeps serving until its copies are elsewhere", async () => {
    await start({ workers: 4 });
    const sent = await put("f", 16 * MIB);
    const response = await fetch(`${cluster.url}/cluster/workers/worker-1`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ mode: "draining" }),
    });
    expect(response.ok).toBe(true);
    await cluster.until("nothing is left on it", MINUTE, async () =>
      (await cluster.view()).workers.some(
        ({ id, chunks, state }) => id === "worker-1" && chunks === 0 && state === "drained",
      ),
    );
    await cluster.kill("worker-1");
    expect(await get("f")).toBe(sent.sha256);
  });
});

describe("space", () => {
  test("55d. an upload whose client went away leaves nothing behind", async () => {
    await start();
    const source = randomStream(64 * MIB, 1);
    const abort = new AbortController();
    let sent = 0;
    const slow = source.stream.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(piece, controller) {
          sent += piece.length;
          if (sent > 10 * MIB) abort.abort();
          controller.enqueue(piece);
        },
      }),
    );
    await fetch(cluster.fileUrl("gone"), { method: "PUT", body: slow, signal: abort.signal }).catch(() => {});
    expect((await fetch(cluster.fileUrl("gone"))).status).toBe(404);
    await cluster.until("no open part is left", MINUTE, async () => openParts() === 0);
    const { redundancy } = await cluster.view();
    expect(redundancy.chunks).toBe(0);
  });

  test("deleted bytes go to the trash, and from there for good", async () => {
    await start({ config: { trash: { keepMs: 1000, deleteGraceMs: 500 } } });
    await put("f", 12 * MIB);
    expect((await fetch(cluster.fileUrl("f"), { method: "DELETE" })).status).toBe(204);
    await cluster.until("no chunk file is left", MINUTE, async () => {
      const { workers, garbage } = await cluster.view();
      return (
        garbage === 0 &&
        workers.every(({ trashBytes }) => trashBytes === 0) &&
        filesIn("chunks") + filesIn("trash") === 0
      );
    });
  });

  const filesIn = (folder: string): number =>
    cluster.config.workers.reduce(
      (sum, { id }) =>
        sum + [...new Bun.Glob("**/*").scanSync({ cwd: join(cluster.dataOf(id), folder), onlyFiles: true })].length,
      0,
    );
  const openParts = () => filesIn("parts");
});

test(`kill -9 of any node at any moment: no acknowledged file is lost, none is half visible  SEED=${SEED}`, async () => {
  await start({ masters: 3 });
  const random = seeded(SEED);
  const acknowledged = new Map<string, string>();
  const attempted = new Map<string, Set<string>>();
  const victims = [
    "master-1",
    "master-2",
    "master-3",
    "worker-1",
    "worker-2",
    "worker-3",
    "worker-4",
    "worker-5",
    "gateway-1",
  ];
  let stopping = false;

  const writers = Array.from({ length: 6 }, async (_, writer) => {
    for (let n = 0; !stopping; n++) {
      const path = `w${writer}/${n % 12}`;
      const size = Math.floor(random() ** 4 * 9 * MIB);
      const source = randomStream(size, writer * 10_000 + n);
      const bytes = new Uint8Array(await new Response(source.stream).arrayBuffer());
      const sha256 = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
      acknowledged.delete(path);
      attempted.set(path, (attempted.get(path) ?? new Set()).add(sha256));
      const response = await fetch(cluster.fileUrl(path), { method: "PUT", body: bytes }).catch(() => null);
      await response?.arrayBuffer().catch(() => null);
      if (response?.ok) acknowledged.set(path, sha256);
      else await Bun.sleep(100);
    }
  });
  for (let round = 0; round < 12; round++) {
    await Bun.sleep(500 + random() * 1000);
    const victim = pick(random, victims);
    await cluster.kill(victim);
    await Bun.sleep(random() * 1500);
    cluster.restart(victim);
  }
  await cluster.ready(MINUTE);
  stopping = true;
  await Promise.all(writers);
  await cluster.untilRedundant(MINUTE);

  expect(acknowledged.size).toBeGreaterThan(0);
  for (const [path, sha256] of acknowledged) expect(await get(path), path).toBe(sha256);
  for (const [path, versions] of attempted) {
    const response = await fetch(cluster.fileUrl(path));
    if (response.status === 404) continue;
    const { sha256 } = await sha256Of(response.body as ReadableStream<Uint8Array>);
    expect(versions.has(sha256), `${path} is one of the versions that were sent, whole`).toBe(true);
  }
});

test("a clean stop and a second start find the files of the first", async () => {
  await start({ workers: 3 });
  const sent = await put("kept", 10 * MIB);
  for (const id of ["gateway-1", "worker-1", "worker-2", "worker-3", "master-1"])
    expect(await cluster.kill(id, "SIGTERM")).toBe(0);
  for (const id of ["master-1", "worker-1", "worker-2", "worker-3", "gateway-1"]) cluster.restart(id);
  await cluster.ready();
  expect(await get("kept")).toBe(sent.sha256);
});

test("F4. a worker whose folders were taken away: what was in them is found out and made anew, and what counts is there", async () => {
  await start({ workers: 4 });
  const files = Array.from({ length: 12 }, (_, n) => `file/${n}`);
  const sent = await Promise.all(files.map((path, n) => put(path, 300_000 + n)));
  const folder = (id: string, name: string) => join(cluster.dataOf(id), name);
  for (const name of ["chunks", "parts", "trash", "quarantine"]) rmSync(folder("worker-1", name), { recursive: true });
  const isThere = (worker: string, id: string) => existsSync(chunkFile(worker, id));
  await cluster.until("three copies of every chunk, each of them there", 2 * MINUTE, async () => {
    const { workers, redundancy } = await cluster.view();
    if (redundancy.full !== files.length || workers.some(({ state }) => state !== "live")) return false;
    const chunks = (await Promise.all(files.map((path) => cluster.chunks(path)))).flat();
    const counted = chunks.map(({ id, replicas }) =>
      replicas.filter(({ state, worker }) => state === "good" && isThere(worker, id)),
    );
    return counted.every(({ length }) => length === 3);
  });
  for (const [n, path] of files.entries()) expect(await get(path)).toBe(sent[n]?.sha256 as string);
  expect((await put("after", 300_000)).status).toBe(201);
});
