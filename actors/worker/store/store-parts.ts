/** What the parts of one store share. */
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import type { Logger } from "../../node/log.ts";
import type { Disk } from "./disk.ts";
import type { Inventory } from "./inventory.ts";
import type { Shelves } from "./shelves/shelves.ts";

export interface StoreParts {
  /** To be read; what changes rows goes through the inventory. */
  index: ChunkIndex;
  inventory: Inventory;
  shelves: Shelves;
  disk: Disk;
  log: Logger;
  now(): number;
}

/** What a chunk must come to. */
export interface Expected {
  chunkId: ChunkId;
  lengthBytes: number;
  crc32: number;
}
