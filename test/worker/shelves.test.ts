/** One suite for every shelf: what a store promises of a chunk does not depend on what the chunk's bytes lie in. */
import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { ShelfName } from "../../databases/chunk-index.ts";
import { codeThrownBy } from "../support/codes.ts";
import { openStore, read } from "./open-store.ts";
import { BLOCK, crc32Of, randomBytes, temporaryFolder } from "./support.ts";

const bytes = randomBytes(500);
const chunk = { chunkId: 1, lengthBytes: bytes.length, crc32: crc32Of(bytes) };
/** Chunks up to this length are inline. */
const INLINE_BYTES = { file: 0, inline: 1024 } as const;
const SHELVES = ["file", "inline"] as const;
const OTHER = { file: "inline", inline: "file" } as const;

const openOn = (directory: string, shelf: ShelfName, now?: () => number) =>
  openStore(directory, { inlineChunkBytes: INLINE_BYTES[shelf], ...(now && { now }) });

/** What is left of chunk 1 on each shelf. */
function leftovers(directory: string, index: { inlineBytes(chunkId: number): unknown }): ShelfName[] {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".chunk"));
  return [...files.map(() => "file" as const), ...(index.inlineBytes(1) ? ["inline" as const] : [])];
}

for (const shelf of SHELVES)
  describe(`a chunk whose shelf is "${shelf}"`, () => {
    test("lies there alone, is whole, and is read from any block on, also after a restart", async () => {
      using folder = temporaryFolder();
      const first = await openOn(folder.path, shelf);
      await first.store.sealWhole(chunk, BLOCK, bytes);
      await first.store.close();
      const { store, index } = await openOn(folder.path, OTHER[shelf]);
      expect(index.find(1)).toMatchObject({ shelf, state: "sealed" });
      expect(leftovers(folder.path, index)).toEqual([shelf]);
      expect(store.holds(chunk)).toBeTrue();
      expect(await store.verify(1, chunk)).toBe("good");
      expect(await read(store, 1)).toEqual(bytes);
      expect(codeThrownBy(() => store.readBlocks(1, 1, 1))).toBe("INVALID_PARAMETER");
      await store.close();
    });

    test("is read in the trash, until the sweep leaves nothing of it", async () => {
      using folder = temporaryFolder();
      const { store, index } = await openOn(folder.path, shelf);
      await store.sealWhole(chunk, BLOCK, bytes);
      expect(await store.trash([1], 1)).toEqual({ trashed: [1], absent: [] });
      expect(store.describe(1)?.state).toBe("trash");
      expect(await read(store, 1)).toEqual(bytes);
      expect(await store.sweep(0, () => false)).toBe(1);
      expect(store.describe(1)).toBeNull();
      expect(leftovers(folder.path, index)).toEqual([]);
      expect(store.usedBytes).toBe(0);
      await store.close();
    });

    test("is not read in quarantine, and is itself again when it is found whole", async () => {
      using folder = temporaryFolder();
      let now = 1_000_000;
      const { store, index } = await openOn(folder.path, shelf, () => now);
      await store.sealWhole(chunk, BLOCK, bytes);
      await store.quarantine(1, "the test says so");
      expect(codeThrownBy(() => store.readBlocks(1, 0, 1))).toBe("CHUNK_CORRUPT");
      expect(await store.verify(1, chunk)).toBe("corrupt");
      expect(leftovers(folder.path, index)).toEqual([shelf]);
      now += 60_000;
      expect(await store.recheck(60_000)).toBe(1);
      expect(await read(store, 1)).toEqual(bytes);
      await store.close();
    });

    for (const state of ["trash", "quarantined"] as const)
      for (const next of SHELVES)
        test(`leaves nothing behind when a copy on "${next}" takes its place, while it is ${state}`, async () => {
          using folder = temporaryFolder();
          const first = await openOn(folder.path, shelf);
          await first.store.sealWhole(chunk, BLOCK, bytes);
          if (state === "trash") await first.store.trash([1], 1);
          else await first.store.quarantine(1, "the test says so");
          await first.store.close();
          const { store, index } = await openOn(folder.path, next);
          await store.sealWhole(chunk, BLOCK, bytes, 7);
          expect(index.find(1)).toMatchObject({ shelf: next, state: "sealed" });
          expect(leftovers(folder.path, index)).toEqual([next]);
          expect(await read(store, 1)).toEqual(bytes);
          expect(store.totals).toMatchObject({ chunkCount: 1, sealedBytes: bytes.length, trashBytes: 0 });
          await store.close();
        });
  });
