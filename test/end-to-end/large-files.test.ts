/** Real files of real size through real processes, with workers dying on the way. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { randomStream, sha256Of } from "../support/random-stream.ts";
import { RealCluster } from "../support/real-cluster.ts";

const MIB = 1 << 20;
const CHUNK = 128 * MIB;
const MINUTE = 60_000;

let cluster: RealCluster;
beforeAll(async () => {
  cluster = await RealCluster.start();
});
afterAll(() => cluster?.stop());

async function put(path: string, lengthBytes: number, onProgress?: (bytes: number) => void | Promise<void>) {
  const source = randomStream(lengthBytes, lengthBytes, onProgress);
  const response = await fetch(cluster.fileUrl(path), {
    method: "PUT",
    body: source.stream,
    headers: { "content-type": "application/octet-stream" },
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown>, sha256: source.sha256() };
}

async function get(path: string, onProgress?: (bytes: number) => void | Promise<void>) {
  const response = await fetch(cluster.fileUrl(path));
  expect(response.status).toBe(200);
  return sha256Of(response.body as ReadableStream<Uint8Array>, onProgress);
}

/** Every chunk of the file has three good copies, on three different workers that are alive. */
async function expectThreeGoodCopies(path: string, chunkCount: number): Promise<void> {
  const chunks = await cluster.chunks(path);
  expect(chunks).toHaveLength(chunkCount);
  for (const { replicas } of chunks) {
    const good = replicas.filter(({ state, workerState }) => state === "good" && workerState === "live");
    expect(new Set(good.map(({ worker }) => worker)).size).toBe(3);
  }
}

describe("sizes", () => {
  test.each([
    ["nothing", 0, 0],
    ["one byte", 1, 1],
    ["exactly one chunk", CHUNK, 1],
    ["one chunk and a byte", CHUNK + 1, 2],
  ])("%s comes back as it went", async (name, lengthBytes, chunkCount) => {
    const sent = await put(`sizes/${name}`, lengthBytes);
    expect(sent).toMatchObject({ status: 201, body: { size: lengthBytes, chunks: chunkCount } });
    expect(await get(`sizes/${name}`)).toEqual({ sha256: sent.sha256, bytes: lengthBytes });
    await expectThreeGoodCopies(`sizes/${name}`, chunkCount);
  });
});

test.each(["with spaces in it", "Ünïcödé/日本語/😀.bin", "100% #1?&+.txt", "a=b;c,d/~.x"])(
  "the name %p comes back as it went",
  async (name) => {
    const sent = await put(`names/${name}`, 1000);
    expect(sent).toMatchObject({ status: 201, body: { path: `names/${name}` } });
    expect(await get(`names/${name}`)).toMatchObject({ sha256: sent.sha256 });
    const names: string[] = [];
    for await (const { path } of cluster.client.list("names/", { byDirectory: false })) names.push(path);
    expect(names).toContain(`names/${name}`);
  },
);

test("%2F is a path separator, so both spellings are one file", async () => {
  const response = await fetch(`${cluster.url}/files/slash%2Finside`, { method: "PUT", body: "x" });
  expect(response.status).toBe(201);
  expect(await (await fetch(`${cluster.url}/files/slash/inside`)).text()).toBe("x");
});

describe("1.5 GiB while workers die", () => {
  const SIZE = 1536 * MIB;
  let sha256 = "";

  test("kill -9 of a worker in the middle of the upload: it succeeds, and is repaired to three copies by itself", async () => {
    let killed: Promise<unknown> | undefined;
    const sent = await put("big", SIZE, (bytes) => {
      if (bytes > SIZE / 2) killed ??= cluster.kill("worker-1");
    });
    await killed;
    expect(sent).toMatchObject({ status: 201, body: { size: SIZE, chunks: 12 } });
    sha256 = sent.sha256;
    await cluster.untilRedundant(2 * MINUTE);
    cluster.restart("worker-1");
    await cluster.ready();
    await cluster.untilRedundant(2 * MINUTE);
    await expectThreeGoodCopies("big", 12);
  });

  test("kill -9 of a worker in the middle of the download: it succeeds, and the bytes are right", async () => {
    const [first] = await cluster.chunks("big");
    const victim = first?.replicas[0]?.worker as string;
    let killed: Promise<unknown> | undefined;
    const got = await get("big", (bytes) => {
      if (bytes > SIZE / 3) killed ??= cluster.kill(victim);
    });
    await killed;
    expect(got).toEqual({ sha256, bytes: SIZE });
    cluster.restart(victim);
    await cluster.ready();
    await cluster.untilRedundant(2 * MINUTE);
  });

  test("kill -9 of two of five workers: still readable at once, and back to three copies everywhere without a person", async () => {
    await Promise.all([cluster.kill("worker-2"), cluster.kill("worker-4")]);
    expect(await get("big")).toEqual({ sha256, bytes: SIZE });
    await cluster.until("the deaths are noticed", MINUTE, async () => {
      const { workers } = await cluster.view();
      return workers.filter(({ state }) => state === "dead").length === 2;
    });
    await cluster.untilRedundant(3 * MINUTE);
    await expectThreeGoodCopies("big", 12);
    expect(await get("big")).toEqual({ sha256, bytes: SIZE });
  });
});
