import { Database } from "bun:sqlite";
import { describe, expect, spyOn, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ExitCode, StartRefused } from "../../actors/node/lifecycle.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { DirectorySync } from "../../actors/worker/store/shelves/directory-sync.ts";
import { ChunkIndex } from "../../databases/chunk-index.ts";
import { codeThrownBy } from "../support/codes.ts";
import { flipByte, openStore, put, read, write } from "./open-store.ts";
import { BLOCK, blocksOf, crc32Of, randomBytes, startTestWorker, temporaryFolder, until } from "./support.ts";

const content = randomBytes(3 * BLOCK + 100);

test("sealed chunks outlive the process, unsealed ones do not, and what they used is free again", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await put(first.store, 1, content);
  write(first.store, 2, content);
  first.index.close(); // as after a crash: nothing was told to stop
  const second = await openStore(folder.path);
  expect(second.found).toMatchObject({ partsDiscarded: 1, adopted: 0, missing: 0 });
  expect(await read(second.store, 1)).toEqual(content);
  expect(second.store.describe(2)).toBeNull();
  expect(readdirSync(join(folder.path, "parts"))).toEqual([]);
  expect(second.store.usedBytes).toBe(content.length);
  await second.store.close();
});

test("the index is made again from the chunk files", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  const one = await put(first.store, 1, content);
  await put(first.store, 2, content);
  await first.store.trash([2], 1);
  await first.store.close();
  rmSync(first.index.path);
  const second = await openStore(folder.path);
  expect(second.found).toMatchObject({ adopted: 2, damaged: 0 });
  expect(second.store.holds(one)).toBeTrue();
  expect(second.store.describe(1)).toMatchObject({ state: "sealed", verifiedAt: null });
  expect(second.store.describe(2)).toMatchObject({ state: "trash" });
  expect(await second.store.verify(1, one)).toBe("good");
  expect(second.store.describe(1)?.verifiedAt).toBeGreaterThan(0);
  await second.store.close();
});

test("a file that its process did not live to index is adopted after its name was flushed", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await put(first.store, 1, content);
  await first.store.close();
  rmSync(first.index.path);
  const flushed = spyOn(DirectorySync.prototype, "sync");
  const second = await openStore(folder.path);
  expect(second.found.adopted).toBe(1);
  expect(flushed.mock.calls.flat()).toContain(dirname(second.store.folders.file(1, "sealed")));
  flushed.mockRestore();
  await second.store.close();
});

test("the names of the folders themselves are flushed before a store takes its first chunk", async () => {
  using folder = temporaryFolder();
  const flushed = spyOn(DirectorySync.prototype, "sync");
  const { store } = await openStore(folder.path);
  expect(flushed.mock.calls.flat()).toEqual([dirname(folder.path), folder.path, join(folder.path, "chunks")]);
  flushed.mockRestore();
  await store.close();
});

test("a copy is acknowledged only when the order that it was made by is durable, so that older orders to trash it are refused", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  const flush = spyOn(index.log, "flush");
  for (const [n, bytes] of blocksOf(content).entries()) store.writeBlock(1, n, BLOCK, bytes, crc32Of(bytes), 200);
  const crc32 = crc32OfBlocks(blocksOf(content).map(crc32Of), content.length, BLOCK);
  await store.seal({ chunkId: 1, lengthBytes: content.length, crc32 }, BLOCK);
  expect(flush).toHaveBeenCalledTimes(1);
  await put(store, 2, content);
  expect(flush).toHaveBeenCalledTimes(1);
  await store.trash([1], 100);
  expect(store.describe(1)).toMatchObject({ state: "sealed" });
  await store.close();
});

test("an index that is not a database is put aside, and the files are adopted", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await put(first.store, 1, content);
  await first.store.close();
  writeFileSync(first.index.path, "this is no database, whatever its name says".repeat(100));
  const second = await openStore(folder.path);
  expect(second.index.setAside).toContain("damaged");
  expect(second.found.adopted).toBe(1);
  await second.store.close();
});

test("a file with a damaged trailer and no row is quarantined and reported", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await put(first.store, 1, content);
  const path = first.store.folders.file(1, "sealed");
  await first.store.close();
  rmSync(first.index.path);
  flipByte(path, content.length + 4);
  const second = await openStore(folder.path);
  expect(second.found).toMatchObject({ adopted: 0, damaged: 1 });
  expect(existsSync(second.store.folders.file(1, "quarantined"))).toBeTrue();
  expect(second.index.unreported(10)).toEqual([{ chunkId: 1, state: "corrupt" }]);
  await second.store.close();
});

test("a row whose file is gone is reported missing until the leader knows", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await put(first.store, 1, content);
  await first.store.close();
  rmSync(first.store.folders.file(1, "sealed"));
  const second = await openStore(folder.path);
  expect(second.found.missing).toBe(1);
  expect(second.index.unreported(10)).toEqual([{ chunkId: 1, state: "missing" }]);
  second.index.transaction(true, () => second.index.acknowledge(1));
  expect(second.index.unreported(10)).toEqual([]);
  expect(second.store.totals.chunkCount).toBe(0);
  await second.store.close();
});

test("62b. a file that lies in the trash is trash, whatever its row says", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  await put(first.store, 1, content);
  await first.store.trash([1], 1);
  first.index.transaction(true, () => first.index.setState(1, "sealed", 0)); // the row's change was lost in the crash
  first.index.close();
  const second = await openStore(folder.path);
  expect(second.found.moved).toBe(1);
  expect(second.store.describe(1)?.state).toBe("trash");
  expect(await read(second.store, 1)).toEqual(content);
  await second.store.close();
});

for (const [what, offset] of [
  ["data", 5000],
  ["block checksums", content.length + 2],
  ["footer", content.length + 16 + 20],
] as const)
  test(`a flipped byte in the ${what} of a chunk file is found, and the copy is quarantined`, async () => {
    using folder = temporaryFolder();
    const { store, index } = await openStore(folder.path);
    const expected = await put(store, 1, content);
    flipByte(store.folders.file(1, "sealed"), offset);
    expect(await store.verify(1, expected)).toBe("corrupt");
    expect(index.unreported(10)).toEqual([{ chunkId: 1, state: "corrupt" }]);
    expect(codeThrownBy(() => store.readBlocks(1, 0, 1))).toBe("CHUNK_CORRUPT");
    expect(existsSync(store.folders.file(1, "quarantined"))).toBeTrue();
    expect(store.totals).toMatchObject({ chunkCount: 0, sealedBytes: 0, trashBytes: content.length });
    await store.close();
  });

describe("a copy that cannot be read", () => {
  const failing = () => {
    const disk = { fails: false };
    const openFile = async (path: string) => {
      if (disk.fails) throw Object.assign(new Error("input/output error"), { code: "EIO" });
      return open(path, "r");
    };
    return { disk, openFile };
  };

  test("52. a copy that cannot be read by an error of the disk goes to quarantine, not away, and is a copy again when the disk is well", async () => {
    using folder = temporaryFolder();
    let now = 1_000_000;
    const { disk, openFile } = failing();
    const { store, index } = await openStore(folder.path, { now: () => now, openFile });
    const expected = await put(store, 1, content);
    disk.fails = true;
    expect(await store.verify(1, expected)).toBe("corrupt");
    expect(index.unreported(10)).toEqual([{ chunkId: 1, state: "corrupt" }]);
    expect(existsSync(store.folders.file(1, "quarantined"))).toBe(true);
    now += 60_000;
    expect(await store.recheck(60_000)).toBe(0);
    expect(store.describe(1)?.state).toBe("quarantined");
    disk.fails = false;
    expect(await store.recheck(60_000)).toBe(0); // not yet: it has just been read
    now += 60_000;
    expect(await store.recheck(60_000)).toBe(1);
    expect(await read(store, 1)).toEqual(content);
    expect(store.holds(expected)).toBe(true);
    expect(index.unreported(10)).toEqual([]);
    expect(store.totals).toMatchObject({ chunkCount: 1, sealedBytes: content.length, trashBytes: 0 });
    await store.close();
    const again = await openStore(folder.path);
    expect(again.store.describe(1)?.state).toBe("sealed");
    await again.store.close();
  });

  test("52b. a copy whose bytes changed stays in quarantine, and is read again ever more rarely", async () => {
    using folder = temporaryFolder();
    let now = 1_000_000;
    let opened = 0;
    const openFile = (path: string) => {
      opened++;
      return open(path, "r");
    };
    const { store } = await openStore(folder.path, { now: () => now, openFile });
    const expected = await put(store, 1, content);
    flipByte(store.folders.file(1, "sealed"), 5000);
    expect(await store.verify(1, expected)).toBe("corrupt");
    opened = 0;
    for (let minute = 0; minute < 64; minute++) {
      now += 60_000;
      expect(await store.recheck(60_000)).toBe(0);
    }
    expect(opened).toBe(7);
    expect(store.describe(1)?.state).toBe("quarantined");
    await store.close();
  });

  test("52c. a small copy within the index that could not be read is read again, too", async () => {
    using folder = temporaryFolder();
    let now = 1_000_000;
    const { store } = await openStore(folder.path, { now: () => now });
    const bytes = randomBytes(100);
    const expected = { chunkId: 1, lengthBytes: 100, crc32: crc32Of(bytes) };
    await store.sealWhole(expected, BLOCK, bytes);
    await store.quarantine(1, "the test says so");
    now += 60_000;
    expect(await store.recheck(60_000)).toBe(1);
    expect(await read(store, 1)).toEqual(bytes);
    expect(store.totals).toMatchObject({ chunkCount: 1, trashBytes: 0 });
    await store.close();
  });

  test("52d. a copy in quarantine that a new one has replaced is not put back in its place", async () => {
    using folder = temporaryFolder();
    let now = 1_000_000;
    const { disk, openFile } = failing();
    const { store } = await openStore(folder.path, { now: () => now, openFile });
    const expected = await put(store, 1, content);
    disk.fails = true;
    await store.verify(1, expected);
    disk.fails = false;
    now += 60_000;
    for (const [n, bytes] of blocksOf(content).entries()) store.writeBlock(1, n, BLOCK, bytes, crc32Of(bytes), 7);
    expect(await store.recheck(60_000)).toBe(0);
    await store.seal(expected, BLOCK);
    expect(await read(store, 1)).toEqual(content);
    now += 600_000;
    expect(await store.recheck(60_000)).toBe(0);
    expect(store.totals).toMatchObject({ chunkCount: 1, trashBytes: 0 });
    await store.close();
  });
});

test("a whole copy of something else than was committed is corrupt", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const expected = await put(store, 1, content);
  expect(await store.verify(1, { ...expected, crc32: 1 })).toBe("corrupt");
  await store.close();
});

test("a reader who comes to a file that was cut short or is gone is refused, and the leader hears of it", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  await put(store, 1, content);
  await put(store, 2, content);
  truncateSync(store.folders.file(1, "sealed"), 100);
  rmSync(store.folders.file(2, "sealed"));
  expect(codeThrownBy(() => store.readBlocks(1, 0, 1))).toBe("CHUNK_CORRUPT");
  expect(codeThrownBy(() => store.readBlocks(2, 0, 1))).toBe("NO_SUCH_CHUNK");
  await until(() => index.unreported(10).length === 2);
  expect(index.unreported(10)).toEqual([
    { chunkId: 1, state: "corrupt" },
    { chunkId: 2, state: "missing" },
  ]);
  await store.close();
});

test("40d. a worker takes no more than its capacity, and takes again what the sweep frees", async () => {
  using folder = temporaryFolder();
  const { store, disk } = await openStore(folder.path, { capacityBytes: 5 * BLOCK });
  await put(store, 1, content);
  expect(codeThrownBy(() => write(store, 2, content))).toBe("NO_SPACE");
  await store.abort(2);
  expect(disk.space(store.usedBytes)).toMatchObject({
    capacityBytes: 5 * BLOCK,
    freeBytes: 5 * BLOCK - content.length,
  });
  await store.trash([1], 1);
  await store.sweep(0, () => false);
  await put(store, 3, content);
  await store.close();
});

test("blocks that come within a minute after their chunk was given up do not open it again", async () => {
  using folder = temporaryFolder();
  let now = 1_000_000;
  const { store } = await openStore(folder.path, { now: () => now });
  write(store, 1, content);
  expect(await store.abort(1)).toBe(true);
  expect(await store.abort(2)).toBe(false);
  const small = randomBytes(100);
  const tiny = { chunkId: 2, lengthBytes: 100, crc32: crc32Of(small) };
  expect(codeThrownBy(() => write(store, 1, content))).toBe("CHUNK_SEALED");
  expect(store.sealWhole(tiny, BLOCK, small)).rejects.toMatchObject({ code: "CHUNK_SEALED" });
  expect(store.totals.openChunks).toBe(0);
  await store.sealWhole(tiny, BLOCK, small, 7);
  now += 60_000;
  await put(store, 1, content);
  await store.close();
});

test("the trash is emptied when its time has come, and earlier, oldest first, when space runs short", async () => {
  using folder = temporaryFolder();
  let now = 1_000_000;
  const { store, disk } = await openStore(folder.path, { capacityBytes: 10 * BLOCK, now: () => now });
  for (const chunkId of [1, 2]) await put(store, chunkId, content);
  const small = randomBytes(100);
  await store.sealWhole({ chunkId: 3, lengthBytes: 100, crc32: crc32Of(small) }, BLOCK, small);
  for (const chunkId of [2, 1, 3]) {
    await store.trash([chunkId], 1);
    now += 1000;
  }
  expect(await store.sweep(60_000, () => disk.space(store.usedBytes).freeBytes < 5 * BLOCK)).toBe(1);
  expect(store.describe(2)).toBeNull();
  expect(await read(store, 1)).toEqual(content);
  expect(await read(store, 3)).toEqual(small);
  now += 60_000;
  expect(await store.sweep(60_000, () => false)).toBe(2);
  expect(store.usedBytes).toBe(0);
  expect(readdirSync(join(folder.path, "trash"))).toEqual([]);
  await store.close();
});

test("trash that could not be destroyed counts until it is, and is subtracted once", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  await put(store, 1, content);
  await store.trash([1], 1);
  const { transaction } = index;
  index.transaction = () => {
    throw Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_WRITE" });
  };
  for (let tries = 0; tries < 3; tries++)
    expect(await store.sweep(0, () => false).catch((error) => error.code)).toBe("READ_ONLY");
  expect(store.totals.trashBytes).toBe(content.length);
  index.transaction = transaction;
  expect(await store.sweep(0, () => false)).toBe(1);
  expect(store.totals.trashBytes).toBe(0);
  await store.close();
});

test("63. an order to trash that is late, after the order to copy the chunk here again, changes nothing; twice is once", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const bytes = randomBytes(BLOCK);
  const copied = { chunkId: 1, lengthBytes: BLOCK, crc32: crc32Of(bytes) };
  await store.sealWhole(copied, BLOCK, bytes, 50);
  expect(await store.trash([1], 49)).toEqual({ trashed: [], absent: [] });
  expect(store.holds(copied)).toBeTrue();
  expect(await store.trash([1, 9], 50)).toEqual({ trashed: [1], absent: [9] });
  expect(await store.trash([1], 50)).toEqual({ trashed: [1], absent: [] });
  await store.close();
});

test("63b. an order to trash that comes twice at once moves each chunk once, and loses sight of none", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  const chunkIds = [1, 2, 3, 4, 5];
  for (const chunkId of chunkIds) await put(store, chunkId, content);
  const answers = await Promise.all([store.trash(chunkIds, 1), store.trash(chunkIds, 1)]);
  for (const { trashed, absent } of answers) expect([trashed, absent]).toEqual([chunkIds, []]);
  expect(chunkIds.map((chunkId) => store.describe(chunkId)?.state)).toEqual(chunkIds.map(() => "trash"));
  expect(index.unreported(10)).toEqual([]);
  expect(store.totals).toMatchObject({ chunkCount: 0, trashBytes: 5 * content.length });
  expect(await store.sweep(0, () => false)).toBe(5);
  expect(readdirSync(join(folder.path, "trash"))).toEqual([]);
  await store.close();
});

test("59d. a chunk can be read and checked at every moment of its way to the trash", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  await put(store, 1, content);
  let isMoved = false;
  const moving = store.trash([1], 1).then(() => {
    isMoved = true;
  });
  const checks: Promise<unknown>[] = [];
  while (!isMoved) {
    expect(store.readBlocks(1, 0, 1).lengthBytes).toBe(BLOCK);
    checks.push(store.verify(1, null));
    await new Promise(setImmediate);
  }
  await Promise.all([moving, ...checks]);
  expect(checks.length).toBeGreaterThan(1);
  expect(store.describe(1)?.state).toBe("trash");
  expect(index.unreported(10)).toEqual([]);
  expect(await read(store, 1)).toEqual(content);
  await store.close();
});

test("a copy takes the place of one in trash or quarantine, a gateway's late block does not", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const bytes = randomBytes(BLOCK);
  const expected = { chunkId: 1, lengthBytes: BLOCK, crc32: crc32Of(bytes) };
  await store.sealWhole(expected, BLOCK, bytes);
  await store.trash([1], 1);
  expect(codeThrownBy(() => store.writeBlock(1, 0, BLOCK, bytes, expected.crc32))).toBe("CHUNK_SEALED");
  await store.sealWhole(expected, BLOCK, bytes, 7);
  expect(store.describe(1)?.state).toBe("sealed");
  expect(readdirSync(join(folder.path, "trash"))).toEqual([]);
  expect(store.totals).toMatchObject({ chunkCount: 1, sealedBytes: BLOCK, trashBytes: 0 });
  await store.close();
});

test("inline chunks that arrive together share their commits", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const bytes = randomBytes(500);
  const before = store.commits.commits;
  await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      store.sealWhole({ chunkId: n + 1, lengthBytes: 500, crc32: crc32Of(bytes) }, BLOCK, bytes),
    ),
  );
  expect(store.commits.commits - before).toBe(1);
  expect(store.totals).toMatchObject({ chunkCount: 300, sealedBytes: 150_000 });
  expect(await read(store, 300)).toEqual(bytes);
  await store.close();
});

test("one refused change of a shared commit leaves the others alone", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const [bytes, other] = [randomBytes(500), randomBytes(500)];
  const outcomes = await Promise.allSettled([
    store.sealWhole({ chunkId: 1, lengthBytes: 500, crc32: crc32Of(bytes) }, BLOCK, bytes),
    store.sealWhole({ chunkId: 1, lengthBytes: 500, crc32: crc32Of(other) }, BLOCK, other),
    store.sealWhole({ chunkId: 2, lengthBytes: 500, crc32: crc32Of(other) }, BLOCK, other),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect((outcomes[1] as PromiseRejectedResult).reason).toMatchObject({ code: "CHUNK_SEALED" });
  expect(await read(store, 1)).toEqual(bytes);
  await store.close();
});

test("an inline chunk whose bytes changed is found and quarantined", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  const bytes = randomBytes(500);
  await store.sealWhole({ chunkId: 1, lengthBytes: 500, crc32: crc32Of(bytes) }, BLOCK, bytes);
  const row = index.find(1);
  if (!row) throw new Error("no row");
  bytes[7] = (bytes[7] as number) ^ 1;
  index.transaction(true, () => index.put(row, bytes));
  expect(await store.verify(1, null)).toBe("corrupt");
  expect(codeThrownBy(() => store.readBlocks(1, 0, 1))).toBe("CHUNK_CORRUPT");
  await store.close();
});

test("an index that a newer program wrote is refused, and stays as it is", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  await store.close();
  const written = new Database(index.path);
  written.run("PRAGMA user_version = 99");
  written.close();
  const before = readFileSync(index.path);
  expect(() => new ChunkIndex(folder.path)).toThrow("Use a newer program");
  const refusal = await startTestWorker(folder.path).catch((error) => error);
  expect(refusal).toBeInstanceOf(StartRefused);
  expect(refusal.exitCode).toBe(ExitCode.dataDirectoryRefused);
  expect(readFileSync(index.path)).toEqual(before);
});

test("a directory is one worker's only", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  expect(() => new ChunkIndex(folder.path)).toThrow("in use by another worker");
  await store.close();
});
