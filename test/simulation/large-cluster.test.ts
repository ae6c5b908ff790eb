/** A leader of many workers over simulated time: what it does when a rack dies, and what that costs. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimulatedCluster } from "../bench/scale/simulated-cluster.ts";
import { SEED } from "../support/random.ts";

const ZONES = 10;

test(`when a rack and another worker die, chunks with one copy left come first, and in the end all have three  SEED=${SEED}`, async () => {
  const folder = mkdtempSync(join(tmpdir(), "dfs-large-"));
  const cluster = new SimulatedCluster(join(folder, "dfs_metadata.db"), {
    ...{ workers: 80, zones: ZONES, chunks: 3000, chunkBytes: 1 << 20, sets: 640, copyMs: 500, seed: SEED },
    repair: { maxConcurrent: 60, maxPerWorker: 60 },
  });
  try {
    await cluster.fill();
    await cluster.open();
    await cluster.pass(1000);
    const redundancy = () => cluster.steward.verdicts.now().tally.redundancy();
    expect(redundancy()).toMatchObject({ chunks: 3000, full: 3000 });
    expect(cluster.steward.state).toBe("steady");
    const dead = new Set([...cluster.workersOf("zone-1"), cluster.workersOf("zone-2")[0] as string]);
    const lost = (ids: readonly string[]) => ids.filter((id) => dead.has(id)).length;
    const { queries } = cluster.store;
    const missing = queries.replicaSets().reduce((sum, set) => sum + set.chunkCount * lost(set.workers), 0);
    expect(missing).toBeGreaterThan(500);
    cluster.kill(dead);
    await cluster.pass(cluster.config.deadAfterMs + 500);
    const least = () => Object.entries(redundancy().below).find(([, chunks]) => chunks > 0)?.[0];
    expect(least()).toBe("1");
    let whenNoneHasOne: number | null = null;
    for (let waited = 0; redundancy().full < 3000; waited += 500) {
      expect(waited).toBeLessThan(120_000);
      await cluster.pass(500);
      if (least() !== "1") whenNoneHasOne ??= cluster.copies.length;
    }
    expect(whenNoneHasOne).toBeLessThan(missing / 3);
    expect(cluster.copies).toHaveLength(missing);
    for (const { workers, chunkCount } of queries.replicaSets())
      if (chunkCount > 0) expect(workers.length - lost(workers)).toBe(3);
  } finally {
    cluster.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
