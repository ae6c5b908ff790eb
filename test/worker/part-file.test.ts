/** Blocks on their way into a file, written by other threads: several at once, past the page cache, given up meanwhile. */
import { describe, expect, spyOn, test } from "bun:test";
import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import type { ChunkStore } from "../../actors/worker/store/chunk-store.ts";
import { DirectWrites, PartFile } from "../../actors/worker/store/shelves/part-file.ts";
import { WriteQueue } from "../../actors/worker/store/write-queue.ts";
import { codeOf } from "../support/codes.ts";
import { seeded } from "../support/random.ts";
import { openStore, read } from "./open-store.ts";
import { BLOCK, blocksOf, crc32Of, randomBytes, temporaryFolder, until } from "./support.ts";

const BIG_BLOCK = 512 << 10;
const seed = Number(Bun.env.SEED ?? 1);

const takesDirect = ((): boolean => {
  const path = join(tmpdir(), `dfs-direct-${process.pid}`);
  try {
    closeSync(openSync(path, constants.O_CREAT | constants.O_WRONLY | constants.O_DIRECT));
    return true;
  } catch {
    return false;
  } finally {
    rmSync(path, { force: true });
  }
})();

/** The same bytes at an address that is no multiple of a page. */
function shifted(bytes: Uint8Array): Uint8Array {
  const room = new Uint8Array(bytes.length + 1);
  room.set(bytes, 1);
  return room.subarray(1);
}

/** Files of a folder that this process has open. */
const openFilesIn = (folder: string): string[] =>
  readdirSync("/proc/self/fd")
    .map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return "";
      }
    })
    .filter((path) => path.startsWith(join(folder, "parts")));

test.skipIf(!takesDirect)(
  "whole pages of big blocks go past the page cache, all else waits there for a flush",
  async () => {
    using folder = temporaryFolder();
    const direct = new DirectWrites(true);
    const part = new PartFile(join(folder.path, "part"), direct);
    const content = randomBytes(2 * BIG_BLOCK + 5000);
    expect(await part.write(content.slice(0, BIG_BLOCK), 0)).toBe(0);
    expect(await part.write(shifted(content.subarray(BIG_BLOCK, 2 * BIG_BLOCK)), BIG_BLOCK)).toBe(0);
    expect(await part.write(content.slice(2 * BIG_BLOCK), 2 * BIG_BLOCK)).toBe(5000);
    await part.flush();
    await part.close();
    expect(direct.isOn).toBeTrue();
    expect(readFileSync(part.path)).toEqual(Buffer.from(content));
  },
);

test.skipIf(!takesDirect)(
  "where a file system refuses direct writes, blocks go through the page cache, and no more are tried",
  async () => {
    using folder = temporaryFolder();
    const direct = new DirectWrites(true);
    // At this offset the file system refuses what others refuse at any.
    using _ = spyOn(direct, "takes").mockReturnValueOnce(true);
    const part = new PartFile(join(folder.path, "part"), direct);
    const content = randomBytes(BIG_BLOCK);
    expect(await part.write(content, 1)).toBe(BIG_BLOCK);
    expect(direct.isOn).toBeFalse();
    await part.close();
    expect(readFileSync(part.path).subarray(1)).toEqual(Buffer.from(content));
  },
);

test("a file that is closed while it is written stays open until the write has ended, and takes nothing more", async () => {
  using folder = temporaryFolder();
  const big = randomBytes(16 << 20);
  const part = new PartFile(join(folder.path, "part"), new DirectWrites(true));
  let isWritten = false;
  const writing = part.write(big, 0).then(() => {
    isWritten = true;
  });
  const closing = part.close().then(() => expect(isWritten).toBeTrue());
  expect(await part.write(big, 0).catch(String)).toContain("closed");
  await Promise.all([writing, closing]);
  expect(crc32Of(readFileSync(part.path))).toBe(crc32Of(big));
});

test("a chunk that is given up under a write keeps its file open until then; blocks behind it in line are refused", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const gate = Promise.withResolvers<void>();
  const { write } = PartFile.prototype;
  using writes = spyOn(PartFile.prototype, "write").mockImplementation(async function (this: PartFile, ...block) {
    await gate.promise;
    return write.apply(this, block);
  });
  const block = randomBytes(BLOCK);
  const outcomes = Array.from({ length: 6 }, (_, n) => codeOf(store.writeBlock(1, n, BLOCK, block, crc32Of(block))));
  await until(() => openFilesIn(folder.path).length === 1);
  const givenUp = store.abort(1);
  expect(store.totals).toMatchObject({ openChunks: 0, openBytes: 0 });
  expect(openFilesIn(folder.path).length).toBe(1);
  expect(writes).toHaveBeenCalledTimes(4);
  gate.resolve();
  expect(await givenUp).toBeTrue();
  expect(await Promise.all(outcomes)).toEqual(["fine", "fine", "fine", "fine", "CHUNK_SEALED", "CHUNK_SEALED"]);
  expect(openFilesIn(folder.path)).toEqual([]);
  expect(readdirSync(join(folder.path, "parts"))).toEqual([]);
  await store.close();
});

test("a block that the disk does not take is refused alone: it counts no more, and may come again", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const content = randomBytes(3 * BLOCK);
  const [first, second, third] = blocksOf(content) as [Uint8Array, Uint8Array, Uint8Array];
  await store.writeBlock(1, 0, BLOCK, first, crc32Of(first));
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  const failing = spyOn(PartFile.prototype, "write").mockRejectedValueOnce(full);
  expect(await codeOf(store.writeBlock(1, 1, BLOCK, second, crc32Of(second)))).toBe("NO_SPACE");
  failing.mockRestore();
  expect(store.totals).toMatchObject({ openChunks: 1, openBytes: BLOCK });
  await store.writeBlock(1, 2, BLOCK, third, crc32Of(third));
  const expected = {
    chunkId: 1,
    lengthBytes: content.length,
    crc32: crc32OfBlocks([first, second, third].map(crc32Of), content.length, BLOCK),
  };
  expect(await codeOf(store.seal(expected, BLOCK))).toBe("CHUNK_INCOMPLETE");
  await store.writeBlock(1, 1, BLOCK, second, crc32Of(second));
  await store.seal(expected, BLOCK);
  expect(await read(store, 1)).toEqual(content);
  await store.close();
});

test("of two versions of a block that come at once the later one stays, and a seal waits for both", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  for (let round = 1; round <= 20; round++) {
    const [old, now] = [randomBytes(BLOCK), randomBytes(BLOCK)];
    const [first, again] = [old, now].map((bytes) => store.writeBlock(round, 0, BLOCK, bytes, crc32Of(bytes)));
    const twice = store.writeBlock(round, 0, BLOCK, old, crc32Of(old));
    await Promise.all([first, again, twice]);
    await store.seal({ chunkId: round, lengthBytes: BLOCK, crc32: crc32Of(now) }, BLOCK);
    expect(await read(store, round)).toEqual(now);
  }
  await store.close();
});

test("four blocks are written at a time; one that fails makes way like any other", async () => {
  const queue = new WriteQueue();
  let now = 0;
  let most = 0;
  const outcomes = await Promise.allSettled(
    Array.from({ length: 40 }, (_, n) =>
      queue.run(async () => {
        most = Math.max(most, ++now);
        await Bun.sleep(1);
        now--;
        if (n % 3 === 0) throw new Error("the test says so");
        return n;
      }),
    ),
  );
  expect(most).toBe(4);
  expect(outcomes.filter(({ status }) => status === "rejected").length).toBe(14);
  expect(await queue.run(async () => "next")).toBe("next");
});

/** Copies that were ordered may be begun again at once after they were given up. */
const ORDERED_AT = 7;

/** Sends all blocks at once in any order, some from shifted memory, some twice. */
async function sendAll(store: ChunkStore, chunkId: number, content: Uint8Array<ArrayBuffer>, random: () => number) {
  const blocks = blocksOf(content, BIG_BLOCK).map((bytes, n) => ({ bytes, n, crc32: crc32Of(bytes), at: random() }));
  const sent = [...blocks, ...blocks.filter(() => random() < 0.2)].sort((a, b) => a.at - b.at);
  await Promise.all(
    sent.map(async ({ bytes, n, crc32 }) => {
      await Bun.sleep(random() * 5);
      await store.writeBlock(chunkId, n, BIG_BLOCK, random() < 0.5 ? bytes : shifted(bytes), crc32, ORDERED_AT);
    }),
  );
  const crc32 = crc32OfBlocks(
    blocks.map((block) => block.crc32),
    content.length,
    BIG_BLOCK,
  );
  const expected = { chunkId, lengthBytes: content.length, crc32 };
  await store.seal(expected, BIG_BLOCK);
  return expected;
}

describe("every byte of chunks that are written at once is what was sent, while others are given up", () => {
  for (const writesDirect of [true, false])
    test(`${writesDirect ? "past" : "through"} the page cache  SEED=${seed}`, async () => {
      using folder = temporaryFolder();
      const random = seeded(seed);
      const { store } = await openStore(folder.path, { writesDirect });
      const lives = Array.from({ length: 24 }, async (_, n) => {
        const pages = Math.floor(random() * 700);
        const content = randomBytes(1 + 4096 * pages + (random() < 0.5 ? 4095 : Math.floor(random() * 4096)));
        const chunkId = n + 1;
        if (n % 3 === 0) {
          const broken = codeOf(sendAll(store, chunkId, content, random));
          await Bun.sleep(random() * 8);
          await store.abort(chunkId);
          await broken;
        }
        writeFileSync(join(folder.path, `bystander-${n}`), content);
        return { expected: await sendAll(store, chunkId, content, random), content, n };
      });
      for (const { expected, content, n } of await Promise.all(lives)) {
        expect(await store.verify(expected.chunkId, expected)).toBe("good");
        expect(crc32Of(await read(store, expected.chunkId))).toBe(crc32Of(content));
        expect(crc32Of(readFileSync(join(folder.path, `bystander-${n}`)))).toBe(crc32Of(content));
      }
      expect(readdirSync(join(folder.path, "parts"))).toEqual([]);
      expect(openFilesIn(folder.path)).toEqual([]);
      await store.close();
    });
});
