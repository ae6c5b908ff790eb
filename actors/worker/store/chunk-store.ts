/**
 * The chunks of one worker: those being written, those sealed, the trash, the quarantine. This is the store's face; the work
 * is done by the classes beside it.
 *
 * What a crash leaves. A part file is worthless and thrown away at the next start. A chunk file gets its name after its
 * bytes and trailer are flushed, so a file with a name is whole. The folder that a file lies in is its state; rows of the
 * index follow the files, at the latest at the next start. Inline chunks live in the index alone, and a seal is answered
 * after their transaction is flushed.
 */
import { type FileHandle, open as openHandle } from "node:fs/promises";
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import type { ChunkDescription } from "../../messages/worker.ts";
import type { Logger } from "../../node/log.ts";
import { Checking, type Verdict } from "./checking.ts";
import type { Disk } from "./disk.ts";
import type { FlushQueue } from "./flush-queue.ts";
import type { GroupCommit } from "./group-commit.ts";
import { Inventory } from "./inventory.ts";
import { type BlockRead, Reading } from "./reading.ts";
import { Settling } from "./settling.ts";
import { ChunkFolders } from "./shelves/chunk-folders.ts";
import { DirectorySync } from "./shelves/directory-sync.ts";
import type { Recovered } from "./shelves/file-recovery.ts";
import { FileShelf } from "./shelves/file-shelf.ts";
import { InlineShelf } from "./shelves/inline-shelf.ts";
import { DirectWrites } from "./shelves/part-file.ts";
import { Shelves } from "./shelves/shelves.ts";
import type { Expected, StoreParts } from "./store-parts.ts";
import { Trash } from "./trash.ts";
import { OpenChunks } from "./writing.ts";

export interface StoreOptions {
  directory: string;
  inlineChunkBytes: number;
  disk: Disk;
  log: Logger;
  now?: () => number;
  /** Blocks go past the page cache where the file system takes that. */
  writesDirect?: boolean;
  /** Opens a chunk file to read it back; the file system's own, if absent. */
  openFile?(path: string): Promise<FileHandle>;
}

export class ChunkStore {
  readonly folders: ChunkFolders;
  readonly commits: GroupCommit;
  readonly flushes: FlushQueue;
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  readonly #settling: Settling;
  readonly #checking: Checking;
  readonly #reading: Reading;
  readonly #trash: Trash;

  constructor(index: ChunkIndex, options: StoreOptions) {
    const { directory, inlineChunkBytes, disk, log, now = Date.now } = options;
    const { openFile = (path) => openHandle(path, "r"), writesDirect = true } = options;
    const directWrites = new DirectWrites(writesDirect);
    const folders = new ChunkFolders(directory);
    folders.make();
    const directories = new DirectorySync();
    const files = new FileShelf({ index, folders, directories, disk, log, now, openFile, directWrites });
    const shelves = new Shelves(files, new InlineShelf(index), inlineChunkBytes);
    const isBeingWritten = (chunkId: ChunkId) => this.#open.isBeingWritten(chunkId);
    const inventory = new Inventory(index, now, isBeingWritten, (err) => {
      log.error({ event: "index-unflushed", err }, "the index could not be flushed");
      disk.indexFailed(err);
    });
    this.folders = folders;
    this.commits = inventory.commits;
    this.#parts = { index, inventory, shelves, disk, log, now };
    this.#open = new OpenChunks(this.#parts, () => this.usedBytes);
    this.flushes = this.#open.flushes;
    this.#settling = new Settling(this.#parts, this.#open);
    this.#checking = new Checking(this.#parts, this.#open, this.#settling);
    this.#reading = new Reading(this.#parts, this.#open, this.#settling, this.#checking);
    this.#trash = new Trash(this.#parts, this.#open, this.#settling);
  }

  /** Makes index and files agree, and durable what they say. To be called once, before anything else. */
  async recover(): Promise<Recovered> {
    await this.#parts.index.log.rewrite();
    const found = await this.#parts.shelves.file.recover();
    this.#parts.inventory.learnTotals();
    return found;
  }

  /** To be called after a failed flush of the index, now and then. @returns whether the index takes changes */
  async mendIndex(): Promise<boolean> {
    const { index, disk } = this.#parts;
    try {
      if (!index.log.isSound) await index.log.rewrite();
    } catch (error) {
      disk.indexFailed(error);
      return false;
    }
    disk.indexMended();
    return true;
  }

  /** @returns once all that the index says is on the disk. @throws if it could not be flushed */
  settled(): Promise<void> {
    return this.#guarded(() => this.commits.settled());
  }

  /** Notes an unexpected error as the disk's. @returns the error to answer with */
  refusal(error: unknown): unknown {
    return this.#parts.disk.refusal(error);
  }

  /** An unexpected error of an operation is the disk's: noted there, it starts the probe. */
  #guarded<T>(work: () => T): T {
    try {
      const done = work();
      if (!(done instanceof Promise)) return done;
      return done.catch((error) => {
        throw this.refusal(error);
      }) as T;
    } catch (error) {
      throw this.refusal(error);
    }
  }

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** False: gateways can begin no new chunk here. Open chunks, and orders to copy, are not affected. */
  set takesNew(takesNew: boolean) {
    this.#open.takesNew = takesNew;
  }

  /** As `OpenChunks.writeBlock`. */
  writeBlock(...block: Parameters<OpenChunks["writeBlock"]>): Promise<void> {
    return this.#guarded(() => this.#open.writeBlock(...block));
  }

  /** As `OpenChunks.sealWhole`. */
  sealWhole(...chunk: Parameters<OpenChunks["sealWhole"]>): Promise<void> {
    return this.#guarded(() => this.#open.sealWhole(...chunk));
  }

  /** As `OpenChunks.seal`. */
  seal(expected: Expected, blockSizeBytes: number): Promise<void> {
    return this.#guarded(() => this.#open.seal(expected, blockSizeBytes));
  }

  /** As `OpenChunks.abort`. */
  abort(chunkId: ChunkId): Promise<boolean> {
    return this.#guarded(() => this.#open.abort(chunkId));
  }

  /** As `OpenChunks.idle`. */
  idleOpenChunks(limit: number, idleAfterMs: number): ChunkId[] {
    return this.#open.idle(limit, idleAfterMs);
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** As `Reading.describe`. */
  describe(chunkId: ChunkId): ChunkDescription | null {
    return this.#guarded(() => this.#reading.describe(chunkId));
  }

  /** As `Reading.readBlocks`. */
  readBlocks(chunkId: ChunkId, first: number, count: number): BlockRead {
    return this.#guarded(() => this.#reading.readBlocks(chunkId, first, count));
  }

  /** As `Reading.holds`. */
  holds(expected: Expected): boolean {
    return this.#guarded(() => this.#reading.holds(expected));
  }

  /** As `Reading.holdsBlock`. */
  holdsBlock(...block: Parameters<Reading["holdsBlock"]>): boolean {
    return this.#reading.holdsBlock(...block);
  }

  /** Notes an order to copy a chunk that is here already. */
  async orderedAgain(chunkId: ChunkId, decidedAt: number): Promise<void> {
    await this.#guarded(() => this.commits.add(true, () => this.#parts.index.setCopyDecidedAt(chunkId, decidedAt)));
  }

  // ── checking and destroying ────────────────────────────────────────────────────────────────────────────────────

  /** As `Checking.verify`. */
  verify(...order: Parameters<Checking["verify"]>): Promise<Verdict> {
    return this.#guarded(() => this.#checking.verify(...order));
  }

  /** As `Checking.quarantine`. */
  quarantine(chunkId: ChunkId, problem: string): Promise<void> {
    return this.#guarded(() => this.#checking.quarantine(chunkId, problem));
  }

  /** As `Checking.recheck`. */
  recheck(afterMs: number): Promise<number> {
    return this.#guarded(() => this.#checking.recheck(afterMs));
  }

  /** As `Settling.catchUp`. */
  catchUp(): Promise<number> {
    return this.#guarded(() => this.#settling.catchUp());
  }

  /** Files were taken away: open chunks are given up, and rows follow. @returns how many rows changed */
  lostFiles(): Promise<number> {
    this.#open.lostFiles();
    return this.#guarded(() => this.#settling.settleAll());
  }

  /**
   * Checks what must hold of the store as a whole.
   *
   * @param everyRow too, some at a time
   */
  async audit(everyRow: boolean): Promise<void> {
    this.#open.audit();
    if (everyRow) await this.#parts.inventory.audit();
  }

  /** As `Trash.trash`. */
  trash(chunkIds: readonly ChunkId[], decidedAt: number): Promise<{ trashed: ChunkId[]; absent: ChunkId[] }> {
    return this.#guarded(() => this.#trash.trash(chunkIds, decidedAt));
  }

  /** As `Trash.sweep`. */
  sweep(keepMs: number, isShort: () => boolean): Promise<number> {
    return this.#guarded(() => this.#trash.sweep(keepMs, isShort));
  }

  /** Gives back to the file system a little of what the index does not need any more. */
  async shrinkIndex(): Promise<void> {
    const { index } = this.#parts;
    if (this.#guarded(() => index.isLoose)) await this.#guarded(() => this.commits.add(false, () => index.shrink()));
  }

  // ── what is reported to the leader ─────────────────────────────────────────────────────────────────────────────

  get usedBytes(): number {
    const { sealedBytes, trashBytes } = this.#parts.inventory.totals;
    return sealedBytes + trashBytes - this.#trash.sweptBytes + this.#open.bytes;
  }

  get totals(): { chunkCount: number; sealedBytes: number; trashBytes: number; openChunks: number; openBytes: number } {
    return { ...this.#parts.inventory.totals, openChunks: this.#open.count, openBytes: this.#open.bytes };
  }

  /** Awaits seals under way, throws other open chunks away, commits the changes that wait, and closes the index. */
  async close(): Promise<void> {
    await this.#open.close();
    await this.commits.quiet();
    this.#parts.index.close();
  }
}
