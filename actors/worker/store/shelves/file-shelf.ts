/**
 * The shelf of chunk files. The folder that a file lies in is its chunk's state, so a move is a rename, and the row follows.
 * A chunk file gets its name after its bytes and trailer are flushed, so a file with a name is whole.
 */
import { renameSync, statSync } from "node:fs";
import { type FileHandle, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { ChunkIndex, ChunkRow, ChunkState } from "../../../../databases/chunk-index.ts";
import type { ChunkId } from "../../../messages/primitives.ts";
import type { Logger } from "../../../node/log.ts";
import { blockCount } from "../../../rules/byte-range.ts";
import type { Disk } from "../disk.ts";
import { turn } from "../pace.ts";
import { encodeTrailer, type Trailer, trailerBytes } from "./chunk-file.ts";
import type { ChunkFolders, FiledState } from "./chunk-folders.ts";
import type { DirectorySync } from "./directory-sync.ts";
import { type Bytes, fileBytes } from "./file-bytes.ts";
import { type Recovered, recoverFiles } from "./file-recovery.ts";
import { bad, type Flaw, flawed, good, MISSING, type Read } from "./flaw.ts";
import { type DirectWrites, PartFile } from "./part-file.ts";
import type { ReadPace, Shelf } from "./shelf.ts";
import { flawOfError, readTrailer, rowOf } from "./trailer.ts";

const LOOKED_AT_ONCE = 1000;

export interface FileShelfParts {
  index: ChunkIndex;
  folders: ChunkFolders;
  directories: DirectorySync;
  disk: Disk;
  log: Logger;
  now(): number;
  /** Opens a chunk file to read it back. */
  openFile(path: string): Promise<FileHandle>;
  directWrites: DirectWrites;
}

export class FileShelf implements Shelf {
  readonly #parts: FileShelfParts;
  #begun = 0;

  constructor(parts: FileShelfParts) {
    this.#parts = parts;
  }

  /** Makes rows and files agree. To be called once, before anything else. */
  recover(): Promise<Recovered> {
    return recoverFiles(this.#parts);
  }

  /** Begins the file of a new chunk. Of two that are begun for one chunk, neither touches the other. */
  begin(chunkId: ChunkId): PartFile {
    return new PartFile(this.#parts.folders.part(chunkId, ++this.#begun), this.#parts.directWrites);
  }

  /** Ends a file and names it: bytes, trailer and name are durable, in this order, when that is done. */
  async put(part: PartFile, trailer: Trailer): Promise<void> {
    await part.write(encodeTrailer(trailer), trailer.lengthBytes);
    await part.flush();
    const path = this.#parts.folders.file(trailer.chunkId, "sealed");
    await rename(part.path, path);
    part.path = path;
    await this.#parts.directories.sync(dirname(path));
  }

  /** Removes a file that is of no use any more. One that cannot be removed does no harm: the next start deals with it. */
  async discard(path: string): Promise<void> {
    try {
      await rm(path, { force: true });
    } catch (error) {
      const err = this.#parts.disk.refusal(error);
      this.#parts.log.warn({ event: "file-left-over", path, err }, "a file could not be removed");
    }
  }

  has(chunkId: ChunkId): boolean {
    return this.#parts.folders.whereIs(chunkId) !== null;
  }

  hasAll({ chunkId, lengthBytes, blockSizeBytes }: ChunkRow): boolean {
    const size = this.#sizeOf(chunkId, "sealed");
    return size === lengthBytes + trailerBytes(blockCount(lengthBytes, blockSizeBytes));
  }

  #sizeOf(chunkId: ChunkId, state: FiledState): number | undefined {
    return statSync(this.#parts.folders.file(chunkId, state), { throwIfNoEntry: false })?.size;
  }

  read({ chunkId, state, lengthBytes }: ChunkRow, start: number, end: number): Read<Bytes> {
    let place = state as FiledState;
    let size = this.#sizeOf(chunkId, place);
    if (size === undefined && place === "sealed") {
      // On its way to the trash the file moves first, and the row follows.
      place = "trash";
      size = this.#sizeOf(chunkId, place);
    }
    if (size === undefined) return flawed(MISSING);
    if (size < lengthBytes) return flawed(bad(`the file has ${size} bytes, less than the chunk's ${lengthBytes}`));
    return good(fileBytes(this.#parts.folders.file(chunkId, place), start, end));
  }

  async verify(row: ChunkRow, blockCrcs: Uint32Array, pace: ReadPace): Promise<Flaw | null> {
    const path = this.#parts.folders.file(row.chunkId, row.state as FiledState);
    const { value: trailer, flaw } = await readTrailer(path);
    if (flaw) return flaw;
    if (trailer.chunkId !== row.chunkId || trailer.crc32 !== row.crc32) return bad("the file is of another chunk");
    const opened = await this.#parts.openFile(path).then(good, (error) => flawed(flawOfError(error)));
    if (opened.flaw) return opened.flaw;
    try {
      return await readBack(opened.value, row, blockCrcs, pace);
    } finally {
      await opened.value.close();
    }
  }

  async identify(row: ChunkRow): Promise<ChunkRow | null> {
    if (row.lengthBytes > 0) return row;
    // Its trailer could not be read when the file was found; it may tell now what it is.
    const { value: trailer } = await readTrailer(this.#parts.folders.file(row.chunkId, "quarantined"));
    return trailer?.chunkId === row.chunkId ? { ...rowOf(trailer, row.copyDecidedAt), state: "quarantined" } : null;
  }

  settle({ chunkId, state }: ChunkRow): ChunkState {
    const { folders } = this.#parts;
    const place = folders.whereIs(chunkId);
    if (state !== "quarantined" || place !== "sealed") return place ?? "missing";
    // A quarantined copy whose move failed must not count again: the move is done now.
    renameSync(folders.file(chunkId, "sealed"), folders.file(chunkId, "quarantined"));
    return "quarantined";
  }

  /** Looks for the file of every row that should have one. @returns those whose row says something else, page by page */
  async *misplaced(): AsyncGenerator<ChunkId[]> {
    const { index, folders } = this.#parts;
    for (let after = 0; ; await turn()) {
      const rows = index.filesAfter(after, LOOKED_AT_ONCE);
      const last = rows.at(-1);
      if (!last) return;
      after = last.chunkId;
      yield rows
        .filter(({ chunkId, state }) => (folders.whereIs(chunkId) ?? "missing") !== state)
        .map(({ chunkId }) => chunkId);
    }
  }

  async moveToTrash(chunkId: ChunkId): Promise<void> {
    const { folders } = this.#parts;
    await rename(folders.file(chunkId, "sealed"), folders.file(chunkId, "trash"));
  }

  async quarantine(chunkId: ChunkId): Promise<void> {
    const { folders, directories } = this.#parts;
    const [from, to] = [folders.file(chunkId, "sealed"), folders.file(chunkId, "quarantined")];
    await rename(from, to);
    await directories.sync(dirname(to));
    await directories.sync(dirname(from));
  }

  async restore(chunkId: ChunkId): Promise<void> {
    const { folders, directories } = this.#parts;
    const path = folders.file(chunkId, "sealed");
    renameSync(folders.file(chunkId, "quarantined"), path);
    await directories.sync(dirname(path));
  }

  async remove({ chunkId, state }: Pick<ChunkRow, "chunkId" | "state">): Promise<void> {
    await rm(this.#parts.folders.file(chunkId, state as FiledState), { force: true });
  }

  async removeReplaced({ chunkId, state }: ChunkRow): Promise<void> {
    if (state === "trash" || state === "quarantined") await this.discard(this.#parts.folders.file(chunkId, state));
  }
}

/** Reads a file's data block by block. @returns what is wrong with it; null: nothing */
async function readBack(
  file: FileHandle,
  { blockSizeBytes, lengthBytes }: ChunkRow,
  blockCrcs: Uint32Array,
  pace: ReadPace,
): Promise<Flaw | null> {
  const buffer = new Uint8Array(Math.min(blockSizeBytes, lengthBytes));
  for (const [n, crc32] of blockCrcs.entries()) {
    const offset = n * blockSizeBytes;
    const block = buffer.subarray(0, Math.min(blockSizeBytes, lengthBytes - offset));
    for (let done = 0; done < block.length; ) {
      const read = await file.read(block, done, block.length - done, offset + done).then(
        ({ bytesRead }) => good(bytesRead),
        (error) => flawed(flawOfError(error)),
      );
      if (read.flaw) return read.flaw;
      if (read.value === 0) return bad(`the file ends in block ${n}`);
      done += read.value;
    }
    if (Bun.hash.crc32(block) !== crc32) return bad(`block ${n} changed`);
    await pace(block.length);
  }
  return null;
}
