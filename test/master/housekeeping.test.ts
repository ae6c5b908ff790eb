/** What a leader clears away, and when. */
import { afterEach, expect, test } from "bun:test";
import { ManualCluster } from "../support/manual-cluster.ts";

let cluster: ManualCluster;
afterEach(() => cluster?.stop());

for (const [claim, deleteGraceMs, trashed] of [
  ["within the grace for readers, the copies of a deleted file stay where they are", 3_600_000, 0],
  ["after it they go to the trash", 0, 3],
] as const)
  test(`59e. ${claim}`, async () => {
    cluster = await ManualCluster.start({ config: { trash: { keepMs: 86_400_000, deleteGraceMs } } });
    const chunkId = await cluster.file("f", [1, 2, 3]);
    await cluster.engine.propose({ type: "DELETE_PATH", path: "f", recursive: false, condition: {} });
    await cluster.pass(20_000);
    await cluster.until("as many as are due", () => cluster.engine.queries.garbageCount() === 3 - trashed);
    expect(cluster.workers.flatMap((worker) => worker.trashed)).toEqual(Array(trashed).fill(chunkId));
  });
