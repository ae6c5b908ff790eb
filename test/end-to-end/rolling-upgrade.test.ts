/**
 * From the program of commit 97be805 to this one, node by node, while clients write and read through both gateways: workers,
 * then gateways, then masters, as `actors/master/README.md` says. The tests are stages of one life of one cluster.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { PROGRAM_VERSION } from "../../actors/rules/decide/cluster-version.ts";
import { sampleBytes } from "../support/bodies.ts";
import { isInHistory, unpackProgram } from "../support/earlier-program.ts";
import { expectOneHistory, WHOLE_LOG } from "../support/judge-load.ts";
import { stateHashes } from "../support/master-logs.ts";
import { pick, SEED, seeded } from "../support/random.ts";
import { RealCluster } from "../support/real-cluster.ts";
import { RecordedLoad } from "../support/recorded-load.ts";

const EARLIER = "97be805";
/** The cluster version of that program. */
const EARLIER_VERSION = 2;
const THIS_PROGRAM = join(import.meta.dir, "../..");
const MASTERS = ["master-1", "master-2", "master-3"];
const WORKERS = ["worker-1", "worker-2", "worker-3", "worker-4"];

const KIB = 1024;
const SIZES = { blockSizeBytes: 64 * KIB, inlineChunkBytes: 64 * KIB, chunkSizeBytes: 128 * KIB };
/** Such as the earlier program takes. On a busy machine, nobody is taken for silent who is not. */
const TIMINGS = {
  suspectAfterMs: 2000,
  deadAfterMs: 6000,
  raft: { ...WHOLE_LOG, heartbeatMs: 100, electionMs: 1000 },
};
/** That of this program, where config.json says nothing: the earlier one knows no such key. */
const TINY_BYTES = 4 * KIB;
/** For so long after a worker failed it, a gateway places nothing there; that of the earlier program not even if no other is left. */
const AVOIDED_MS = 5000;
/** On both sides of what lies in the metadata, in a worker's database, in one block, in one chunk. */
const LENGTHS = [
  ...[0, 1, KIB, TINY_BYTES, TINY_BYTES + 1],
  ...[60 * KIB, 64 * KIB, 64 * KIB + 1, 128 * KIB, 128 * KIB + 1, 300 * KIB],
];

let folder: string;
let cluster: RealCluster;
let load: RecordedLoad;

/** Path → the bytes of the last put that was acknowledged. */
const kept = new Map<string, Uint8Array<ArrayBuffer>>();
const deleted = new Set<string>();
let puts = 0;

const gatewayUrls = (): [string, string] => cluster.config.gateways.map(({ url }) => url) as [string, string];

async function put(gateway: string, path: string, length: number): Promise<void> {
  const bytes = sampleBytes(length, ++puts);
  const { status } = await fetch(`${gateway}/files/${path}`, { method: "PUT", body: bytes });
  expect([path, status]).toEqual([path, kept.has(path) ? 200 : 201]);
  kept.set(path, bytes);
}

async function remove(gateway: string, path: string): Promise<void> {
  const { status } = await fetch(`${gateway}/files/${path}`, { method: "DELETE" });
  expect([path, status]).toEqual([path, 204]);
  kept.delete(path);
  deleted.add(path);
}

const hashOf = (bytes: Uint8Array<ArrayBuffer>): string => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

/** Through either gateway each file is what was put last, and what was deleted is gone. */
async function expectKept(prefix = ""): Promise<void> {
  for (const gateway of gatewayUrls()) {
    const read = (path: string): Promise<Response> => fetch(`${gateway}/files/${path}`);
    for (const [path, bytes] of kept) {
      if (!path.startsWith(prefix)) continue;
      const found = new Uint8Array(await (await read(path)).arrayBuffer());
      expect([path, found.length, hashOf(found)]).toEqual([path, bytes.length, hashOf(bytes)]);
    }
    for (const path of deleted)
      if (path.startsWith(prefix)) expect([path, (await read(path)).status]).toEqual([path, 404]);
  }
}

/** Puts files of all lengths through each gateway; replaces one third through the other, and deletes one file of six. */
async function writeAllLengths(stage: string): Promise<void> {
  const [one, two] = gatewayUrls();
  for (const [gateway, other] of [
    [one, two],
    [two, one],
  ] as [string, string][])
    for (const [n, length] of LENGTHS.entries()) {
      const path = `${stage}/${gateway === one ? 1 : 2}/${length}`;
      await put(gateway, path, length);
      if (n % 3 === 1) await put(other, path, LENGTHS.at(-1 - n) as number);
      if (n % 6 === 2) await remove(other, path);
    }
  await expectKept(`${stage}/`);
}

async function versions(): Promise<number[]> {
  const told = MASTERS.map(async (id) => (await fetch(`${cluster.urlOf(id)}/metrics`)).text());
  return (await Promise.all(told)).map((text) => Number(/^dfs_master_cluster_version (\d+)$/m.exec(text)?.[1]));
}

/** Stops a node as a person does, and starts this program in its place. */
async function update(id: string): Promise<void> {
  expect([id, await cluster.kill(id, "SIGTERM")]).toEqual([id, 0]);
  cluster.restart(id, THIS_PROGRAM);
}

const untilWorkerMayStop = (id: string) =>
  cluster.until(
    `${id} may be stopped`,
    30_000,
    async () => (await fetch(`${cluster.url}/health/stop?worker=${id}`)).ok,
  );

async function untilWorkerIsBack(id: string): Promise<void> {
  const startedAt = performance.now();
  await cluster.until(`${id} is heard, and every chunk has its copies`, 30_000, async () => {
    const silentSinceMs = performance.now() - startedAt;
    const { workers, redundancy } = await cluster.view();
    const { state, lastHeardMs = null } = workers.find((worker) => worker.id === id) ?? {};
    const isHeard = lastHeardMs !== null && lastHeardMs < silentSinceMs;
    return isHeard && state === "live" && redundancy.full === redundancy.chunks;
  });
}

const untilMasterIsBack = (id: string) =>
  cluster.until(`${id} belongs to the group, and has caught up`, 30_000, async () => {
    const { masters } = await cluster.client.masters();
    const { role, lag } = masters.find((master) => master.id === id) ?? {};
    return (role === "leader" || role === "follower") && typeof lag === "number" && lag < 20;
  });

const isThere = isInHistory(EARLIER);

describe.skipIf(!isThere)(`from ${EARLIER}${isThere ? "" : ", which the history here does not have"}`, () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "dfs-earlier-"));
    cluster = await RealCluster.start({
      project: unpackProgram(EARLIER, join(folder, "program")),
      masters: 3,
      workers: 4,
      gateways: 2,
      config: { ...SIZES, ...TIMINGS },
    });
    const random = seeded(SEED);
    load = new RecordedLoad({
      gateways: cluster.config.gateways,
      clientsPerPool: 3,
      operationsPerGroup: 60,
      pauseMs: 25,
      goElsewhere: true,
      paddingBytes: () => pick(random, LENGTHS),
      random,
    }).start();
  });
  afterAll(async () => {
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test(`32g. workers are updated one by one, each when it may be stopped and gateways use the one before again  SEED=${SEED}`, async () => {
    await writeAllLengths("before");
    for (const id of WORKERS) {
      if (id !== WORKERS[0]) await Bun.sleep(AVOIDED_MS);
      await untilWorkerMayStop(id);
      await update(id);
      await untilWorkerIsBack(id);
    }
    await writeAllLengths("workers");
    await expectKept();
  });

  test("32h. gateways are updated one by one: what one writes, the other reads, whichever is newer", async () => {
    for (const { id, url } of cluster.config.gateways) {
      await update(id);
      await cluster.until(`${id} is ready`, 30_000, async () => (await fetch(`${url}/health/ready`)).ok);
      await writeAllLengths(id);
    }
    await expectKept();
  });

  test("32i. masters are updated one by one; the cluster version stays what it was until the last of them is back", async () => {
    for (const [n, id] of MASTERS.entries()) {
      expect(await versions()).toEqual(MASTERS.map(() => EARLIER_VERSION));
      await update(id);
      await untilMasterIsBack(id);
      if (n < MASTERS.length - 1) await writeAllLengths(id);
    }
    await cluster.until("the version is raised", 20_000, async () =>
      (await versions()).every((version) => version === PROGRAM_VERSION),
    );
    await expectKept();
  });

  test("32j. from then on a short file lies in the metadata; those of before are chunks as they were", async () => {
    const storageOf = async (path: string): Promise<string> =>
      ((await (await fetch(`${cluster.fileUrl(path)}?explain`)).json()) as { storage: string }).storage;
    const short = [...kept].filter(([, { length }]) => length > 0 && length <= TINY_BYTES).map(([path]) => path);
    expect(short.length).toBeGreaterThan(LENGTHS.length);
    for (const path of short) expect([path, await storageOf(path)]).toEqual([path, "workers"]);
    // A gateway asks for the version every ten seconds, and learns it from whoever asks for the cluster's state.
    await cluster.view();
    await put(cluster.url, "tiny", KIB);
    await put(cluster.url, "longer", TINY_BYTES + 1);
    expect([await storageOf("tiny"), await storageOf("longer")]).toEqual(["metadata", "workers"]);
    await writeAllLengths("after");
    await expectKept();
  });

  test("32k. the config.json that is shipped now, which the earlier program refuses, is put in place, and its master leads", async () => {
    const shipped = JSON.parse(readFileSync(join(THIS_PROGRAM, "config.json"), "utf8"));
    const { masters, workers, gateways, dataDirectory } = cluster.config;
    const raft = { ...shipped.raft, keepEntries: WHOLE_LOG.keepEntries };
    writeFileSync(cluster.configPath, JSON.stringify({ ...shipped, masters, workers, gateways, dataDirectory, raft }));
    const [id] = MASTERS as [string];
    expect(await cluster.kill(id, "SIGTERM")).toBe(0);
    cluster.restart(id, join(folder, "program"));
    expect(await cluster.exited(id)).toBe(ExitCode.badConfiguration);
    cluster.restart(id, THIS_PROGRAM);
    await untilMasterIsBack(id);
    const order = { method: "POST", headers: { "content-type": "application/json" } };
    await fetch(`${cluster.url}/cluster/masters`, { ...order, body: JSON.stringify({ transfer: id }) });
    await cluster.until(`${id} leads`, 20_000, async () => (await cluster.view()).leader === id);
    await writeAllLengths("shipped");
    await expectKept();
  });

  test(`32l. at the end every chunk has its copies, no client was refused, lost or misled, and the masters' states are one  SEED=${SEED}`, async () => {
    await load.stop();
    await cluster.untilRedundant();
    await expectKept();
    const { files } = (await cluster.view()) as unknown as { files: { files: number } };
    expect(files.files).toBeGreaterThan(kept.size);
    expect(
      load.refusals.map(({ code, words, call: { client, op } }) => `${op.kind} of ${client}: ${code} ${words}`),
    ).toEqual([]);
    await expectOneHistory(cluster, load, MASTERS);
    const { ofMasters, builtAnew } = stateHashes(MASTERS.map((id) => cluster.dataOf(id)));
    expect(ofMasters).toEqual(MASTERS.map(() => builtAnew));
    for (const id of MASTERS) expect(cluster.logOf(id)).not.toMatch(/states-differ|diverged/);
  });
});
