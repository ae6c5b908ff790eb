/** Uploads whose workers hang, or are slow. */
import { expect, test } from "bun:test";
import { readBack, sampleBytes } from "../support/bodies.ts";
import { stopwatch } from "../support/fair-time.ts";
import { CHUNK } from "../support/gateway-cluster.ts";
import { bytes, cluster, copies, put, startCluster, stopAfterEach } from "./one-file.ts";

stopAfterEach();

for (const route of ["chain", "fanout"] as const)
  test(`${route}: a worker that hangs is dropped after its timeout`, async () => {
    await startCluster({ config: { route }, blockTimeoutMs: 2000 });
    cluster.worker("worker-2").fault = ({ kind, block }) =>
      kind === "put" && block >= 3 ? new Promise(() => {}) : undefined;
    await put();
    expect(await readBack(cluster.data, "file")).toEqual(bytes);
    expect(Object.keys(cluster.data.transfers.activity().avoidedWorkers)).toContain("worker-2");
  });

test("a worker that is silent at the seal is not waited for when enough others have flushed", async () => {
  await startCluster();
  cluster.worker("worker-2").fault = ({ kind }) => (kind === "seal" ? new Promise(() => {}) : undefined);
  const elapsed = stopwatch();
  await put(sampleBytes(CHUNK));
  expect(elapsed()).toBeLessThan(5000);
  expect(copies()).toEqual([2]);
  expect(cluster.data.transfers.activity().avoidedWorkers).toHaveProperty("worker-2");
});

for (const content of [sampleBytes(CHUNK), sampleBytes(100)]) {
  const size = content.length === CHUNK ? "a chunk" : "a small file";
  const flush = content.length === CHUNK ? "seal" : "put";
  const config = { replicationFactor: 2 };

  test(`a worker that freezes over ${size} is replaced as soon as it is seen to answer nothing, though nobody is to spare`, async () => {
    await startCluster({ workers: 3, config });
    cluster.worker("worker-2").fault = ({ kind }) =>
      kind === flush || kind === "describe" ? new Promise(() => {}) : undefined;
    await put(content);
    expect(cluster.locate("file").chunks[0]?.workerIds).toEqual(["worker-1", "worker-3"]);
  });

  test(`a worker that flushes ${size} for long, and answers meanwhile, is waited for when nobody is to spare`, async () => {
    await startCluster({ workers: 3, config });
    cluster.worker("worker-2").fault = ({ kind }) => (kind === flush ? Bun.sleep(3300) : undefined);
    await put(content);
    expect(cluster.locate("file").chunks[0]?.workerIds).toEqual(["worker-1", "worker-2"]);
    expect(cluster.data.transfers.activity().writeFailovers).toBe(0);
  });
}

test("a worker that is silent does not hold up small files either", async () => {
  await startCluster();
  cluster.worker("worker-2").fault = ({ kind }) => (kind === "put" ? new Promise(() => {}) : undefined);
  const elapsed = stopwatch();
  await put(sampleBytes(100));
  await put(sampleBytes(101));
  expect(elapsed()).toBeLessThan(5000);
  expect(cluster.locate("file").chunks[0]?.workerIds).not.toContain("worker-2");
});

test("a worker that is merely slow slows the upload, and nothing else", async () => {
  await startCluster();
  cluster.worker("worker-2").fault = () => Bun.sleep(10);
  await put();
  expect(copies()).toEqual([3, 3, 3]);
  expect(cluster.data.transfers.activity().writeFailovers).toBe(0);
});
