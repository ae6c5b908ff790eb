/**
 * What the bytes of sealed chunks lie in. A row of the index names its shelf; the rest of the store asks that shelf and does
 * not know what it is.
 *
 * How bytes come onto a shelf is not in the port: a chunk file is written block by block before it is put, an inline chunk
 * comes whole with its row. `Shelves.forNew` chooses, and each shelf has a `put` of its own.
 */
import type { ChunkRow, ChunkState } from "../../../../databases/chunk-index.ts";
import type { ChunkId } from "../../../messages/primitives.ts";
import type { Bytes } from "./file-bytes.ts";
import type { Flaw, Read } from "./flaw.ts";

/** Awaited after each slice that is read back, with its length in bytes. */
export type ReadPace = (bytes: number) => Promise<void>;

export interface Shelf {
  /** Whether a chunk's bytes are here in any state, as far as can be told without reading them. */
  has(chunkId: ChunkId): boolean;

  /** Whether the bytes of a sealed chunk are all here, as far as can be told without reading them. */
  hasAll(row: ChunkRow): boolean;

  /** Bytes `[start, end)` of a chunk as they lie there: the reader checks them. A quarantined chunk is not read. */
  read(row: ChunkRow, start: number, end: number): Read<Bytes>;

  /** Reads a sealed or quarantined chunk back. @returns what is wrong with it; null: nothing */
  verify(row: ChunkRow, blockCrcs: Uint32Array, pace: ReadPace): Promise<Flaw | null>;

  /** @returns what a quarantined chunk is, as its row or else its bytes tell; null if neither does */
  identify(row: ChunkRow): Promise<ChunkRow | null>;

  /**
   * Looks for a chunk's bytes, and ends a move to quarantine that had failed.
   *
   * @returns the state that the row should have
   */
  settle(row: ChunkRow): ChunkState;

  /** The bytes of a sealed chunk go where the trash is; not durable. @throws ENOENT: they are not here */
  moveToTrash(chunkId: ChunkId): Promise<void>;

  /** The bytes of a sealed chunk go where no reader finds them, durably. @throws ENOENT: they are not here */
  quarantine(chunkId: ChunkId): Promise<void>;

  /** Takes the bytes of a quarantined chunk back: done when the call returns, durable when the promise settles. */
  restore(chunkId: ChunkId): Promise<void>;

  /** Destroys the bytes of a chunk in trash or quarantine; its row is removed after that. */
  remove(row: Pick<ChunkRow, "chunkId" | "state">): Promise<void>;

  /** A new copy has taken the place of one in trash or quarantine: what is left of the old one is destroyed. */
  removeReplaced(row: ChunkRow): Promise<void>;
}
