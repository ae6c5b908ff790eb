/** What a worker and the leader compare instead of lists: a digest over (chunk id, checksum) of a range of chunks. */

/** Rows in rising order of `chunkId`; both sides must walk them in the same order. */
export function inventoryDigest(chunks: Iterable<{ chunkId: number; crc32: number }>): {
  count: number;
  digest: string;
} {
  const hasher = new Bun.CryptoHasher("sha256");
  let count = 0;
  let batch = "";
  for (const { chunkId, crc32 } of chunks) {
    batch += `${chunkId}:${crc32}\n`;
    if (++count % 512 === 0) {
      hasher.update(batch);
      batch = "";
    }
  }
  return { count, digest: hasher.update(batch).digest("hex").slice(0, 32) };
}

/** Chunk ids up to this many are compared in one message. */
export const INVENTORY_PAGE = 4096;
