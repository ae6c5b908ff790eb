/** Decides which blocks of which chunks hold a range of a file's bytes. */

/** A piece of one block: bytes `[from, to)` of it. */
export interface BlockSpan {
  block: number;
  /** Whole length of the block; it is read whole, because that is what its checksum covers. */
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

/** The blocks that hold bytes `[from, to)` of a chunk, in order. */
export function* blockSpans(
  chunkLengthBytes: number,
  blockSizeBytes: number,
  from: number,
  to: number,
): Generator<BlockSpan> {
  for (let block = Math.floor(from / blockSizeBytes); block * blockSizeBytes < to; block++) {
    const start = block * blockSizeBytes;
    const lengthBytes = Math.min(blockSizeBytes, chunkLengthBytes - start);
    yield { block, lengthBytes, from: Math.max(from - start, 0), to: Math.min(to - start, lengthBytes) };
  }
}

export const blockCount = (lengthBytes: number, blockSizeBytes: number): number =>
  Math.ceil(lengthBytes / blockSizeBytes);
