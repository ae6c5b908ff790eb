/** All shelves of a store, and the one place that chooses among them. */
import type { ChunkRow, ShelfName } from "../../../../databases/chunk-index.ts";
import type { FileShelf } from "./file-shelf.ts";
import type { InlineShelf } from "./inline-shelf.ts";
import type { Shelf } from "./shelf.ts";

export class Shelves {
  constructor(
    readonly file: FileShelf,
    readonly inline: InlineShelf,
    /** Chunks up to this length go into the index. */
    readonly inlineChunkBytes: number,
  ) {}

  /** Where a new chunk goes that comes whole. One that comes block by block goes into a file. */
  forNew(lengthBytes: number): ShelfName {
    return lengthBytes > this.inlineChunkBytes ? "file" : "inline";
  }

  /** Where a chunk lies. */
  of(row: Pick<ChunkRow, "shelf">): Shelf {
    return this[row.shelf];
  }
}
