/** A chunk's row follows its file, and no loop of the store keeps the event loop to itself while it does not yet. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import type { ChunkStore } from "../../actors/worker/store/chunk-store.ts";
import { scrub } from "../../actors/worker/store/scrub.ts";
import type { ChunkIndex } from "../../databases/chunk-index.ts";
import { codeOf } from "../support/codes.ts";
import { openStore, put, read, write } from "./open-store.ts";
import { BLOCK, crc32Of, randomBytes, silent, temporaryFolder } from "./support.ts";

const content = randomBytes(3 * BLOCK + 100);
const CHUNKS = Array.from({ length: 40 }, (_, n) => n + 1);
/** A scrub that looks at more rows than this before the event loop takes a turn would not let it take one again. */
const MOST_IN_ONE_TURN = 100;

/** Scrubs everything, as often as it can, until it is told to stop. */
function scrubAll(index: ChunkIndex, store: ChunkStore) {
  const stop = new AbortController();
  const seen = { inOneTurn: 0, checked: 0 };
  let isOver = false;
  let inThisTurn = 0;
  const turn = () => {
    inThisTurn = 0;
    if (!isOver) setImmediate(turn);
  };
  turn();
  const { leastRecentlyVerified } = index;
  index.leastRecentlyVerified = () => {
    seen.inOneTurn = Math.max(seen.inOneTurn, ++inThisTurn);
    if (inThisTurn > MOST_IN_ONE_TURN) stop.abort();
    return leastRecentlyVerified.call(index);
  };
  const now = () => Date.now() + 3_600_000;
  const progress = { chunksChecked: 0, bytesChecked: 0, badFound: 0 };
  const options = { intervalMs: 1, bytesPerSecond: 1 << 30, signal: stop.signal, log: silent, now };
  const done = scrub(index, store, options, progress);
  return {
    seen,
    progress,
    async end() {
      stop.abort();
      await done;
      isOver = true;
      index.leastRecentlyVerified = leastRecentlyVerified;
    },
  };
}

/** Every transaction of the index fails as on a full disk, until it is told to stop. */
function fillUp(index: ChunkIndex): () => void {
  const { transaction } = index;
  index.transaction = () => {
    throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
  };
  return () => {
    index.transaction = transaction;
  };
}

for (const [situation, isIndexLost] of [
  ["a scrub that is behind", false],
  ["a scrub of files that were found without a row", true],
] as const)
  test(`F1. ${situation} gives way to an order to trash what it is due to read`, async () => {
    using folder = temporaryFolder();
    let { store, index } = await openStore(folder.path);
    for (const chunkId of CHUNKS) await put(store, chunkId, content);
    if (isIndexLost) {
      await store.close();
      rmSync(index.path);
      ({ store, index } = await openStore(folder.path));
      expect(store.describe(1)?.verifiedAt).toBeNull();
    }
    const scrubbing = scrubAll(index, store);
    const { trashed } = await store.trash(CHUNKS, 1);
    await scrubbing.end();
    expect(scrubbing.seen.inOneTurn).toBeLessThanOrEqual(MOST_IN_ONE_TURN);
    expect(trashed).toEqual(CHUNKS);
    expect(new Set(CHUNKS.map((chunkId) => store.describe(chunkId)?.state))).toEqual(new Set(["trash"]));
    expect(scrubbing.progress.badFound).toBe(0);
    expect(index.unreported(100)).toEqual([]);
    expect(store.totals).toMatchObject({ chunkCount: 0, sealedBytes: 0, trashBytes: CHUNKS.length * content.length });
    await store.close();
  });

test("F1. a scrub that comes upon rows whose change failed after their files were moved pauses, and the rows follow", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  for (const chunkId of CHUNKS) await put(store, chunkId, content);
  const hasSpace = fillUp(index);
  expect(await codeOf(store.trash(CHUNKS, 1))).toBe("NO_SPACE");
  const scrubbing = scrubAll(index, store);
  await Bun.sleep(50);
  await scrubbing.end();
  expect(scrubbing.seen.inOneTurn).toBeLessThan(3);
  expect(store.totals).toMatchObject({ chunkCount: CHUNKS.length, trashBytes: 0 });
  hasSpace();
  expect(await store.catchUp()).toBe(CHUNKS.length);
  expect(CHUNKS.map((chunkId) => store.describe(chunkId)?.state)).toEqual(CHUNKS.map(() => "trash"));
  expect(store.totals).toMatchObject({ chunkCount: 0, sealedBytes: 0, trashBytes: CHUNKS.length * content.length });
  expect(await store.catchUp()).toBe(0);
  expect(await read(store, 1)).toEqual(content);
  await store.close();
});

for (const [place, state, reported] of [
  ["the trash", "trash", []],
  ["quarantine", "quarantined", [{ chunkId: 1, state: "corrupt" as const }]],
  ["no folder", "missing", [{ chunkId: 1, state: "missing" as const }]],
] as const)
  test(`F1. a sealed row whose file lies in ${place} is settled when it is checked`, async () => {
    using folder = temporaryFolder();
    const { store, index } = await openStore(folder.path);
    const expected = await put(store, 1, content);
    const path = store.folders.file(1, "sealed");
    if (state === "missing") rmSync(path);
    else renameSync(path, store.folders.file(1, state));
    expect(await store.verify(1, expected)).toBe("missing");
    expect(index.find(1)?.state).toBe(state);
    expect(index.leastRecentlyVerified()).toBeNull();
    expect(index.unreported(10)).toEqual([...reported]);
    expect(store.totals).toMatchObject({ chunkCount: 0, trashBytes: state === "missing" ? 0 : content.length });
    await store.close();
  });

test("F1. a move to quarantine, or back, whose row could not follow is brought to its end when the index takes changes again", async () => {
  using folder = temporaryFolder();
  let now = 1_000_000;
  const { store, index } = await openStore(folder.path, { now: () => now });
  const expected = await put(store, 1, content);
  let hasSpace = fillUp(index);
  expect(await codeOf(store.quarantine(1, "the test says so"))).toBe("NO_SPACE");
  hasSpace();
  await store.catchUp();
  expect(index.find(1)?.state).toBe("quarantined");
  now += 60_000;
  hasSpace = fillUp(index);
  expect(await codeOf(store.recheck(60_000))).toBe("NO_SPACE");
  expect(existsSync(store.folders.file(1, "sealed"))).toBeTrue();
  hasSpace();
  await store.catchUp();
  expect(existsSync(store.folders.file(1, "quarantined"))).toBeTrue();
  expect(await store.recheck(60_000)).toBe(1);
  expect(await store.verify(1, expected)).toBe("good");
  expect(store.totals).toMatchObject({ chunkCount: 1, sealedBytes: content.length, trashBytes: 0 });
  await store.close();
});

test("F1. an order to trash that fails half way lets the rows of the files follow that it has moved", async () => {
  using folder = temporaryFolder();
  const { store, disk } = await openStore(folder.path);
  for (const chunkId of [1, 2, 3]) await put(store, chunkId, content);
  mkdirSync(store.folders.file(3, "trash")); // no file can take this name
  expect(await codeOf(store.trash([1, 2, 3], 1))).toBe("READ_ONLY");
  expect([1, 2, 3].map((chunkId) => store.describe(chunkId)?.state)).toEqual(["trash", "trash", "sealed"]);
  expect(disk.failure).toContain("EISDIR");
  await store.close();
});

test("F1. what failed on a full disk is not counted, and what comes after it is", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  const small = randomBytes(100);
  const tiny = (chunkId: number) => ({ chunkId, lengthBytes: 100, crc32: crc32Of(small) });
  await put(store, 1, content);
  const hasSpace = fillUp(index);
  const refused = [
    store.sealWhole(tiny(2), BLOCK, small),
    store.trash([1], 1),
    store.seal(write(store, 3, content), BLOCK),
  ];
  expect(await Promise.all(refused.map(codeOf))).toEqual(["NO_SPACE", "NO_SPACE", "NO_SPACE"]);
  expect(store.totals).toMatchObject({ chunkCount: 1, sealedBytes: content.length, trashBytes: 0, openBytes: 0 });
  hasSpace();
  await store.catchUp();
  await store.sealWhole(tiny(2), BLOCK, small);
  expect(store.totals).toMatchObject({ chunkCount: 1, sealedBytes: 100, trashBytes: content.length });
  await store.audit(true);
  await store.close();
});

test("F1. a copy that was found bad and could not be moved is the first to be read back after a restart", async () => {
  using folder = temporaryFolder();
  const first = await openStore(folder.path);
  for (const chunkId of [1, 2]) await put(first.store, chunkId, content);
  first.index.transaction(true, () => first.index.setState(2, "quarantined", 0));
  await first.store.close();
  const second = await openStore(folder.path);
  expect(second.found.moved).toBe(1);
  expect(second.index.leastRecentlyVerified()).toMatchObject({ chunkId: 2, verifiedAt: 0 });
  await second.store.close();
});
