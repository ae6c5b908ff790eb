/** Chunk ids as people, files and URLs spell them: 16 hex digits. */
import type { ChunkId } from "../messages/primitives.ts";

export const formatChunkId = (chunkId: ChunkId): string => chunkId.toString(16).padStart(16, "0");

/** @returns null if it is not the spelling of a chunk id */
export function parseChunkId(text: string): ChunkId | null {
  if (!/^[0-9a-f]{16}$/.test(text)) return null;
  const chunkId = Number.parseInt(text, 16);
  return Number.isSafeInteger(chunkId) && chunkId > 0 ? chunkId : null;
}
