/** Uploads whose workers die. */
import { expect, test } from "bun:test";
import { Refusal } from "../../actors/messages/errors.ts";
import { readBack, sampleBytes } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { stopwatch } from "../support/fair-time.ts";
import type { ManualWorker, Step } from "../support/gateway-cluster.ts";
import { bytes, cluster, copies, put, startCluster, stopAfterEach } from "./one-file.ts";

stopAfterEach();

/** Kills the worker at a step of the first chunk, before the step takes effect. */
const killAt = (worker: ManualWorker, isMoment: (step: Step) => boolean) => {
  worker.fault = (step) => (isMoment(step) ? worker.kill() : undefined);
};

const moments: Record<string, (step: Step) => boolean> = {
  "at the first block": ({ kind, block }) => kind === "put" && block === 0,
  "in the middle of a chunk": ({ kind, block }) => kind === "put" && block === 7,
  "at the seal": ({ kind }) => kind === "seal",
};

for (const route of ["chain", "fanout"] as const)
  for (const [moment, isMoment] of Object.entries(moments))
    for (const id of ["worker-1", "worker-2", "worker-3"])
      test(`${route}: ${id} dies ${moment}, and the upload goes on`, async () => {
        await startCluster({ config: { route } });
        killAt(cluster.worker(id), isMoment);
        await put();
        for (const count of copies()) expect(count).toBeGreaterThanOrEqual(2);
        expect(cluster.locate("file").chunks[0]?.workerIds).not.toContain(id);
        expect(await readBack(cluster.data, "file")).toEqual(bytes);
        expect(cluster.data.transfers.activity().writeFailovers).toBeGreaterThan(0);
      });

for (const route of ["chain", "fanout"] as const)
  for (const [moment, isMoment] of Object.entries(moments))
    test(`42c. ${route}: two of three workers die ${moment}, and a replacement gets the chunk from the survivor`, async () => {
      await startCluster({ config: { route } });
      killAt(cluster.worker("worker-1"), isMoment);
      killAt(cluster.worker("worker-3"), isMoment);
      await put();
      const [first] = cluster.locate("file").chunks;
      expect(first?.workerIds).toContain("worker-2");
      expect(first?.workerIds).toContain("worker-4");
      expect(await readBack(cluster.data, "file")).toEqual(bytes);
    });

test("a small file whose workers die under it goes to others", async () => {
  await startCluster();
  for (const id of ["worker-1", "worker-2"]) killAt(cluster.worker(id), ({ kind }) => kind === "put");
  const small = sampleBytes(100);
  await put(small);
  expect(copies()[0]).toBeGreaterThanOrEqual(2);
  expect(await readBack(cluster.data, "file")).toEqual(small);
});

test("a small file is placed anew when all its workers die at once", async () => {
  await startCluster({ workers: 6 });
  for (const id of ["worker-1", "worker-2", "worker-3"]) killAt(cluster.worker(id), ({ kind }) => kind === "put");
  const small = sampleBytes(100);
  await put(small);
  expect(copies()).toEqual([3]);
});

test("42d. a chunk goes to a worker that failed a moment ago and is back, if no other is left", async () => {
  await startCluster({ workers: 4 });
  const restarted = ["worker-1", "worker-2", "worker-3"];
  for (const id of restarted) {
    const worker = cluster.worker(id);
    worker.fault = ({ kind }) => {
      if (kind === "put") throw new Refusal("NOT_READY", `${id} is stopping`);
    };
    await put(bytes, { path: `while ${id} restarts`, replicationFactor: 4 });
    if (id !== restarted.at(-1)) worker.fault = null;
  }
  for (const id of restarted) expect(await readBack(cluster.data, `while ${id} restarts`)).toEqual(bytes);
});

test("when all workers of a chunk die, the upload fails with the reason and leaves nothing visible", async () => {
  await startCluster();
  for (const worker of cluster.workers) killAt(worker, ({ kind, block }) => kind === "put" && block === 7);
  expect(await codeOf(put())).toBe("TOO_FEW_REPLICAS");
  expect(await cluster.data.namespace.stat("file")).toBeNull();
});

test("fewer live workers than minReplicas are told at once", async () => {
  await startCluster({ workers: 3 });
  for (const id of ["worker-1", "worker-2"]) void cluster.worker(id).kill();
  const elapsed = stopwatch();
  expect(await codeOf(put())).toBe("NOT_ENOUGH_WORKERS");
  expect(await codeOf(put(sampleBytes(5)))).toBe("NOT_ENOUGH_WORKERS");
  expect(elapsed()).toBeLessThan(1000);
});
