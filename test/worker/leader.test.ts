import { expect, test } from "bun:test";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { putBlock } from "../../actors/node/http/block-requests.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { inventoryDigest } from "../../actors/rules/redundancy/inventory-digest.ts";
import type { WorkerOptions } from "../../actors/worker/host.ts";
import { reconcilePage } from "../../actors/worker/leader/reconcile.ts";
import { StandInMaster } from "../support/stand-in-master.ts";
import {
  BLOCK,
  blocksOf,
  crc32Of,
  freeUrl,
  randomBytes,
  SECRET,
  startTestWorker,
  storeChunk,
  tell,
  temporaryFolder,
  testConfig,
  tester,
  until,
  writeChunk,
} from "./support.ts";

async function withMaster(
  directory: string,
  options: { config?: Partial<Config>; master?: (master: StandInMaster) => void } & Partial<
    Omit<WorkerOptions, "config">
  > = {},
) {
  const url = freeUrl();
  const master = new StandInMaster(url, SECRET);
  options.master?.(master);
  const config = testConfig({ masters: [{ id: "master-1", url }], ...options.config });
  const { master: _, ...rest } = options;
  const worker = await startTestWorker(directory, { ...rest, config });
  return {
    master,
    worker,
    [Symbol.asyncDispose]: async () => {
      await worker.stop();
      await master.stop();
    },
  };
}

test("a worker registers, serves, and reports what it holds", async () => {
  using folder = temporaryFolder();
  await using both = await withMaster(folder.path, { capacityBytes: 100 * BLOCK });
  const { master, worker } = both;
  await until(() => master.heartbeats.length > 1);
  expect(worker.state()).toStartWith("serving.disk.normal");
  expect(master.registrations).toMatchObject([
    { workerId: "worker-1", url: worker.url, zone: "zone-a", epoch: 1, clusterId: null, capacityBytes: 100 * BLOCK },
  ]);
  await storeChunk(worker, 1, randomBytes(10 * BLOCK));
  await until(() => master.heartbeats.at(-1)?.chunkCount === 1);
  expect(master.heartbeats.at(-1)).toMatchObject({ condition: "normal", freeBytes: 90 * BLOCK, trashBytes: 0 });
  expect((await fetch(`${worker.url}/health/ready`)).status).toBe(200);
});

test("a heartbeat names the copies under way, as long as they are", async () => {
  using folder = temporaryFolder();
  using sourceFolder = temporaryFolder();
  const source = await startTestWorker(sourceFolder.path, { id: "worker-2" });
  await using both = await withMaster(folder.path);
  const { master, worker } = both;
  const copied = () => master.heartbeats.at(-1)?.copying;
  await until(() => copied()?.length === 0);
  const chunk = await storeChunk(source, 1, randomBytes(10 * BLOCK));
  const order = tell(worker.url, {
    ...{
      type: "COPY_CHUNK",
      term: 1,
      expiresAt: Number.MAX_SAFE_INTEGER,
      orderId: "1",
      decidedAt: 1,
      timeoutMs: 60_000,
    },
    ...{ ...chunk, sources: [{ id: "worker-2", url: source.url }], bytesPerSecond: 10 * BLOCK },
  });
  await until(() => copied()?.[0] === 1);
  await order;
  await until(() => copied()?.length === 0);
  await source.stop();
});

test("the incarnation stays with the directory, the epoch grows, the cluster is remembered", async () => {
  using folder = temporaryFolder();
  const seen: { incarnation: string; epoch: number; clusterId: string | null }[] = [];
  for (let start = 0; start < 2; start++) {
    await using both = await withMaster(folder.path);
    await until(() => both.master.heartbeats.length > 0);
    seen.push(both.master.registrations[0] as (typeof seen)[number]);
  }
  expect(seen[1]?.incarnation).toBe(seen[0]?.incarnation as string);
  expect(seen.map(({ epoch }) => epoch)).toEqual([1, 2]);
  expect(seen.map(({ clusterId }) => clusterId)).toEqual([null, "cluster-of-the-test"]);
});

test("a leader that does not know the worker, or is of a higher term, gets a registration", async () => {
  using folder = temporaryFolder();
  await using both = await withMaster(folder.path);
  const { master } = both;
  await until(() => master.heartbeats.length > 0);
  const usual = master.answers.heartbeat;
  master.answers.heartbeat = () => {
    master.answers.heartbeat = usual;
    throw new Refusal("UNKNOWN_WORKER", "Who are you?");
  };
  await until(() => master.registrations.length === 2);
  master.term = 2;
  await until(() => master.registrations.length === 3);
});

test("the worker follows a master's hint to the leader", async () => {
  using folder = temporaryFolder();
  const leader = new StandInMaster(freeUrl(), SECRET);
  await using both = await withMaster(folder.path, {
    master: (follower) => {
      follower.answers.register = () => {
        throw new Refusal("NOT_LEADER", "Ask the leader", { leaderUrl: leader.url });
      };
    },
  });
  await until(() => leader.heartbeats.length > 1);
  expect(both.master.heartbeats.length).toBe(0);
  await leader.stop();
});

test("without a leader the worker is orphaned, serves on, and comes back by itself", async () => {
  using folder = temporaryFolder();
  const url = freeUrl();
  const config = testConfig({ masters: [{ id: "master-1", url }] });
  const worker = await startTestWorker(folder.path, { config });
  await until(() => worker.state().startsWith("orphaned"));
  await storeChunk(worker, 1, randomBytes(2 * BLOCK));
  const master = new StandInMaster(url, SECRET);
  await until(() => master.heartbeats.length > 0);
  expect(worker.state()).toStartWith("serving");
  await worker.stop();
  await master.stop();
});

test("a bad copy is reported until it is acknowledged", async () => {
  using folder = temporaryFolder();
  await using both = await withMaster(folder.path);
  const { master, worker } = both;
  await storeChunk(worker, 1, randomBytes(2 * BLOCK));
  await worker.store.quarantine(1, "the test says so");
  const usual = master.answers.heartbeat;
  master.answers.heartbeat = (heartbeat) => ({ ...usual(heartbeat), acknowledged: [] });
  const reported = () => master.heartbeats.slice(-2).every(({ badReplicas }) => badReplicas.length === 1);
  await until(() => master.heartbeats.length > 2 && reported());
  master.answers.heartbeat = (heartbeat) => ({ ...usual(heartbeat), acknowledged: [1] });
  await until(() => master.heartbeats.at(-1)?.badReplicas.length === 0);
});

test("an abandoned open chunk is asked about, and thrown away when told to", async () => {
  using folder = temporaryFolder();
  await using both = await withMaster(folder.path, { rhythm: { idleAfterMs: 50 } });
  const { master, worker } = both;
  await writeChunk(worker, 1, randomBytes(2 * BLOCK));
  await until(() => master.heartbeats.at(-1)?.idleOpenChunks[0] === 1);
  expect(worker.store.totals.openChunks).toBe(1);
  const usual = master.answers.heartbeat;
  master.answers.heartbeat = (heartbeat) => ({ ...usual(heartbeat), discard: heartbeat.idleOpenChunks });
  await until(() => worker.store.totals.openChunks === 0);
});

test("a worker whose capacity is used up calls itself full, and normal again when the trash is emptied", async () => {
  using folder = temporaryFolder();
  await using both = await withMaster(folder.path, { capacityBytes: 2 * BLOCK, rhythm: { sweepMs: 10 } });
  const { master, worker } = both;
  await storeChunk(worker, 1, randomBytes(2 * BLOCK));
  await until(() => master.heartbeats.at(-1)?.condition === "full");
  expect(worker.state()).toStartWith("serving.disk.full");
  const usual = master.answers.heartbeat;
  const registrations = master.registrations.length;
  master.answers.heartbeat = () => {
    throw new Refusal("UNKNOWN_WORKER", "Who are you?");
  };
  await until(() => master.registrations.length > registrations);
  master.answers.heartbeat = usual;
  await until(() => worker.state().startsWith("serving.disk.full"));
  await worker.store.trash([1], 1);
  await until(() => master.heartbeats.at(-1)?.condition === "normal");
});

test("50d. a worker that is drained goes on with chunks that were begun, begins none, and says that it knows", async () => {
  using folder = temporaryFolder();
  await using both = await withMaster(folder.path);
  const { master, worker } = both;
  const blocks = blocksOf(randomBytes(2 * BLOCK));
  const send = (chunkId: number, block: number) => {
    const bytes = blocks[block] as Uint8Array<ArrayBuffer>;
    const what = { chunkId, block, bytes, crc32: crc32Of(bytes), blockSizeBytes: BLOCK };
    return putBlock(tester, { id: "worker-1", url: worker.url }, [], what, { timeoutMs: 5000 });
  };
  await send(1, 0);
  const usual = master.answers.heartbeat;
  master.answers.heartbeat = (heartbeat) => ({ ...usual(heartbeat), mode: "draining" });
  await until(() => master.heartbeats.at(-1)?.mode === "draining");
  expect(master.heartbeats.at(-1)?.openChunks).toBe(1);
  await send(1, 1);
  expect(send(2, 0)).rejects.toMatchObject({ code: "NOT_READY" });
  const small = { chunkId: 3, blockSizeBytes: BLOCK, crc32: crc32Of(new Uint8Array(9)), bytes: new Uint8Array(9) };
  const { outcomes } = await tell(worker.url, { type: "PUT_SMALL_CHUNKS", chunks: [small] });
  expect(outcomes).toMatchObject([{ stored: false, code: "NOT_READY" }]);
  const crc32 = crc32OfBlocks(blocks.map(crc32Of), 2 * BLOCK, BLOCK);
  await tell(worker.url, { type: "SEAL_CHUNK", chunkId: 1, lengthBytes: 2 * BLOCK, blockSizeBytes: BLOCK, crc32 });
  await until(() => master.heartbeats.at(-1)?.openChunks === 0 && master.heartbeats.at(-1)?.chunkCount === 1);
  master.answers.heartbeat = usual;
  await until(() => master.heartbeats.at(-1)?.mode === "active");
  await send(2, 0);
});

test("pages cover all ids without a gap, and a list is sent only where the digests differ", async () => {
  using folder = temporaryFolder();
  const asked: { fromId: number; toId: number; count: number; listed: boolean }[] = [];
  await using both = await withMaster(folder.path);
  const { worker } = both;
  const stored: Awaited<ReturnType<typeof storeChunk>>[] = [];
  for (const chunkId of [3, 4, 8, 9, 20]) stored.push(await storeChunk(worker, chunkId, randomBytes(BLOCK)));
  const index = {
    sealedAfter: (after: number, limit: number) => stored.filter((c) => c.chunkId > after).slice(0, limit),
  };
  const trashed: number[] = [];
  let next: number | null = 0;
  while (next !== null)
    next = await reconcilePage(
      {
        index: index as never,
        settled: async () => {},
        pageSize: 2,
        ask: async ({ fromId, toId, count, digest, chunks }) => {
          const there = stored.filter((c) => c.chunkId >= fromId && c.chunkId <= toId);
          expect({ count, digest }).toEqual(inventoryDigest(there));
          asked.push({ fromId, toId, count, listed: chunks !== null });
          const trash = chunks ? [8, 9, 100] : [];
          return { match: fromId !== 5, trash, decidedAt: 1, adopted: 0, missing: 0 };
        },
        trash: async (chunkIds) => trashed.push(...chunkIds),
      },
      next,
    );
  const end = Number.MAX_SAFE_INTEGER;
  expect(asked).toEqual([
    { fromId: 0, toId: 4, count: 2, listed: false },
    { fromId: 5, toId: 9, count: 2, listed: false },
    { fromId: 5, toId: 9, count: 2, listed: true },
    { fromId: 10, toId: end, count: 1, listed: false },
  ]);
  expect(trashed).toEqual([8, 9]); // 100 is not of this page
});

test("what nobody knows goes to the trash after registration", async () => {
  using folder = temporaryFolder();
  {
    await using before = await withMaster(folder.path);
    for (const chunkId of [1, 2]) await storeChunk(before.worker, chunkId, randomBytes(2 * BLOCK));
  }
  await using both = await withMaster(folder.path, {
    master: (master) => {
      master.answers.reconcile = ({ chunks }) => ({
        match: false,
        trash: chunks ? [2] : [],
        decidedAt: 1,
        adopted: 0,
        missing: 0,
      });
    },
  });
  await until(() => both.worker.store.describe(2)?.state === "trash");
  expect(both.worker.store.describe(1)?.state).toBe("sealed");
  expect(both.master.reconciliations[0]).toMatchObject({
    fromId: 0,
    toId: Number.MAX_SAFE_INTEGER,
    count: 2,
    chunks: null,
  });
});
