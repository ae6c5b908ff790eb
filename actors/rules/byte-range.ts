/** Decides which blocks of which chunks hold a range of a file's bytes. */

/** Blocks in a row, and the bytes `[from, to)` of them that are wanted. */
export interface BlockRun {
  first: number;
  count: number;
  /** Of all its blocks; they are read whole, because that is what their checksums cover. */
  lengthBytes: number;
  from: number;
  to: number;
}

/** The part `[start, endExclusive)` of a file that lies in the chunk, relative to the chunk; null if none does. */
export function overlap(
  chunk: { offset: number; lengthBytes: number },
  start: number,
  endExclusive: number,
): { from: number; to: number } | null {
  const from = Math.max(start - chunk.offset, 0);
  const to = Math.min(endExclusive - chunk.offset, chunk.lengthBytes);
  return from < to ? { from, to } : null;
}

/** The first blocks, `most` at the most, of those that hold bytes `[from, to)` of a chunk; `from < to`. */
export function blockRun(
  chunkLengthBytes: number,
  blockSizeBytes: number,
  from: number,
  to: number,
  most: number,
): BlockRun {
  const first = Math.floor(from / blockSizeBytes);
  const count = Math.min(most, Math.ceil(to / blockSizeBytes) - first);
  const start = first * blockSizeBytes;
  const lengthBytes = Math.min(count * blockSizeBytes, chunkLengthBytes - start);
  return { first, count, lengthBytes, from: from - start, to: Math.min(to - start, lengthBytes) };
}

export const blockCount = (lengthBytes: number, blockSizeBytes: number): number =>
  Math.ceil(lengthBytes / blockSizeBytes);
