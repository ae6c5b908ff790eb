/** Bodies of answers are bytes of files: those in the page cache the runtime sends, all others come from another thread. */
import { expect, test } from "bun:test";
import { readdirSync, readlinkSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileBytes, PageCache } from "../../actors/worker/store/shelves/file-bytes.ts";
import { dropFromCache } from "../support/drop-cache.ts";
import { openStore, put, read } from "./open-store.ts";
import { crc32Of, randomBytes, temporaryFolder, until } from "./support.ts";

const content = randomBytes(5 << 20);

const canDrop = ((): boolean => {
  using folder = temporaryFolder();
  const path = join(folder.path, "file");
  writeFileSync(path, content);
  return new PageCache().holds(path, 0, content.length) && dropFromCache(path);
})();

function coldFile(folder: string): string {
  const path = join(folder, "file");
  writeFileSync(path, content);
  dropFromCache(path);
  return path;
}

const openFilesAt = (path: string): string[] =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  });

const crcOf = async (body: ConstructorParameters<typeof Response>[0]) =>
  crc32Of(new Uint8Array(await new Response(body).arrayBuffer()));

test.skipIf(!canDrop)(
  "what is not in the page cache comes from another thread, and from then on the runtime sends it",
  async () => {
    using folder = temporaryFolder();
    const path = coldFile(folder.path);
    const [start, end] = [100_001, 3_000_003];
    const cold = fileBytes(path, start, end);
    expect(cold).toBeInstanceOf(ReadableStream);
    expect(await crcOf(cold)).toBe(crc32Of(content.subarray(start, end)));
    expect(openFilesAt(path)).toEqual([]);
    const warm = fileBytes(path, start, end);
    expect(warm).toBeInstanceOf(Blob);
    expect(await crcOf(warm)).toBe(crc32Of(content.subarray(start, end)));
  },
);

test.skipIf(!canDrop)("a range of which one page is not in the page cache is not sent by the runtime", async () => {
  using folder = temporaryFolder();
  const path = coldFile(folder.path);
  await crcOf(fileBytes(path, 0, 1 << 20));
  const pages = new PageCache();
  expect(pages.holds(path, 0, 1 << 20)).toBeTrue();
  expect(pages.holds(path, 4097, 4098)).toBeTrue();
  expect(pages.holds(path, 0, content.length)).toBeFalse();
});

test("the kernel is not asked about a file that is not there", () => {
  expect(new PageCache().holds(join(tmpdir(), "no such file"), 0, 1)).toBeFalse();
});

test.skipIf(!canDrop)("a reader who takes nothing makes the worker read nothing ahead but a slice", async () => {
  using folder = temporaryFolder();
  const path = coldFile(folder.path);
  const body = fileBytes(path, 0, content.length) as ReadableStream<Uint8Array>;
  const reader = body.getReader();
  expect((await reader.read()).value?.length).toBe(512 << 10);
  await Bun.sleep(20);
  // The kernel itself reads a little ahead.
  expect(new PageCache().holds(path, 4 << 20, content.length)).toBeFalse();
  await reader.cancel();
  await until(() => openFilesAt(path).length === 0);
});

test.skipIf(!canDrop)("a file that ends early breaks the body off, and is closed", async () => {
  using folder = temporaryFolder();
  const path = coldFile(folder.path);
  const body = fileBytes(path, 0, content.length) as ReadableStream<Uint8Array>;
  truncateSync(path, 1 << 20);
  expect(await crcOf(body).catch(({ message }) => message)).toContain("ends before byte");
  expect(openFilesAt(path)).toEqual([]);
});

test.skipIf(!canDrop)("a chunk that goes to the trash while it is read is read to its end", async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const bytes = content.subarray(0, 2 << 20);
  await put(store, 1, bytes);
  const path = store.folders.file(1, "sealed");
  dropFromCache(path);
  const reader = (store.readBlocks(1, 0, 2000).body as ReadableStream<Uint8Array>).getReader();
  await reader.read();
  renameSync(path, store.folders.file(1, "trash"));
  let length = 512 << 10;
  for (let slice = await reader.read(); !slice.done; slice = await reader.read()) length += slice.value.length;
  expect(length).toBe(bytes.length);
  expect(crc32Of(await read(store, 1))).toBe(crc32Of(bytes));
  await store.close();
});
