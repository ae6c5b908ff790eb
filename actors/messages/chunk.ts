/** Chunks as messages speak of them. A copy is judged by its content: as long as was committed, with the same checksum. */
import { type Static, Type } from "@sinclair/typebox";
import { ByteCount, ChunkId, Crc32, NodeId } from "./primitives.ts";

/** The fields by which any copy of a sealed chunk is known to be right. */
export const content = { lengthBytes: ByteCount, crc32: Crc32 };

/** A sealed chunk: it never changes. */
export const SealedChunk = Type.Object({ chunkId: ChunkId, ...content });
export type SealedChunk = Static<typeof SealedChunk>;

/** A sealed chunk and the workers whose disks hold it. */
export const StoredChunk = Type.Object({
  chunkId: ChunkId,
  ...content,
  workerIds: Type.Array(NodeId, { minItems: 1, maxItems: 16 }),
});
export type StoredChunk = Static<typeof StoredChunk>;
