/** What a leader clears away, and when. */
import { afterEach, expect, test } from "bun:test";
import { ManualCluster } from "../support/manual-cluster.ts";

let cluster: ManualCluster;
afterEach(() => cluster?.stop());

/** A file is deleted, and much time passes. @returns what its three workers have sent to the trash, and its chunk */
async function trashedAfterDelete(deleteGraceMs: number, copiesDue: number) {
  cluster = await ManualCluster.start({ config: { trash: { keepMs: 86_400_000, deleteGraceMs } } });
  const chunkId = await cluster.file("f", [1, 2, 3]);
  await cluster.engine.propose({ type: "DELETE_PATH", path: "f", recursive: false, condition: {} });
  await cluster.pass(20_000);
  await cluster.until("as many as are due", () => cluster.engine.queries.garbageCount() === 3 - copiesDue);
  return { trashed: cluster.workers.flatMap((worker) => worker.trashed), chunkId };
}

test("59e. within the grace for readers, the copies of a deleted file stay where they are", async () => {
  expect((await trashedAfterDelete(3_600_000, 0)).trashed).toEqual([]);
});

test("59f. after the grace for readers, the copies of a deleted file go to the trash", async () => {
  const { trashed, chunkId } = await trashedAfterDelete(0, 3);
  expect(trashed).toEqual([chunkId, chunkId, chunkId]);
});
