/** Commits of the index are flushed by another thread: who waits for that, and what a flush that fails leaves. */
import { expect, spyOn, test } from "bun:test";
import { copyFileSync, existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { reconcilePage } from "../../actors/worker/leader/reconcile.ts";
import { ChunkStore } from "../../actors/worker/store/chunk-store.ts";
import { Disk } from "../../actors/worker/store/disk.ts";
import { ChunkIndex } from "../../databases/chunk-index.ts";
import { wholeFrames } from "../../databases/log-file.ts";
import { codeOf } from "../support/codes.ts";
import { flipByte, openStore, put, read, write } from "./open-store.ts";
import { BLOCK, crc32Of, randomBytes, silent, temporaryFolder, until } from "./support.ts";

const MEGABYTE = randomBytes(1 << 20);
const small = randomBytes(500);
const content = randomBytes(2 * BLOCK + 100);
const expectedOf = (chunkId: number, bytes: Uint8Array = small) => ({
  chunkId,
  lengthBytes: bytes.length,
  crc32: crc32Of(bytes),
});
const sealInline = (store: ChunkStore, chunkId: number, bytes: Uint8Array = small, copyDecidedAt = 0) =>
  store.sealWhole(expectedOf(chunkId, bytes), BLOCK, bytes, copyDecidedAt);

/** A store whose index is flushed by `flush`. */
async function openFlushing(directory: string, flush: (call: number) => Promise<void>) {
  let calls = 0;
  const index = new ChunkIndex(directory, () => flush(++calls));
  const disk = new Disk({ directory, reservedBytes: 0 });
  const store = new ChunkStore(index, { directory, inlineChunkBytes: 1 << 20, disk, log: silent });
  await store.recover();
  return { store, index, disk, flushes: () => calls };
}

/** The same, whose flushes wait until one after the other is let through. */
async function openGated(directory: string) {
  const gates: PromiseWithResolvers<void>[] = [];
  const opened = await openFlushing(directory, () => {
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    return gate.promise;
  });
  const begun = (flush: number) => until(() => gates.length >= flush);
  return { ...opened, gates, begun };
}

/** Says of promises whether they have settled, after a while in which they could have. */
async function settledAmong(promises: Promise<unknown>[]): Promise<string[]> {
  await Bun.sleep(20);
  return promises.map((promise) => Bun.peek.status(promise));
}

const failing = (code: string) => Object.assign(new Error(code), { code });
/** Fails once. */
const failOnce = (code: string) => async (call: number) => {
  if (call === 1) throw failing(code);
};

test("a small chunk is acknowledged when its commit is flushed; until then the event loop is free, and what comes shares the next", async () => {
  using folder = temporaryFolder();
  const { store, index, gates, begun } = await openGated(folder.path);
  const first = sealInline(store, 1);
  await begun(1);
  expect(index.find(1)?.state).toBe("sealed");
  expect(await read(store, 1)).toEqual(small);
  const before = store.commits.commits;
  const others = [2, 3, 4].map((chunkId) => sealInline(store, chunkId));
  expect(await settledAmong([first, ...others])).toEqual(["pending", "pending", "pending", "pending"]);
  expect(store.commits.commits).toBe(before);
  gates[0]?.resolve();
  await first;
  await begun(2);
  expect(store.commits.commits).toBe(before + 1);
  gates[1]?.resolve();
  await Promise.all(others);
  await store.close();
});

test("nobody is told that a chunk is here for good by a row that is not flushed yet", async () => {
  using folder = temporaryFolder();
  const { store, index, gates, begun } = await openGated(folder.path);
  const first = sealInline(store, 1);
  await begun(1);
  const told: unknown[] = [];
  const ask = async (page: unknown) => {
    told.push(page);
    return { match: true, trash: [], decidedAt: 1, adopted: 0, missing: 0 };
  };
  const relying = [
    store.seal(expectedOf(1), BLOCK),
    sealInline(store, 1),
    store.orderedAgain(1, 7),
    store.verify(1, expectedOf(1)),
    reconcilePage({ index, settled: () => store.settled(), ask, trash: async () => {} }, 0),
  ];
  expect(await settledAmong([first, ...relying])).toEqual(Array(6).fill("pending"));
  expect(told).toEqual([]);
  gates[0]?.resolve();
  await begun(2);
  gates[1]?.resolve();
  await Promise.all([first, ...relying]);
  expect(told).toHaveLength(1);
  await store.close();
});

test("a change that need not survive a loss of power is answered before the flush of others in its commit", async () => {
  using folder = temporaryFolder();
  const { store, gates, begun } = await openGated(folder.path);
  const durable = sealInline(store, 1);
  const file = put(store, 2, content); // the file was flushed, its row need not be
  await begun(1);
  gates[0]?.resolve();
  await Promise.all([durable, file]);
  expect(gates).toHaveLength(1);
  await store.close();
});

test("a stop waits for the flush under way, and commits what came meanwhile", async () => {
  using folder = temporaryFolder();
  const { store, gates, begun } = await openGated(folder.path);
  const first = sealInline(store, 1);
  await begun(1);
  const second = sealInline(store, 2);
  const closing = store.close();
  expect(await settledAmong([first, second, closing])).toEqual(["pending", "pending", "pending"]);
  gates[0]?.resolve();
  await begun(2);
  gates[1]?.resolve();
  await Promise.all([first, second, closing]);
  const again = await openStore(folder.path);
  expect(again.store.totals.chunkCount).toBe(2);
  await again.store.close();
});

for (const [code, refusal] of [
  ["EIO", "READ_ONLY"],
  ["ENOSPC", "NO_SPACE"],
] as const)
  test(`after a flush that fails with ${code} nothing is acknowledged, others are read, and all goes on once the log is written anew`, async () => {
    using folder = temporaryFolder();
    const { store, index, disk } = await openFlushing(folder.path, failOnce(code));
    await put(store, 1, content);
    const refused = [2, 3].map((chunkId) => codeOf(sealInline(store, chunkId)));
    expect(await Promise.all(refused)).toEqual([refusal, refusal]);
    expect(disk.space(0).condition).toBe("readOnly");
    expect(await disk.probe()).toBeFalse();
    expect(await codeOf(store.seal(expectedOf(2), BLOCK))).toBe("READ_ONLY");
    expect(await codeOf(sealInline(store, 2))).toBe("READ_ONLY");
    expect(await codeOf(store.settled())).toBe("READ_ONLY");
    expect(() => index.transaction(true, () => {})).toThrow("could not be flushed");
    expect(await read(store, 1)).toEqual(content);
    expect(await store.mendIndex()).toBeTrue();
    expect(await disk.probe()).toBeTrue();
    await store.seal(expectedOf(2), BLOCK);
    await sealInline(store, 4);
    expect(store.totals).toMatchObject({ chunkCount: 4, sealedBytes: content.length + 3 * small.length });
    await store.audit(true);
    await store.close();
  });

test("a copy whose row could not be flushed is refused, and keeps its file: the row is there all the same", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openFlushing(folder.path, failOnce("EIO"));
  const expected = write(store, 1, content);
  for (let n = 0; n < 3; n++) {
    const bytes = content.subarray(n * BLOCK, (n + 1) * BLOCK);
    await store.writeBlock(1, n, BLOCK, bytes, crc32Of(bytes), 7);
  }
  expect(await codeOf(store.seal(expected, BLOCK))).toBe("READ_ONLY");
  expect(index.find(1)).toMatchObject({ state: "sealed", copyDecidedAt: 7 });
  expect(existsSync(store.folders.file(1, "sealed"))).toBeTrue();
  expect(await store.mendIndex()).toBeTrue();
  await store.seal(expected, BLOCK);
  expect(await store.verify(1, expected)).toBe("good");
  await store.close();
});

test("a log that could not be copied for want of space is copied when there is some, without a restart", async () => {
  using folder = temporaryFolder();
  const { store, index, disk } = await openStore(folder.path, { inlineChunkBytes: 1 << 20 });
  const { checkpoint } = index.log;
  const failed = Promise.withResolvers<void>();
  index.log.checkpoint = async () => {
    index.log.checkpoint = checkpoint;
    failed.resolve();
    throw failing("SQLITE_FULL");
  };
  await Promise.all(Array.from({ length: 17 }, (_, n) => sealInline(store, n + 1, MEGABYTE)));
  await failed.promise;
  await store.commits.quiet();
  expect(await codeOf(sealInline(store, 100))).toBe("READ_ONLY");
  expect(await store.mendIndex()).toBeTrue();
  expect(await disk.probe()).toBeTrue();
  await sealInline(store, 100);
  await store.close();
});

test("a log of which the page cache has lost something is not written anew: the worker takes nothing more", async () => {
  using folder = temporaryFolder();
  const { store, index, disk } = await openFlushing(folder.path, failOnce("EIO"));
  expect(await codeOf(sealInline(store, 1))).toBe("READ_ONLY");
  const log = `${index.path}-wal`;
  flipByte(log, statSync(log).size - 100);
  expect(await store.mendIndex()).toBeFalse();
  expect(disk.failure).toContain("start the worker again");
  expect(await disk.probe()).toBeFalse();
  expect(await codeOf(sealInline(store, 2))).toBe("READ_ONLY");
  await store.close();
});

test("a start writes the log anew that a process before left: its last flush may have failed", async () => {
  using folder = temporaryFolder();
  using copy = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  await sealInline(store, 1);
  for (const name of ["chunk-index.db", "chunk-index.db-wal"])
    copyFileSync(join(folder.path, name), join(copy.path, name));
  const log = join(copy.path, "chunk-index.db-wal");
  const [before, writtenAt] = [readFileSync(log), statSync(log).mtimeMs];
  await Bun.sleep(20);
  const again = await openStore(copy.path);
  expect(readFileSync(log).subarray(0, before.length)).toEqual(before);
  expect(statSync(log).mtimeMs).toBeGreaterThan(writtenAt);
  expect(await read(again.store, 1)).toEqual(small);
  await again.store.close();
  await store.close();
  expect(existsSync(`${index.path}-wal`)).toBeFalse();
});

test("frames of a log are counted as SQLite counts them, up to the first that is not whole", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  for (let chunkId = 1; chunkId < 20; chunkId++) await sealInline(store, chunkId);
  const path = `${index.path}-wal`;
  const log = new Uint8Array(readFileSync(path));
  const frameBytes = 24 + 4096;
  const frames = (log.length - 32) / frameBytes;
  expect(frames).toBeGreaterThan(20);
  expect(wholeFrames(log)).toBe(frames);
  for (const at of [32 + 5 * frameBytes, 32 + 5 * frameBytes + 20, 32 + 5 * frameBytes + 24, 32 + 6 * frameBytes - 1]) {
    const torn = log.slice();
    torn[at] = (torn[at] as number) ^ 1;
    expect(wholeFrames(torn)).toBe(5);
  }
  expect(wholeFrames(log.subarray(0, 32 + 7 * frameBytes + 10))).toBe(7);
  expect(wholeFrames(new Uint8Array(10))).toBe(0);
  await store.close();
});

test("the log of the index is copied into it in time, while others are served and no change is made", async () => {
  using folder = temporaryFolder();
  const { store, index, gates, begun } = await openGated(folder.path);
  const sealed = Array.from({ length: 17 }, (_, n) => sealInline(store, n + 1, MEGABYTE));
  const copy = spyOn(index.log, "checkpoint");
  // Commits first; the last flush is that of the database.
  for (let flush = 1; copy.mock.calls.length === 0; flush++) {
    await begun(flush);
    if (copy.mock.calls.length === 0) gates[flush - 1]?.resolve();
    await Bun.sleep(1);
  }
  await begun(gates.length);
  const late = sealInline(store, 100);
  await Bun.sleep(20);
  expect(index.find(1)?.state).toBe("sealed");
  expect(index.find(100)).toBeNull();
  let isOver = false;
  const all = Promise.all([...sealed, late]).finally(() => {
    isOver = true;
  });
  await until(() => {
    for (const gate of gates) gate.resolve();
    return isOver;
  });
  await all;
  // The database alone, without its log, has what was copied.
  using alone = temporaryFolder();
  copyFileSync(index.path, join(alone.path, "chunk-index.db"));
  const database = new ChunkIndex(alone.path);
  expect(crc32Of(database.inlineBytes(10) ?? new Uint8Array())).toBe(crc32Of(MEGABYTE));
  database.close();
  await store.close();
});

test("when the database cannot be flushed then, the worker takes nothing more, reads on, and the next start has everything", async () => {
  using folder = temporaryFolder();
  let isCopied = false;
  const { store, index, disk } = await openFlushing(folder.path, async () => {
    if (isCopied) throw failing("EIO");
  });
  const { checkpoint } = index.log;
  index.log.checkpoint = () => {
    isCopied = true;
    return checkpoint.call(index.log);
  };
  await Promise.all(Array.from({ length: 16 }, (_, n) => sealInline(store, n + 1, MEGABYTE)));
  await until(() => disk.failure !== null);
  expect(disk.failure).toContain("could not be flushed");
  expect(await store.mendIndex()).toBeFalse();
  expect(disk.failure).toContain("start the worker again");
  expect(await disk.probe()).toBeFalse();
  expect(await codeOf(sealInline(store, 100))).toBe("READ_ONLY");
  expect(() => index.transaction(true, () => {})).toThrow("could not be flushed");
  expect(crc32Of(await read(store, 16))).toBe(crc32Of(MEGABYTE));
  await store.close();
  using copy = temporaryFolder();
  for (const name of ["chunk-index.db", "chunk-index.db-wal"])
    copyFileSync(join(folder.path, name), join(copy.path, name));
  const again = await openStore(copy.path);
  expect(again.store.totals).toMatchObject({ chunkCount: 16, sealedBytes: 16 << 20 });
  for (let n = 1; n <= 16; n++) expect(await again.store.verify(n, null)).toBe("good");
  await again.store.audit(true);
  await again.store.close();
});
