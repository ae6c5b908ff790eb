/** What is acknowledged lies on disks: not what the nodes believe of it, but what the kernel was asked for. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { canTrace, type Flush, traceFlushes } from "../support/flush-trace.ts";
import { RealCluster } from "../support/real-cluster.ts";

const CHUNK = 1 << 20;
const INLINE = 1 << 14;
const EACH = 10;

describe.skipIf(!canTrace)("as strace sees it", () => {
  let cluster: RealCluster;
  beforeAll(async () => {
    const config = { chunkSizeBytes: CHUNK, blockSizeBytes: 1 << 16, inlineChunkBytes: INLINE };
    cluster = await RealCluster.start({ masters: 3, workers: 3, config });
  });
  afterAll(() => cluster?.stop());

  /** Puts files one after the other. @returns per file, what was flushed before it was acknowledged */
  async function flushesOfPuts(name: string, sizeBytes: number): Promise<Flush[][]> {
    const trace = await traceFlushes(cluster.pids().filter(({ kind }) => kind !== "gateway"));
    const windows: { from: number; to: number }[] = [];
    for (let n = 0; n < EACH; n++) {
      const from = Date.now();
      const { status } = await fetch(cluster.fileUrl(`${name}-${n}`), {
        method: "PUT",
        body: new Uint8Array(sizeBytes),
      });
      windows.push({ from, to: Date.now() + 1 });
      expect(status).toBe(201);
    }
    const flushes = await trace.stop();
    return windows.map(({ from, to }) => flushes.filter(({ beganAt, endedAt }) => beganAt >= from && endedAt <= to));
  }

  /** Nodes that flushed such a path, by when they first had done so after a moment. */
  function flushers(flushes: Flush[], isMeant: (path: string) => boolean, after = 0): Map<string, number> {
    const first = new Map<string, number>();
    for (const { id, path, beganAt, endedAt } of flushes)
      if (isMeant(path) && beganAt >= after && !first.has(id)) first.set(id, endedAt);
    return first;
  }
  const isLog = (path: string): boolean => path.endsWith("/master_metadata.db-wal");
  /** When the second of several nodes was ready. */
  const second = (first: Map<string, number>): number => [...first.values()].sort((a, b) => a - b)[1] ?? Number.NaN;

  test("a change of names is in the logs of a majority of masters", async () => {
    for (const flushes of await flushesOfPuts("empty", 0))
      expect(flushers(flushes, isLog).size).toBeGreaterThanOrEqual(2);
  });

  test("a small chunk is in the databases of minReplicas workers, and only then in the logs", async () => {
    for (const flushes of await flushesOfPuts("small", 1000)) {
      const copies = flushers(flushes, (path) => path.endsWith("/chunk-index.db-wal"));
      expect(copies.size).toBeGreaterThanOrEqual(2);
      expect(flushers(flushes, isLog, second(copies)).size).toBeGreaterThanOrEqual(2);
    }
  });

  test("a chunk's bytes and its name are in the folders of minReplicas workers, and only then in the logs", async () => {
    for (const flushes of await flushesOfPuts("chunks", INLINE + CHUNK / 2)) {
      const bytes = flushers(flushes, (path) => /\/parts\/[0-9a-f]{16}\.\d+\.part$/.test(path));
      const names = flushers(flushes, (path) => /\/chunks\/[0-9a-f]{2}$/.test(path));
      const copies = new Map([...names].filter(([id, at]) => at >= (bytes.get(id) ?? Number.NaN)));
      expect(copies.size).toBeGreaterThanOrEqual(2);
      expect(flushers(flushes, isLog, second(copies)).size).toBeGreaterThanOrEqual(2);
    }
  });
});
