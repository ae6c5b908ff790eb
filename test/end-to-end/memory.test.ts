/** A gateway's memory is flat however many transfers run at once; the bench does the same with whole gigabytes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { forgetPeak, peakResidentBytes } from "../bench/process-accounting.ts";
import { sampleBytes } from "../support/bodies.ts";
import { RealCluster } from "../support/real-cluster.ts";

const MIB = 1 << 20;
const TRANSFERS = 16;
const BOUND = 256 * MIB;
const content = sampleBytes(24 * MIB + 12_345);
const crc32 = Bun.hash.crc32(content);
const all = Array.from({ length: TRANSFERS }, (_, n) => `m/${n}`);

let cluster: RealCluster;
beforeAll(async () => {
  cluster = await RealCluster.start({ workers: 3 });
});
afterAll(() => cluster.stop());

async function put(path: string): Promise<void> {
  const response = await fetch(cluster.fileUrl(path), { method: "PUT", body: content });
  const { crc32: stored } = (await response.json()) as { crc32: string };
  expect(stored).toBe(crc32.toString(16).padStart(8, "0"));
}

/** @param pauseMs after each MiB, so that the gateway meets a client that does not keep up */
async function getBack(path: string, pauseMs: number): Promise<void> {
  const { body } = await fetch(cluster.fileUrl(path));
  let sum = 0;
  let bytes = 0;
  let pauses = 0;
  for await (const piece of body as ReadableStream<Uint8Array>) {
    sum = Bun.hash.crc32(piece, sum);
    bytes += piece.length;
    if (pauseMs > 0 && bytes > pauses * MIB) {
      pauses++;
      await Bun.sleep(pauseMs);
    }
  }
  expect([bytes, sum]).toEqual([content.length, crc32]);
}

async function peakWhile(work: () => Promise<unknown>): Promise<number> {
  const pid = cluster.pid("gateway-1");
  forgetPeak(pid);
  await work();
  return peakResidentBytes(pid) as number;
}

describe.skipIf(!existsSync("/proc/self/clear_refs"))(`${TRANSFERS} transfers at once`, () => {
  test("uploads leave the gateway below 256 MiB", async () => {
    expect(await peakWhile(() => Promise.all(all.map(put)))).toBeLessThan(BOUND);
  });

  test("downloads leave it there, and every byte comes", async () => {
    expect(await peakWhile(() => Promise.all(all.map((path) => getBack(path, 0))))).toBeLessThan(BOUND);
  });

  test("slow readers too", async () => {
    expect(await peakWhile(() => Promise.all(all.map((path) => getBack(path, 40))))).toBeLessThan(BOUND);
  });
});
