/**
 * Where many chunks come to lie: the gateway's pool of chunk ids before the leader's placing, with workers that count what
 * was written to them and say so in heartbeats. Time and chance are the test's.
 */
import { afterEach, expect, spyOn, test } from "bun:test";
import { Placing } from "../../actors/master/leading/placing.ts";
import { WorkerRegistry } from "../../actors/master/leading/worker-registry.ts";
import type { MetadataPort } from "../../actors/master/metadata-port.ts";
import type { PlaceChunks } from "../../actors/messages/master.ts";
import { loadConfig } from "../../actors/node/config.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { Grants } from "../../gateway/nodes/grants.ts";
import type { MasterClient } from "../../gateway/nodes/master-client.ts";
import { WorkerClients } from "../../gateway/nodes/worker-client.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { SEED, seeded } from "../support/random.ts";

const log = createLogger("test", "silent" as "debug");
const GIB = 2 ** 30;
const COPIES = { replicationFactor: 3, minReplicas: 2 };
const restores: (() => void)[] = [];
afterEach(() => {
  for (const restore of restores.splice(0)) restore();
});

interface Kept {
  id: string;
  chunks: number;
  usedBytes: number;
  load: number;
}

async function cluster() {
  const clock = new ManualClock();
  const real = performance.now();
  const now = spyOn(performance, "now").mockImplementation(() => real + clock.now());
  restores.push(() => now.mockRestore());
  const config = loadConfig();
  let nextId = 1;
  const metadata = {
    rows: () => [],
    propose: async ({ type, count }: { type: string; count: number }) => {
      if (type !== "GRANT_CHUNKS") return null;
      nextId += count;
      return { grantId: nextId - count, firstChunkId: nextId - count };
    },
  } as unknown as MetadataPort;
  const registry = new WorkerRegistry({ config, metadata, clock, log });
  const placing = new Placing(config, metadata, registry, clock, seeded(SEED));
  const kept: Kept[] = [1, 2, 3, 4, 5].map((n) => ({ id: `worker-${n}`, chunks: 0, usedBytes: 0, load: 0 }));
  const me = { incarnation: "i", epoch: 1, capacityBytes: 1000 * GIB };
  for (const { id } of kept) {
    const about = { ...me, url: `http://${id}:1`, zone: id, freeBytes: me.capacityBytes };
    await registry.register({ id, ...about });
  }
  const masters = {
    ask: async (question: PlaceQuestion) => placing.place(question),
    search: { begin: () => null },
    execute: async () => {},
  } as unknown as MasterClient;
  const credentials = sharedSecret("gateway-1", "5".repeat(64));
  const workers = new WorkerClients({ nodeId: "gateway-1", credentials, clusterId: () => "c" });
  const grants = new Grants("gateway-1", masters, workers, log);
  restores.push(() => void grants.close());

  const beat = (): void => {
    for (const { id, chunks, usedBytes, load } of kept)
      registry.heartbeat({
        ...{ type: "HEARTBEAT", workerId: id, ...me, condition: "normal", mode: "active", openChunks: 0, load },
        ...{ freeBytes: me.capacityBytes - usedBytes, trashBytes: 0, chunkCount: chunks },
        ...{ badReplicas: [], idleOpenChunks: [] },
      });
  };
  const wrote = (workerIds: string[], bytes: number): void => {
    for (const one of kept)
      if (workerIds.includes(one.id)) {
        one.chunks++;
        one.usedBytes += bytes;
      }
  };
  return {
    kept,
    workers,
    async small(count: number, meanwhile: (n: number) => void = () => {}): Promise<void> {
      for (let n = 0; n < count; n++) {
        clock.pass(1);
        if (n % config.heartbeatMs === 0) beat();
        meanwhile(n);
        const placed = await grants.placeSmall(config.blockSizeBytes, COPIES);
        wrote(placed.workerIds, 4096);
        placed.release();
      }
    },
    async large(count: number): Promise<void> {
      for (let n = 0; n < count; n++) {
        clock.pass(100);
        if (n % 5 === 0) beat();
        const placed = await grants.place(config.chunkSizeBytes, COPIES, false);
        wrote(placed.workerIds, config.chunkSizeBytes);
        placed.release();
      }
    },
  };
}
type PlaceQuestion = Parameters<Placing["place"]>[0] & { type: (typeof PlaceChunks)["properties"]["type"]["const"] };

const shares = (kept: Kept[]): number[] => {
  const all = kept.reduce((sum, { chunks }) => sum + chunks, 0);
  return kept.map(({ chunks }) => chunks / all);
};
const expectEven = (kept: Kept[]): void => {
  for (const share of shares(kept)) {
    expect(share).toBeGreaterThan(0.18);
    expect(share).toBeLessThan(0.22);
  }
};

test(`10,000 small chunks on five equal workers: each holds a fifth of the copies, within two percent of all  SEED=${SEED}`, async () => {
  const { kept, small } = await cluster();
  await small(10_000);
  expectEven(kept);
});

test(`a worker that failed one write, and was avoided for a while, has its share in the end  SEED=${SEED}`, async () => {
  const { kept, small, workers } = await cluster();
  // It is avoided for 5 s of 20: if it then got no more than the others, it would end with 15 % of the copies.
  await small(20_000, (n) => {
    if (n === 2000) workers.failed("worker-3", "TIMEOUT: no answer");
  });
  expectEven(kept);
});

test(`a worker that was busy at the moment of many grants has its share in the end  SEED=${SEED}`, async () => {
  const { kept, small } = await cluster();
  const [first] = kept as [Kept];
  await small(10_000, (n) => {
    first.load = n < 6000 && n % 2000 < 1000 ? 48 : 0;
  });
  expectEven(kept);
});

test(`a worker that joins empty soon has what is written as much as any other, and never everything  SEED=${SEED}`, async () => {
  const { kept, small } = await cluster();
  const [first, ...others] = kept as [Kept, ...Kept[]];
  for (const one of others) one.chunks = 100_000;
  await small(5000);
  expect(first.chunks).toBeGreaterThan(5000 * 0.6);
  expect(first.chunks).toBeLessThan(5000);
});

test(`large chunks follow free space, however many small ones a worker has  SEED=${SEED}`, async () => {
  const { kept, large } = await cluster();
  const [full, crowded, ...others] = kept as [Kept, Kept, ...Kept[]];
  full.usedBytes = 800 * GIB;
  crowded.chunks = 1_000_000;
  await large(1000);
  const usual = others.reduce((sum, { chunks }) => sum + chunks, 0) / others.length;
  expect(full.chunks).toBeLessThan(usual / 2);
  expect(full.chunks).toBeGreaterThan(0);
  expect(crowded.chunks - 1_000_000).toBeGreaterThan(usual * 0.9);
});
