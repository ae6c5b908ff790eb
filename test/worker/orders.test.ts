import { expect, test } from "bun:test";
import { closeSync, openSync, writeSync } from "node:fs";
import { getBlocks } from "../../actors/node/http/block-requests.ts";
import { Fence } from "../../actors/worker/leader/fence.ts";
import { GroupCommit } from "../../actors/worker/store/group-commit.ts";
import { ChunkIndex } from "../../databases/chunk-index.ts";
import { codeOf } from "../support/codes.ts";
import { StandInMaster } from "../support/stand-in-master.ts";
import {
  BLOCK,
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
} from "./support.ts";

const options = { timeoutMs: 5000 };
type Stored = { chunkId: number; lengthBytes: number; crc32: number };

const NEVER = Number.MAX_SAFE_INTEGER;

const copyOrder = (chunk: Stored, sources: { id: string; url: string }[], change = {}) => ({
  type: "COPY_CHUNK" as const,
  term: 1,
  expiresAt: NEVER,
  orderId: "1",
  decidedAt: 10,
  timeoutMs: 5000,
  ...chunk,
  sources,
  bytesPerSecond: null,
  ...change,
});
const trashOrder = (chunkIds: number[], change = {}) => ({
  type: "TRASH_CHUNKS" as const,
  term: 1,
  expiresAt: NEVER,
  orderId: "1",
  decidedAt: 10,
  chunkIds,
  ...change,
});

async function pair() {
  const folders = [temporaryFolder(), temporaryFolder()];
  const [from, to] = await Promise.all(folders.map(({ path }, n) => startTestWorker(path, { id: `worker-${n + 1}` })));
  if (!from || !to) throw new Error("two workers");
  return {
    from,
    to,
    source: { id: "worker-1", url: from.url },
    nobody: { id: "worker-9", url: freeUrl() },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([from.stop(), to.stop()]);
      for (const folder of folders) folder[Symbol.dispose]();
    },
  };
}

function damage(path: string, offset: number): void {
  const file = openSync(path, "r+");
  writeSync(file, randomBytes(8), 0, 8, offset);
  closeSync(file);
}

test("chunks large and small are copied, and copying again answers at once", async () => {
  await using two = await pair();
  const large = randomBytes(20 * BLOCK + 3);
  const small = randomBytes(100);
  for (const [chunkId, content] of [
    [1, large],
    [2, small],
  ] as const) {
    const chunk = await storeChunk(two.from, chunkId, content);
    const order = copyOrder(chunk, [two.nobody, two.source]);
    expect(await tell(two.to.url, order)).toEqual({ ...chunk, sourceId: "worker-1", badSources: [] });
    expect(await tell(two.to.url, order)).toEqual({ ...chunk, sourceId: null, badSources: [] });
    expect(await getBlocks(tester, two.to.url, chunkId, 0, 100, options)).toEqual(content);
  }
});

test("44. a source whose bytes changed is named, nothing of it is kept, and another source serves", async () => {
  await using two = await pair();
  using folder = temporaryFolder();
  const third = await startTestWorker(folder.path, { id: "worker-3" });
  const content = randomBytes(8 * BLOCK);
  const chunk = await storeChunk(two.from, 1, content);
  await storeChunk(third, 1, content);
  damage(two.from.store.folders.file(1, "sealed"), 5 * BLOCK + 7);
  expect(tell(two.to.url, copyOrder(chunk, [two.source]))).rejects.toMatchObject({
    code: "SOURCE_UNAVAILABLE",
    details: { badSources: ["worker-1"] },
  });
  await until(() => two.to.store.totals.openChunks === 0);
  const sources = [two.source, { id: "worker-3", url: third.url }];
  expect(await tell(two.to.url, copyOrder(chunk, sources))).toMatchObject({
    sourceId: "worker-3",
    badSources: ["worker-1"],
  });
  expect(await getBlocks(tester, two.to.url, 1, 0, 100, options)).toEqual(content);
  await third.stop();
});

test("44b. a source that holds something else than was ordered is bad before a byte is fetched", async () => {
  await using two = await pair();
  const chunk = await storeChunk(two.from, 1, randomBytes(3 * BLOCK));
  expect(tell(two.to.url, copyOrder({ ...chunk, crc32: 1 }, [two.source]))).rejects.toMatchObject({
    code: "SOURCE_UNAVAILABLE",
    details: { badSources: ["worker-1"] },
  });
});

test("46b. two orders for one chunk share one copy", async () => {
  await using two = await pair();
  const chunk = await storeChunk(two.from, 1, randomBytes(30 * BLOCK));
  const order = copyOrder(chunk, [two.source]);
  const answers = await Promise.all([tell(two.to.url, order), tell(two.to.url, { ...order, orderId: "2" })]);
  expect(answers.map(({ sourceId }) => sourceId)).toEqual(["worker-1", "worker-1"]);
  const metrics = await (await fetch(`${two.from.url}/metrics`)).text();
  expect(metrics).toContain("dfs_worker_blocks_read_total 30\n");
});

test("49b. a copy keeps to its pace, and one that cannot be done in time leaves nothing", async () => {
  await using two = await pair();
  const chunk = await storeChunk(two.from, 1, randomBytes(10 * BLOCK));
  const slow = copyOrder(chunk, [two.source], { bytesPerSecond: 68, timeoutMs: 200 });
  expect(tell(two.to.url, slow)).rejects.toMatchObject({ code: "TIMEOUT" });
  await until(() => two.to.store.totals.openChunks === 0);
  const startedAt = performance.now();
  await tell(two.to.url, { ...slow, bytesPerSecond: 40 * BLOCK, timeoutMs: 5000 });
  expect(performance.now() - startedAt).toBeGreaterThan(200);
});

test("49e. chunks of one block, too: a copy is not answered before its bytes have had their time", async () => {
  await using two = await pair();
  for (const [chunkId, length] of [
    [1, 1000],
    [2, BLOCK],
  ] as const) {
    const chunk = await storeChunk(two.from, chunkId, randomBytes(length));
    const startedAt = performance.now();
    await tell(two.to.url, copyOrder(chunk, [two.source], { bytesPerSecond: 5 * length }));
    expect(performance.now() - startedAt).toBeGreaterThan(195);
    expect(two.to.store.describe(chunkId)?.state).toBe("sealed");
  }
});

test("47. an order that comes after its deadline is refused, by the clock whose time the leader has told", async () => {
  using folder = temporaryFolder();
  const url = freeUrl();
  const master = new StandInMaster(url, SECRET);
  const leaderClock = { now: 1_000_000 };
  const { register, heartbeat } = master.answers;
  master.answers.register = (message) => ({ ...register(message), leaderTimeMs: leaderClock.now });
  master.answers.heartbeat = (message) => ({ ...heartbeat(message), leaderTimeMs: leaderClock.now });
  const config = testConfig({ masters: [{ id: "master-1", url }] });
  const worker = await startTestWorker(folder.path, { config });
  const chunk = await storeChunk(worker, 1, randomBytes(BLOCK));
  await until(() => master.heartbeats.length > 1);
  const told = master.heartbeats.length;
  leaderClock.now += 60_000;
  await until(() => master.heartbeats.length > told + 1);
  const late = { term: 1, expiresAt: leaderClock.now - 1000 };
  for (const order of [
    trashOrder([1], late),
    copyOrder({ ...chunk, chunkId: 2 }, [{ id: "worker-9", url: freeUrl() }], late),
    { type: "VERIFY_CHUNK" as const, ...chunk, ...late },
  ])
    expect(tell(worker.url, order)).rejects.toMatchObject({ code: "ORDER_EXPIRED" });
  expect(worker.store.describe(1)?.state).toBe("sealed");
  const inTime = { ...late, expiresAt: leaderClock.now + 60_000 };
  expect(await tell(worker.url, trashOrder([1], inTime))).toMatchObject({ trashed: [1] });
  await worker.stop();
  await master.stop();
});

test("47c. what an answer that took long, or one of another leader, says of the time proves no order late", async () => {
  using folder = temporaryFolder();
  const index = new ChunkIndex(folder.path);
  index.beginEpoch();
  let now = 500;
  const fence = new Fence(index, new GroupCommit(index), () => now);
  const order = { term: 1, expiresAt: 1000 };
  await fence.passOrder(order); // nobody has told the time yet
  now += 5000;
  fence.noteLeaderTime(1, 2000, now - 4000);
  await fence.passOrder(order);
  fence.noteLeaderTime(1, 900, now - 10);
  now += 100;
  await fence.passOrder(order);
  now += 1;
  expect(await codeOf(fence.passOrder(order))).toBe("ORDER_EXPIRED");
  await fence.passOrder({ ...order, term: 2 }); // by a clock that it knows nothing of
  expect(await codeOf(fence.passOrder(order))).toBe("STALE_TERM");
  index.close();
});

test("an order of a new term is carried out when its term is on disk, and not at all if a newer one was heard of meanwhile", async () => {
  using folder = temporaryFolder();
  const gates: PromiseWithResolvers<void>[] = [];
  const index = new ChunkIndex(folder.path, () => {
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    return gate.promise;
  });
  index.beginEpoch();
  const fence = new Fence(index, new GroupCommit(index));
  const order = (term: number) => codeOf(fence.passOrder({ term, expiresAt: 0 }));
  const second = order(2);
  await until(() => gates.length === 1);
  await Bun.sleep(20);
  expect(Bun.peek.status(second)).toBe("pending");
  fence.hear(3);
  gates[0]?.resolve();
  expect(await second).toBe("STALE_TERM");
  const third = order(3);
  await until(() => gates.length === 2);
  gates[1]?.resolve();
  expect(await third).toBe("fine");
  expect(index.identity().highestTerm).toBe(3);
  expect(await order(3)).toBe("fine");
  expect(gates).toHaveLength(2);
  index.close();
});

test("45b. a quarantined copy is replaced in place", async () => {
  await using two = await pair();
  const content = randomBytes(4 * BLOCK);
  const chunk = await storeChunk(two.from, 1, content);
  await storeChunk(two.to, 1, content);
  damage(two.to.store.folders.file(1, "sealed"), BLOCK);
  expect(await tell(two.to.url, { type: "VERIFY_CHUNK", term: 1, expiresAt: NEVER, ...chunk })).toEqual({
    chunkId: 1,
    state: "corrupt",
  });
  expect(await tell(two.to.url, copyOrder(chunk, [two.source]))).toMatchObject({ sourceId: "worker-1" });
  expect(await tell(two.to.url, { type: "VERIFY_CHUNK", term: 1, expiresAt: NEVER, ...chunk })).toEqual({
    chunkId: 1,
    state: "good",
  });
  expect(
    await tell(two.to.url, { type: "VERIFY_CHUNK", term: 1, expiresAt: NEVER, ...chunk, chunkId: 9 }),
  ).toMatchObject({
    state: "missing",
  });
});

test("48. an order of a lower term is refused, after a restart too", async () => {
  using folder = temporaryFolder();
  const first = await startTestWorker(folder.path);
  await storeChunk(first, 1, randomBytes(2 * BLOCK));
  expect(await tell(first.url, trashOrder([99], { term: 5 }))).toEqual({ trashed: [], absent: [99] });
  expect(tell(first.url, trashOrder([1], { term: 4 }))).rejects.toMatchObject({
    code: "STALE_TERM",
    details: { term: 5 },
  });
  await first.stop();
  const second = await startTestWorker(folder.path);
  for (const order of [
    trashOrder([1], { term: 4 }),
    { type: "VERIFY_CHUNK" as const, term: 4, expiresAt: NEVER, chunkId: 1, lengthBytes: 0, crc32: 0 },
    copyOrder({ chunkId: 2, lengthBytes: 1, crc32: 1 }, [{ id: "worker-9", url: freeUrl() }], { term: 4 }),
  ])
    expect(tell(second.url, order)).rejects.toMatchObject({ code: "STALE_TERM" });
  expect(await tell(second.url, { type: "DESCRIBE_CHUNK", chunkId: 1 })).toMatchObject({ state: "sealed" });
  await second.stop();
});

test("trashed chunks can be read until the sweep, and their bytes are told apart", async () => {
  using folder = temporaryFolder();
  const config = testConfig({ trash: { keepMs: 300, deleteGraceMs: 0 } });
  const worker = await startTestWorker(folder.path, { config, rhythm: { sweepMs: 20 } });
  const content = randomBytes(2 * BLOCK);
  await storeChunk(worker, 1, content);
  expect(await tell(worker.url, trashOrder([1, 2]))).toEqual({ trashed: [1], absent: [2] });
  expect(await tell(worker.url, { type: "DESCRIBE_CHUNK", chunkId: 1 })).toMatchObject({ state: "trash" });
  expect(await getBlocks(tester, worker.url, 1, 0, 2, options)).toEqual(content);
  expect(worker.store.totals).toMatchObject({ chunkCount: 0, sealedBytes: 0, trashBytes: 2 * BLOCK });
  await until(() => worker.store.usedBytes === 0);
  expect(getBlocks(tester, worker.url, 1, 0, 1, options)).rejects.toMatchObject({ code: "NO_SUCH_CHUNK" });
  await worker.stop();
});

test("the scrub finds a flipped byte by itself, in files and inline", async () => {
  using folder = temporaryFolder();
  const config = testConfig({ scrub: { intervalMs: 1000, bytesPerSecond: 1 << 20 } });
  const worker = await startTestWorker(folder.path, { config });
  const good = await storeChunk(worker, 1, randomBytes(2 * BLOCK));
  await storeChunk(worker, 2, randomBytes(2 * BLOCK));
  damage(worker.store.folders.file(2, "sealed"), BLOCK);
  await until(() => worker.store.describe(2)?.state === "quarantined");
  const verified = () => worker.store.describe(1)?.verifiedAt ?? 0;
  await until(() => verified() > (worker.store.describe(1)?.sealedAt ?? Number.POSITIVE_INFINITY));
  expect(good.crc32).toBe(worker.store.describe(1)?.crc32 as number);
  await worker.stop();
});

test("a copy begins with the bytes of the chunk, as a chunk file does", async () => {
  await using two = await pair();
  const content = randomBytes(5 * BLOCK + 1);
  const chunk = await storeChunk(two.from, 1, content);
  await tell(two.to.url, copyOrder(chunk, [two.source]));
  const bytes = new Uint8Array(await Bun.file(two.to.store.folders.file(1, "sealed")).arrayBuffer());
  expect(crc32Of(bytes.subarray(0, content.length))).toBe(crc32Of(content));
});
