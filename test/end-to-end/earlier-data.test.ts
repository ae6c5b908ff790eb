/**
 * What an earlier program left behind: the data directories and the recording of a cluster of commit 97be805, which lost a
 * worker, repaired, and lost its leader. They open as they are.
 */
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TINY_SINCE } from "../../actors/rules/decide/cluster-version.ts";
import { openRecording } from "../../gateway/console/recording.ts";
import { reportsOf } from "../../gateway/console/reports.ts";
import { until } from "../support/fair-time.ts";
import { RealCluster } from "../support/real-cluster.ts";

const LEFT = join(import.meta.dir, "earlier-data");
/** Of a cluster that lived for half a minute and is no more; its id is in the data. */
const SECRET = "272010d33abb5f997b82a5d62f93f4d2c80b7c889e64921390010bb27eee5256";

interface Entry {
  path: string;
  size: number;
  crc32: string;
}
const { entries } = JSON.parse(readFileSync(join(LEFT, "listing.json"), "utf8")) as { entries: Entry[] };

const cluster = await RealCluster.start({
  masters: 3,
  workers: 4,
  config: { chunkSizeBytes: 1 << 20, blockSizeBytes: 1 << 16, tinyFileBytes: 4096 },
  prepare: async ({ config }) => {
    mkdirSync(config.dataDirectory, { recursive: true });
    writeFileSync(join(config.dataDirectory, "cluster.secret"), SECRET, { mode: 0o600 });
    const unpacked = Bun.spawnSync(["tar", "-xzf", join(LEFT, "data.tar.gz"), "-C", config.dataDirectory]);
    if (unpacked.exitCode !== 0) throw new Error(unpacked.stderr.toString());
  },
});
afterAll(() => cluster.stop());

test("an earlier program's names are all there, with every attribute that they had", async () => {
  const listed = await fetch(`${cluster.url}/files?prefix=&limit=1000`);
  expect((await listed.json()) as unknown).toMatchObject({ entries });
  expect(entries.length).toBeGreaterThan(20);
});

test("an earlier program's bytes are what they were, and each copy is good", async () => {
  for (const { path, size, crc32 } of entries) {
    const bytes = new Uint8Array(await (await fetch(cluster.fileUrl(path))).arrayBuffer());
    expect([path, bytes.length, Bun.hash.crc32(bytes).toString(16).padStart(8, "0")]).toEqual([path, size, crc32]);
  }
  await until("every chunk has its copies", async () => {
    const { redundancy } = await cluster.view();
    return redundancy.chunks > 20 && redundancy.full === redundancy.chunks;
  });
});

test("why an earlier program placed a chunk where it is can still be asked", async () => {
  const explained = await fetch(`${cluster.fileUrl("large/three-and-a-half-chunks")}?explain`);
  const { chunks } = (await explained.json()) as { chunks: { decision: unknown; replicas: { state: string }[] }[] };
  expect(chunks).toHaveLength(4);
  for (const { decision, replicas } of chunks) {
    expect(decision).toMatchObject({ rule: expect.stringContaining("new chunk"), at: expect.any(String) });
    expect(replicas.filter(({ state }) => state === "good").length).toBeGreaterThanOrEqual(3);
  }
});

test("the cluster goes on from there: new files come, old ones are replaced and deleted", async () => {
  const put = await fetch(cluster.fileUrl("large/three-and-a-half-chunks"), { method: "PUT", body: "now short" });
  expect(put.status).toBe(200);
  expect(await (await fetch(cluster.fileUrl("large/three-and-a-half-chunks"))).text()).toBe("now short");
  expect((await fetch(cluster.fileUrl("inline/small.txt"), { method: "DELETE" })).status).toBe(204);
});

test("once all masters are of this program, a short file lies in the metadata, beside those of chunks", async () => {
  await cluster.until("the version is raised", 20_000, async () => {
    const { version = 0 } = (await cluster.view()) as { version?: number };
    return version >= TINY_SINCE;
  });
  const path = "inline/tiny.txt";
  expect((await fetch(cluster.fileUrl(path), { method: "PUT", body: "tiny" })).status).toBe(201);
  const explained = await fetch(`${cluster.fileUrl(path)}?explain`);
  expect((await explained.json()) as unknown).toMatchObject({ storage: "metadata", chunks: [] });
  expect(await (await fetch(cluster.fileUrl(path))).text()).toBe("tiny");
});

test("an earlier program's recording opens, with its machines and their drawings, and its failover is told from it", async () => {
  const read = await openRecording(new Uint8Array(readFileSync(join(LEFT, "recording.ndjson.gz"))));
  if (!read.ok) throw new Error(read.message);
  const { header, keyframe, records } = read.recording;
  const told = new Set([...keyframe, ...records].map(({ m }) => m));
  for (const machine of ["raft", "worker", "liveness", "steward", "repair", "upload"]) expect(told).toContain(machine);
  expect(header.machines.filter(({ layout }) => layout === null)).toEqual([]);
  expect(reportsOf(records, header.timings).map(({ kind }) => kind)).toEqual(["leaderLoss", "workerDeath"]);
});
