/**
 * The shelf of small chunks: their bytes lie in the index, beside their rows. A transaction changes both, so the row's state
 * is all there is to it: moves have nothing to move, and a removed row takes its bytes along.
 */
import type { ChunkIndex, ChunkRow, ChunkState } from "../../../../databases/chunk-index.ts";
import type { Bytes } from "./file-bytes.ts";
import { bad, type Flaw, flawed, good, MISSING, type Read } from "./flaw.ts";
import type { ReadPace, Shelf } from "./shelf.ts";

/** Of the rows inside a transaction, what is needed here. */
interface PutRow {
  put(row: ChunkRow, data: Uint8Array): void;
}

export class InlineShelf implements Shelf {
  readonly #index: ChunkIndex;

  constructor(index: ChunkIndex) {
    this.#index = index;
  }

  /** To be called inside a durable transaction. */
  put(rows: PutRow, row: Omit<ChunkRow, "shelf">, bytes: Uint8Array): void {
    rows.put({ ...row, shelf: "inline" }, bytes);
  }

  /** The row is there, so its bytes are. */
  has(): boolean {
    return true;
  }

  hasAll(): boolean {
    return true;
  }

  read({ chunkId }: ChunkRow, start: number, end: number): Read<Bytes> {
    const bytes = this.#index.inlineBytes(chunkId);
    return bytes ? good(bytes.subarray(start, end)) : flawed(MISSING);
  }

  async verify(row: ChunkRow, _: Uint32Array, pace: ReadPace): Promise<Flaw | null> {
    const bytes = this.#index.inlineBytes(row.chunkId);
    if (!bytes) return MISSING;
    await pace(bytes.length);
    return bytes.length === row.lengthBytes && Bun.hash.crc32(bytes) === row.crc32 ? null : bad("the bytes changed");
  }

  async identify(row: ChunkRow): Promise<ChunkRow> {
    return row;
  }

  settle({ chunkId, state }: ChunkRow): ChunkState {
    return state === "missing" || this.#index.inlineBytes(chunkId) !== null ? state : "missing";
  }

  async moveToTrash(): Promise<void> {}

  async quarantine(): Promise<void> {}

  async restore(): Promise<void> {}

  async remove(): Promise<void> {}

  async removeReplaced(): Promise<void> {}
}
