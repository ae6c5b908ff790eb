/**
 * Chunk ids: which group of masters hands them out, and how people, files and URLs spell them.
 *
 * An id is group · 2^40 + n, with n from 1 on, so whoever sees an id knows whose metadata it is in, and a range of ids
 * belongs to one group. There are 8192 groups below 2^53. All masters of today are group 0: its ids are what they always
 * were.
 */
import type { ChunkId } from "../messages/primitives.ts";

const IDS_PER_GROUP = 2 ** 40;
/** The group of these masters. */
export const OWN_GROUP = 0;

export const groupOf = (chunkId: ChunkId): number => Math.floor(chunkId / IDS_PER_GROUP);

/** The highest id of a group. */
export const lastIdOf = (group: number): ChunkId => (group + 1) * IDS_PER_GROUP - 1;

/**
 * Do the `count` ids from `first` on, the next ones of a group, belong to it?
 *
 * A group's first id has n = 1: with n = 0, the group before has come to its end.
 */
export const areOfOneGroup = (first: ChunkId, count: number): boolean =>
  first % IDS_PER_GROUP > 0 && first + count - 1 <= lastIdOf(groupOf(first));

/** 16 hex digits. */
export const formatChunkId = (chunkId: ChunkId): string => chunkId.toString(16).padStart(16, "0");

/** @returns null if it is not the spelling of a chunk id */
export function parseChunkId(text: string): ChunkId | null {
  if (!/^[0-9a-f]{16}$/.test(text)) return null;
  const chunkId = Number.parseInt(text, 16);
  return Number.isSafeInteger(chunkId) && chunkId > 0 ? chunkId : null;
}
