/** One block on its way to workers. */
import type { Bytes } from "../ports/transfers.ts";

export interface BlockWrite {
  chunkId: number;
  block: number;
  bytes: Bytes;
  crc32: number;
  blockSizeBytes: number;
  /** Seal the chunk, which is this one block, in the same request. */
  seal: boolean;
}
