/** Readers that leave in the middle: what was begun for them ends with them, and the others hardly notice. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { forgetPeak, peakResidentBytes } from "../bench/process-accounting.ts";
import { sampleBytes } from "../support/bodies.ts";
import { askAndLeave, inCrowds } from "../support/impatient-clients.ts";
import { RealCluster } from "../support/real-cluster.ts";

const MIB = 1 << 20;
const content = sampleBytes(64 * MIB);
const crc32 = Bun.hash.crc32(content);
/** Six bytes of each of 32 blocks. */
const manyRanges = `bytes=${Array.from({ length: 32 }, (_, n) => `${n * 700_000}-${n * 700_000 + 5}`).join(",")}`;
const READS = 10;
const hasAccounts = existsSync("/proc/self/clear_refs");

let cluster: RealCluster;
beforeAll(async () => {
  cluster = await RealCluster.start({ workers: 3 });
  expect((await fetch(cluster.fileUrl("big"), { method: "PUT", body: content })).status).toBe(201);
});
afterAll(() => cluster.stop());

interface Held {
  downloads: number;
  bufferBytesInUse: number;
}
/** @throws when the gateway has no answer */
const held = async (): Promise<Held> => {
  const response = await fetch(`${cluster.url}/cluster`);
  const { gateway } = (await response.json()) as { gateway: { downloads: unknown[]; bufferBytesInUse: number } };
  return { downloads: gateway.downloads.length, bufferBytesInUse: gateway.bufferBytesInUse };
};

async function readWhole(): Promise<number> {
  const startedAt = performance.now();
  const { body } = await fetch(cluster.fileUrl("big"));
  let sum = 0;
  for await (const piece of body as ReadableStream<Uint8Array>) sum = Bun.hash.crc32(piece, sum);
  expect(sum).toBe(crc32);
  return performance.now() - startedAt;
}

async function medianMs(): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < READS; n++) times.push(await readWhole());
  return times.sort((a, b) => a - b)[READS >> 1] as number;
}

const untilNothingIsHeld = (): Promise<number> =>
  cluster.until("slots and buffers are given back", 30_000, async () => {
    const { downloads, bufferBytesInUse } = await held();
    return downloads === 0 && bufferBytesInUse === 0;
  });

test("F2. downloads of several ranges that are broken off leave neither slots nor buffers behind", async () => {
  const url = cluster.fileUrl("big");
  await inCrowds(200, 10, () =>
    askAndLeave(url, { range: "bytes=0-10,1000000-2000000,5000000-9000000" }, { afterBytes: 1000, afterMs: 5000 }),
  );
  await untilNothingIsHeld();
});

test.skipIf(!hasAccounts)(
  "F3. a thousand abandoned requests of 32 ranges: all is given back at once, memory stays flat, and readers hardly notice",
  async () => {
    await readWhole();
    const beforeMs = await medianMs();
    const pid = cluster.pid("gateway-1");
    forgetPeak(pid);
    let mostHeld = 0;
    let storming = true;
    const watching = (async () => {
      while (storming) {
        const { bufferBytesInUse } = await held().catch(() => ({ bufferBytesInUse: 0 }));
        mostHeld = Math.max(mostHeld, bufferBytesInUse);
        await Bun.sleep(5);
      }
    })();
    await inCrowds(1000, 50, (n) =>
      askAndLeave(cluster.fileUrl("big"), { range: manyRanges }, { afterMs: 10 + (n % 20) * 20 }),
    );
    const givenBackMs = await untilNothingIsHeld();
    storming = false;
    await watching;
    const afterwardsMs = await medianMs();
    const residentMiB = (peakResidentBytes(pid) as number) / MIB;
    // What else the machine does may change meanwhile.
    const usualMs = Math.max(beforeMs, await medianMs());
    console.log(
      `1,000 requests abandoned: ${(mostHeld / MIB).toFixed(1)} MiB held at most, all given back ${givenBackMs.toFixed(0)} ms after the last, ` +
        `${residentMiB.toFixed(0)} MiB resident at most; 64 MiB read in ${afterwardsMs.toFixed(0)} ms, usually ${usualMs.toFixed(0)} ms`,
    );
    expect(mostHeld).toBeLessThanOrEqual(cluster.config.limits.bufferBytes);
    // Two seconds; more where the machine is slow.
    expect(givenBackMs).toBeLessThan(Math.max(2000, 10 * usualMs));
    expect(residentMiB).toBeLessThan(256);
    expect(afterwardsMs).toBeLessThan(2 * usualMs);
  },
);
