/** The index of a worker's chunks as a database: its size, what it remembers of itself, and indexes of older programs. */
import { Database } from "bun:sqlite";
import { expect, spyOn, test } from "bun:test";
import { statSync } from "node:fs";
import { ChunkIndex } from "../../databases/chunk-index.ts";
import { openStore, put, read } from "./open-store.ts";
import { BLOCK, crc32Of, randomBytes, temporaryFolder, until } from "./support.ts";

const content = randomBytes(2 * BLOCK + 100);
const small = randomBytes(500);
const page = randomBytes(4096);

const sealInline = (store: Awaited<ReturnType<typeof openStore>>["store"], chunkId: number, bytes: Uint8Array) =>
  store.sealWhole({ chunkId, lengthBytes: bytes.length, crc32: crc32Of(bytes) }, BLOCK, bytes);

/** Some of each kind of what totals count. */
async function fill({ store }: Awaited<ReturnType<typeof openStore>>): Promise<void> {
  for (const chunkId of [1, 2, 3]) await put(store, chunkId, content);
  for (const chunkId of [4, 5]) await sealInline(store, chunkId, small);
  await store.trash([1, 4], 1);
  await store.quarantine(2, "the test says so");
}
const FILLED = { chunkCount: 2, sealedBytes: content.length + 500, trashBytes: 2 * content.length + 500 };

test("a start does not count rows: the totals lie in the index, whether the worker was stopped or killed", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await fill(first);
  expect(first.store.totals).toMatchObject(FILLED);
  first.index.close(); // as after a crash: nothing was told to stop
  using count = spyOn(ChunkIndex.prototype, "countTotals");
  const second = await openStore(folder.path);
  expect(count).not.toHaveBeenCalled();
  expect(second.store.totals).toMatchObject(FILLED);
  await second.store.audit(true);
  await second.store.close();
});

test("an audit counts some rows at a time, and keeps up with what changes meanwhile, also if it cannot be committed", async () => {
  using folder = temporaryFolder();
  const { store, index, disk } = await openStore(folder.path);
  const sealMany = (from: number, count: number) =>
    Promise.all(Array.from({ length: count }, (_, n) => sealInline(store, from + n, small)));
  await sealMany(1, 4000);
  const { countAfter } = index;
  /** How many slices of ten rows may be counted. */
  let allowed = 0;
  index.countAfter = (after, limit) => {
    if (allowed-- > 0) return countAfter.call(index, after, Math.min(limit, 10));
    return { totals: { chunkCount: 0, sealedBytes: 0, trashBytes: 0 }, last: after };
  };
  const auditing = Promise.all([store.audit(true), store.audit(true)]);
  const { transaction } = index;
  for (let changes = 0; changes < 10; changes++) {
    allowed = 35;
    await until(() => allowed <= 0);
    const upTo = 350 * (changes + 1);
    // Among what was counted, beyond it, and new ones.
    await Promise.all([store.trash([1 + changes, upTo, upTo + 1, 4000 - changes], 1), sealMany(5000 + changes, 1)]);
    index.transaction = (durable, change) =>
      transaction.call(index, durable, () => {
        change();
        throw Object.assign(new Error("disk I/O error"), { code: "EAGAIN" });
      });
    await store.quarantine(100 + changes, "the test says so").catch(() => {});
    index.transaction = transaction;
    disk.failure = null;
  }
  index.countAfter = countAfter;
  await auditing;
  await store.audit(true);
  await store.close();
});

test("totals are counted again when a start has found rows and files at odds", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await fill(first);
  first.index.transaction(true, () => first.index.setState(1, "sealed", 0)); // its file is in the trash
  first.index.close();
  const second = await openStore(folder.path);
  expect(second.found.moved).toBe(1);
  expect(second.store.totals).toMatchObject(FILLED);
  await second.store.audit(true);
  await second.store.close();
});

test("totals stay right when a transaction fails, and the next one writes them anew", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  await sealInline(store, 1, small);
  using failing = spyOn(index, "put").mockImplementationOnce(() => {
    throw Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_WRITE" });
  });
  expect(await sealInline(store, 2, small).catch(({ code }) => code)).toBe("READ_ONLY");
  failing.mockRestore();
  expect(index.storedTotals()).toEqual({ chunkCount: 1, sealedBytes: 500, trashBytes: 0 });
  await store.trash([1], 1).catch(() => {}); // refused while the disk counts as failed
  await store.audit(true);
  await store.close();
});

test("an index of the program before is opened as it is, and its totals are counted once", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await fill(first);
  await first.store.close();
  const old = new Database(first.index.path);
  old.run("DROP TABLE totals; PRAGMA user_version = 1");
  // As the program before made it.
  old.run("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; PRAGMA page_size = 8192");
  old.run("VACUUM");
  old.close();
  using count = spyOn(ChunkIndex.prototype, "countTotals");
  for (const times of [1, 1]) {
    const { store, index } = await openStore(folder.path);
    expect(count).toHaveBeenCalledTimes(times);
    expect(store.totals).toMatchObject(FILLED);
    expect(await read(store, 5)).toEqual(small);
    expect(index.isLoose).toBeFalse();
    index.transaction(false, () => index.shrink());
    await store.close();
  }
  const kept = new Database(first.index.path);
  expect(kept.query("PRAGMA page_size").get()).toEqual({ page_size: 8192 });
  kept.close();
});

test("a chunk of 4 KiB takes at most 5 KB of the index; what deleted ones took goes back to the file system, a bit at a time", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path, { inlineChunkBytes: 65_536 });
  const chunkIds = Array.from({ length: 2000 }, (_, n) => n + 1);
  await Promise.all(chunkIds.map((chunkId) => sealInline(first.store, chunkId, page)));
  await first.store.close();
  const full = statSync(first.index.path).size;
  expect(full / chunkIds.length).toBeLessThan(5000);
  const { store, index } = await openStore(folder.path);
  expect(index.isLoose).toBeFalse();
  await store.trash(chunkIds.slice(0, 1800), 1);
  await store.sweep(0, () => false);
  let calls = 0;
  while (index.isLoose) {
    await store.shrinkIndex();
    calls++;
  }
  expect(calls).toBeGreaterThan(4);
  expect(await read(store, 1999)).toEqual(page);
  await store.audit(true);
  await store.close();
  expect(statSync(index.path).size).toBeLessThan(full / 4);
});

/** How many of 40 chunks of 64 KiB that come at once each commit brings, if every flush takes that long. */
async function commitsOf(ms: number): Promise<number[]> {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path, { inlineChunkBytes: 65_536 });
  const bytes = randomBytes(65_536);
  const put = spyOn(index, "put");
  const perCommit: number[] = [];
  let now = 0;
  using _ = spyOn(performance, "now").mockImplementation(() => now);
  const { flush } = index.log;
  let done = 0;
  index.log.flush = async () => {
    await flush.call(index.log);
    perCommit.push(put.mock.calls.length - done);
    done = put.mock.calls.length;
    now += ms;
  };
  await Promise.all(Array.from({ length: 40 }, (_, n) => sealInline(store, n + 1, bytes)));
  expect(store.totals.chunkCount).toBe(40);
  put.mockRestore();
  await store.close();
  return perCommit;
}

test("no commit brings more bytes of chunks than a block, unless the one before has shown that the disk is quick", async () => {
  expect(await commitsOf(21)).toEqual([8, 8, 8, 8, 8]);
  expect(await commitsOf(20)).toEqual([8, 16, 16]);
});
