/**
 * The chunks of one worker: those being written, those sealed, the trash, the quarantine. All that touches chunk files is
 * here and in the files beside it.
 *
 * What a crash leaves. A part file is worthless and thrown away at the next start. A chunk file gets its name after its
 * bytes and trailer are flushed, so a file with a name is whole. The folder that a file lies in is its state; rows of the
 * index follow the files, at the latest at the next start. Only inline chunks live in the index alone, and their
 * transaction is flushed before anyone is told.
 */
import { statSync } from "node:fs";
import { type FileHandle, open as openHandle } from "node:fs/promises";
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import type { ChunkDescription } from "../../messages/worker.ts";
import type { Logger } from "../../node/log.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";
import { Checking, type Verdict } from "./checking.ts";
import { DirectorySync, type Disk } from "./disk.ts";
import type { FlushQueue } from "./flush-queue.ts";
import type { GroupCommit } from "./group-commit.ts";
import { Inventory } from "./inventory.ts";
import { Settling } from "./settling.ts";
import { blockCount, packCrcs, trailerBytes, unpackCrcs } from "./shelves/chunk-file.ts";
import { ChunkFolders } from "./shelves/chunk-folders.ts";
import { type Recovered, recover } from "./shelves/file-recovery.ts";
import type { Expected, StoreParts } from "./store-parts.ts";
import { Trash } from "./trash.ts";
import { OpenChunks } from "./writing.ts";

export interface StoreOptions {
  directory: string;
  inlineChunkBytes: number;
  disk: Disk;
  log: Logger;
  now?: () => number;
  /** Opens a chunk file to read it back; the file system's own, if absent. */
  openFile?(path: string): Promise<FileHandle>;
}

export interface BlockRead {
  body: Blob | Uint8Array<ArrayBuffer>;
  lengthBytes: number;
  crcs: Uint32Array;
  blockSizeBytes: number;
}

export class ChunkStore {
  readonly folders: ChunkFolders;
  readonly commits: GroupCommit;
  readonly flushes: FlushQueue;
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  readonly #settling: Settling;
  readonly #checking: Checking;
  readonly #trash: Trash;

  constructor(index: ChunkIndex, options: StoreOptions) {
    const now = options.now ?? Date.now;
    this.folders = new ChunkFolders(options.directory);
    this.folders.make();
    this.#parts = {
      index,
      inventory: new Inventory(index, now, (chunkId) => this.#open.isBeingWritten(chunkId)),
      folders: this.folders,
      directories: new DirectorySync(),
      disk: options.disk,
      log: options.log,
      now,
      openFile: options.openFile ?? ((path) => openHandle(path, "r")),
    };
    this.commits = this.#parts.inventory.commits;
    this.#open = new OpenChunks(this.#parts, options.inlineChunkBytes, () => this.usedBytes);
    this.flushes = this.#open.flushes;
    this.#settling = new Settling(this.#parts, this.#open);
    this.#checking = new Checking(this.#parts, this.#open, this.#settling);
    this.#trash = new Trash(this.#parts, this.#open, this.#settling);
  }

  /** Makes index and files agree. To be called once, before anything else. */
  async recover(): Promise<Recovered> {
    const found = await recover(this.#parts);
    this.#parts.inventory.recount();
    return found;
  }

  /** Notes an unexpected error as the disk's. @returns what to tell whoever asked */
  refusal(error: unknown): unknown {
    return this.#parts.disk.refusal(error);
  }

  /** Whatever an operation throws unexpectedly is the disk's: noted there, it starts the probe. */
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

  /** False: chunks being written go on, but gateways begin no new one here. */
  set takesNew(takesNew: boolean) {
    this.#open.takesNew = takesNew;
  }

  /** As `OpenChunks.writeBlock`. */
  writeBlock(...block: Parameters<OpenChunks["writeBlock"]>): Promise<void> | null {
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

  /** @returns null if nothing is known of the chunk */
  describe(chunkId: ChunkId): ChunkDescription | null {
    return this.#guarded(() => this.#describe(chunkId));
  }

  #describe(chunkId: ChunkId): ChunkDescription | null {
    const chunk = this.#open.get(chunkId);
    if (chunk) {
      const { crcs, lengthBytes } = chunk.prefix();
      return {
        chunkId,
        state: "open",
        lengthBytes,
        crc32: crc32OfBlocks(crcs, lengthBytes, chunk.blockSizeBytes),
        blockSizeBytes: chunk.blockSizeBytes,
        blockCrcs: packCrcs(crcs),
        sealedAt: null,
        verifiedAt: null,
      };
    }
    const row = this.#parts.index.find(chunkId);
    if (!row || row.state === "missing") return null;
    if (!row.inline && this.folders.whereIs(chunkId) === null) {
      this.#later(this.#settling.settle(chunkId));
      return null;
    }
    return {
      chunkId,
      state: row.state,
      lengthBytes: row.lengthBytes,
      crc32: row.crc32,
      blockSizeBytes: row.blockSizeBytes,
      blockCrcs: row.blockCrcs,
      sealedAt: row.sealedAt,
      verifiedAt: row.verifiedAt || null,
    };
  }

  /**
   * Blocks as they lie on the disk: the reader checks them.
   *
   * @param count how many; fewer at the chunk's end
   * @throws NO_SUCH_CHUNK, CHUNK_CORRUPT (quarantined), INVALID_PARAMETER (no such block)
   */
  readBlocks(chunkId: ChunkId, first: number, count: number): BlockRead {
    return this.#guarded(() => this.#readBlocks(chunkId, first, count));
  }

  #readBlocks(chunkId: ChunkId, first: number, count: number): BlockRead {
    const chunk = this.#open.get(chunkId);
    if (chunk) {
      const crcs: number[] = [];
      let lengthBytes = 0;
      for (let n = first; n < first + count && chunk.lengthOf(n) > 0; n++) {
        crcs.push(chunk.crcOf(n));
        lengthBytes += chunk.lengthOf(n);
        if (chunk.lengthOf(n) < chunk.blockSizeBytes) break;
      }
      if (crcs.length === 0) throw new Refusal("INVALID_PARAMETER", `Block ${first} has not been written`);
      const start = first * chunk.blockSizeBytes;
      return {
        body: Bun.file(chunk.path).slice(start, start + lengthBytes),
        lengthBytes,
        crcs: Uint32Array.from(crcs),
        blockSizeBytes: chunk.blockSizeBytes,
      };
    }
    const row = this.#parts.index.find(chunkId);
    const name = formatChunkId(chunkId);
    if (!row || row.state === "missing") throw new Refusal("NO_SUCH_CHUNK", `Chunk ${name} is not here`);
    if (row.state === "quarantined") throw new Refusal("CHUNK_CORRUPT", `The copy of chunk ${name} here is bad`);
    const blocks = blockCount(row.lengthBytes, row.blockSizeBytes);
    if (first >= blocks) throw new Refusal("INVALID_PARAMETER", `Chunk ${name} has ${blocks} blocks`);
    const start = first * row.blockSizeBytes;
    const end = Math.min(row.lengthBytes, (first + count) * row.blockSizeBytes);
    const crcs = unpackCrcs(row.blockCrcs.subarray(4 * first, 4 * (first + count)));
    const read = { lengthBytes: end - start, crcs, blockSizeBytes: row.blockSizeBytes };
    if (row.inline) {
      const bytes = this.#parts.index.inlineBytes(chunkId);
      if (bytes) return { ...read, body: bytes.subarray(start, end) };
    } else {
      let path = this.folders.file(chunkId, row.state);
      let onDisk = statSync(path, { throwIfNoEntry: false });
      if (!onDisk && row.state === "sealed") {
        // On its way to the trash the file moves first, and the row follows.
        path = this.folders.file(chunkId, "trash");
        onDisk = statSync(path, { throwIfNoEntry: false });
      }
      if (onDisk && onDisk.size >= row.lengthBytes) return { ...read, body: Bun.file(path).slice(start, end) };
      if (onDisk) {
        this.#later(
          this.quarantine(chunkId, `the file has ${onDisk.size} bytes, less than the chunk's ${row.lengthBytes}`),
        );
        throw new Refusal("CHUNK_CORRUPT", `The copy of chunk ${name} here is cut short`);
      }
    }
    this.#later(this.#settling.settle(chunkId));
    throw new Refusal("NO_SUCH_CHUNK", `Chunk ${name} should be here, but its bytes are gone`);
  }

  /** Whether a sealed copy of exactly this is here, as far as the index and the file's size tell. */
  holds(expected: Expected): boolean {
    return this.#guarded(() => this.#holds(expected));
  }

  #holds({ chunkId, lengthBytes, crc32 }: Expected): boolean {
    const row = this.#parts.index.find(chunkId);
    if (row?.state !== "sealed" || row.lengthBytes !== lengthBytes || row.crc32 !== crc32) return false;
    if (row.inline) return true;
    const size = statSync(this.folders.file(chunkId, "sealed"), { throwIfNoEntry: false })?.size;
    return size === lengthBytes + trailerBytes(blockCount(lengthBytes, row.blockSizeBytes));
  }

  /** Notes an order to copy a chunk that is here already. */
  async orderedAgain(chunkId: ChunkId, decidedAt: number): Promise<void> {
    await this.#guarded(() => this.commits.add(true, () => this.#parts.index.setCopyDecidedAt(chunkId, decidedAt)));
  }

  /** Whether the chunk is being written and has this block. */
  holdsBlock(chunkId: ChunkId, block: number, lengthBytes: number, crc32: number): boolean {
    return this.#open.get(chunkId)?.has(block, crc32, lengthBytes) ?? false;
  }

  /** For what a reader has found and does not wait for. */
  #later(work: Promise<unknown>): void {
    work.catch((err) =>
      this.#parts.log.error(
        { event: "index-failed", err: this.#parts.disk.refusal(err) },
        "a chunk's new state could not be recorded",
      ),
    );
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

  /** Files were taken away: rows say so, and what is being written is given up. @returns how many rows changed */
  lostFiles(): Promise<number> {
    this.#open.lostFiles();
    return this.#guarded(() => this.#settling.settleAll());
  }

  /**
   * Checks what must hold of the store as a whole.
   *
   * @param everyRow too, which takes a while where there are very many
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

  // ── what is told to the leader ─────────────────────────────────────────────────────────────────────────────────

  get usedBytes(): number {
    const { sealedBytes, trashBytes } = this.#parts.inventory.totals;
    return sealedBytes + trashBytes - this.#trash.sweptBytes + this.#open.bytes;
  }

  get totals(): { chunkCount: number; sealedBytes: number; trashBytes: number; openChunks: number; openBytes: number } {
    return { ...this.#parts.inventory.totals, openChunks: this.#open.count, openBytes: this.#open.bytes };
  }

  /** Ends what is being written and everything that waits for a commit; seals under way are waited for. */
  async close(): Promise<void> {
    await this.#open.close();
    this.commits.flush();
    this.#parts.index.close();
  }
}
