/** A worker that is taken away in the middle of the work: nothing is lost, and it says when it may go. */
import { afterEach, expect, test } from "bun:test";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { CHUNK, WholeCluster } from "../support/whole-cluster.ts";

let cluster: WholeCluster;
afterEach(() => cluster.stop());

test("50e. a worker that is drained in the middle of an upload: the upload ends well, then the worker is drained", async () => {
  cluster = await WholeCluster.start({ workers: 4 });
  const bytes = sampleBytes(6 * CHUNK);
  const stateOf = async (id: string) => {
    const { workers } = await cluster.data.operations.clusterState();
    return workers.find((worker) => worker.id === id)?.state;
  };
  const openOn = (id: string) => cluster.worker(id).store.totals.openChunks;
  let drained = "";
  const before = async () => {
    const busy = ["worker-1", "worker-2", "worker-3", "worker-4"].find((id) => openOn(id) > 0);
    if (drained !== "" || !busy) return;
    drained = busy;
    await cluster.data.operations.setWorkerMode(drained, "draining");
    await cluster.until("it knows", () => !cluster.worker(drained).store.takesNew);
    expect(await stateOf(drained)).toBe("draining");
  };
  await cluster.data.transfers.put({ path: "file", body: bodyOf(bytes, { before }), lengthBytes: bytes.length });
  expect(drained).not.toBe("");
  await cluster.until("it is drained", async () => (await stateOf(drained)) === "drained");
  await cluster.stopWorker(drained);
  const { chunks } = cluster.engine.queries.locate("file", 0, 100);
  for (const { workerIds } of chunks) {
    expect(workerIds).toHaveLength(3);
    expect(workerIds).not.toContain(drained);
  }
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
});
