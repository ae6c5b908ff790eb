/** What the parts of one store share. */
import type { FileHandle } from "node:fs/promises";
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import type { Logger } from "../../node/log.ts";
import type { DirectorySync, Disk } from "./disk.ts";
import type { Inventory } from "./inventory.ts";
import type { ChunkFolders } from "./shelves/chunk-folders.ts";

export interface StoreParts {
  /** To be read; what changes rows goes through the inventory. */
  index: ChunkIndex;
  inventory: Inventory;
  folders: ChunkFolders;
  directories: DirectorySync;
  disk: Disk;
  log: Logger;
  now(): number;
  /** Opens a chunk file to read it back. */
  openFile(path: string): Promise<FileHandle>;
}

/** What a chunk must come to. */
export interface Expected {
  chunkId: ChunkId;
  lengthBytes: number;
  crc32: number;
}
