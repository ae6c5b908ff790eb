/** Background work of real workers leaves their event loops free: they answer, and end when they are told to. */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { RealCluster } from "../support/real-cluster.ts";

/** So many that the scrub is at work all the time, and the order to trash comes while it reads. */
const FILES = 400;
const FILE_BYTES = 200_000;
const AT_ONCE = 16;
const PATIENCE_MS = 90_000;

test("F1. workers that scrub what is being deleted go on answering, and stop when they are told to", async () => {
  const cluster = await RealCluster.start({
    workers: 3,
    config: {
      scrub: { intervalMs: 1000, bytesPerSecond: 64 << 20 },
      trash: { keepMs: 86_400_000, deleteGraceMs: 1000 },
    },
  });
  const { workers } = cluster.config;
  try {
    const body = new Uint8Array(FILE_BYTES).fill(1);
    const files = Array.from({ length: FILES }, (_, n) => cluster.fileUrl(`full/${n}`)).values();
    const lane = async (): Promise<void> => {
      for (const url of files) expect((await fetch(url, { method: "PUT", body })).status).toBe(201);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    expect((await fetch(`${cluster.fileUrl("full")}?recursive=true`, { method: "DELETE" })).ok).toBeTrue();
    await cluster.until("every copy was ordered into the trash, and all workers answer", PATIENCE_MS, async () => {
      for (const { url } of workers) await fetch(`${url}/health/live`, { signal: AbortSignal.timeout(5000) });
      const { garbage, redundancy } = await cluster.view();
      return garbage === 0 && redundancy.chunks === 0;
    });
    for (const { id } of workers) {
      // A slow machine may have missed a copy or two of a file, never most of them.
      expect(readdirSync(join(cluster.dataOf(id), "trash")).length).toBeGreaterThan(FILES / 2);
      expect(cluster.logOf(id)).not.toContain('"state":"missing"');
    }
    expect(await Promise.all(workers.map(({ id }) => cluster.kill(id, "SIGTERM")))).toEqual(workers.map(() => 0));
  } finally {
    await cluster.stop();
  }
});
