/** Stores for tests, without a server: real files and a real index. */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { ChunkStore, type StoreOptions } from "../../actors/worker/store/chunk-store.ts";
import { Disk } from "../../actors/worker/store/disk.ts";
import { ChunkIndex } from "../../databases/chunk-index.ts";
import { BLOCK, blocksOf, crc32Of, silent } from "./support.ts";

export async function openStore(directory: string, options: Partial<StoreOptions> & { capacityBytes?: number } = {}) {
  const index = new ChunkIndex(directory);
  const disk = new Disk({ directory, capacityBytes: options.capacityBytes, reservedBytes: 0 });
  const store = new ChunkStore(index, { directory, inlineChunkBytes: 1024, disk, log: silent, ...options });
  return { index, disk, store, found: await store.recover() };
}

/** Writes all blocks without waiting for them; a seal does. */
export function write(store: ChunkStore, chunkId: number, content: Uint8Array<ArrayBuffer>) {
  for (const [n, bytes] of blocksOf(content).entries())
    store.writeBlock(chunkId, n, BLOCK, bytes, crc32Of(bytes)).catch(() => {}); // the seal finds what is not there
  const crc32 = crc32OfBlocks(blocksOf(content).map(crc32Of), content.length, BLOCK);
  return { chunkId, lengthBytes: content.length, crc32 };
}

export async function put(store: ChunkStore, chunkId: number, content: Uint8Array<ArrayBuffer>) {
  const expected = write(store, chunkId, content);
  await store.seal(expected, BLOCK);
  return expected;
}

export const read = async (store: ChunkStore, chunkId: number) =>
  new Uint8Array(await new Response(store.readBlocks(chunkId, 0, 1000).body).arrayBuffer());

export function flipByte(path: string, offset: number): void {
  const file = openSync(path, "r+");
  const byte = new Uint8Array(1);
  readSync(file, byte, 0, 1, offset);
  byte[0] = (byte[0] as number) ^ 1;
  writeSync(file, byte, 0, 1, offset);
  closeSync(file);
}
