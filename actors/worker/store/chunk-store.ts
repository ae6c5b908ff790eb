/**
 * The chunks of one worker: those being written, those sealed, the trash, the quarantine. All that touches chunk files is
 * here and in the files beside it.
 *
 * What a crash leaves. A part file is worthless and thrown away at the next start. A chunk file gets its name after its
 * bytes and trailer are flushed, so a file with a name is whole. The folder that a file lies in is its state; rows of the
 * index follow the files, at the latest at the next start. Only inline chunks live in the index alone, and their
 * transaction is flushed before anyone is told.
 */
import { closeSync, existsSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { type FileHandle, open as openHandle, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import type { ChunkIndex, ChunkRow, ChunkState } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import type { ChunkDescription } from "../../messages/worker.ts";
import type { Logger } from "../../node/log.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";
import {
  blockCount,
  decodeFooter,
  decodeTrailer,
  encodeTrailer,
  FOOTER_BYTES,
  packCrcs,
  type Trailer,
  trailerBytes,
  unpackCrcs,
} from "./chunk-file.ts";
import { ChunkFolders, type FiledState } from "./chunk-folders.ts";
import { DirectorySync, type Disk } from "./disk.ts";
import { FlushQueue, fdatasyncAsync } from "./flush-queue.ts";
import { GivenUp } from "./given-up.ts";
import { GroupCommit } from "./group-commit.ts";
import { MAX_CHUNK_BYTES, OpenChunk } from "./open-chunk.ts";

const MAX_OPEN_CHUNKS = 1024;
/** Quarantined copies read again in one go. */
const RECHECKED_AT_ONCE = 16;

export interface StoreOptions {
  directory: string;
  inlineChunkBytes: number;
  disk: Disk;
  log: Logger;
  now?: () => number;
  /** Opens a chunk file to read it back; the file system's own, if absent. */
  openFile?(path: string): Promise<FileHandle>;
}

/** What a chunk must come to. */
export interface Expected {
  chunkId: ChunkId;
  lengthBytes: number;
  crc32: number;
}

export interface BlockRead {
  body: Blob | Uint8Array<ArrayBuffer>;
  lengthBytes: number;
  crcs: Uint32Array;
  blockSizeBytes: number;
}

export type Verdict = "good" | "corrupt" | "missing";

export class ChunkStore {
  readonly folders: ChunkFolders;
  readonly commits: GroupCommit;
  readonly flushes = new FlushQueue();
  readonly #index: ChunkIndex;
  readonly #disk: Disk;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #inlineChunkBytes: number;
  readonly #directories = new DirectorySync();
  readonly #open = new Map<ChunkId, OpenChunk>();
  readonly #givenUp: GivenUp;
  readonly #openFile: (path: string) => Promise<FileHandle>;
  /** False: chunks being written go on, but gateways begin no new one here. */
  takesNew = true;
  #openBytes = 0;
  #totals = { chunkCount: 0, sealedBytes: 0, trashBytes: 0 };

  constructor(index: ChunkIndex, options: StoreOptions) {
    this.#index = index;
    this.#disk = options.disk;
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
    this.#givenUp = new GivenUp(this.#now);
    this.#openFile = options.openFile ?? ((path) => openHandle(path, "r"));
    this.#inlineChunkBytes = options.inlineChunkBytes;
    this.folders = new ChunkFolders(options.directory);
    this.folders.make();
    this.commits = new GroupCommit(index);
  }

  // ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes index and files agree. To be called once, before anything else. */
  async recover(): Promise<{
    partsDiscarded: number;
    adopted: number;
    damaged: number;
    moved: number;
    missing: number;
  }> {
    const found = { partsDiscarded: 0, adopted: 0, damaged: 0, moved: 0, missing: 0 };
    for (const directory of this.folders.roots) await this.#directories.sync(directory);
    found.partsDiscarded = await this.folders.discardParts();
    const filed = new Map<ChunkId, FiledState>();
    for await (const files of this.folders.files()) {
      const strangers: { chunkId: ChunkId; state: FiledState }[] = [];
      const moved: { chunkId: ChunkId; state: FiledState }[] = [];
      for (const file of files) {
        const seen = filed.get(file.chunkId);
        if (seen === undefined) filed.set(file.chunkId, file.state);
        else {
          // A new copy was sealed, and the crash came before the old one was removed; or it was moved a moment ago.
          if (seen !== file.state) rmSync(this.folders.file(file.chunkId, file.state));
          continue;
        }
        const row = this.#index.find(file.chunkId);
        if (!row) strangers.push(file);
        else if (!row.inline && row.state !== file.state) moved.push(file);
      }
      // Its process was killed before the name was flushed, perhaps: nobody may count on a copy that has none.
      for (const folder of new Set(strangers.map(({ chunkId, state }) => dirname(this.folders.file(chunkId, state)))))
        await this.#directories.sync(folder);
      for (const { chunkId, state } of strangers) {
        if (this.#adopt(chunkId, state)) found.adopted++;
        else {
          found.damaged++;
          if (state === "sealed") filed.set(chunkId, "quarantined");
        }
      }
      found.moved += moved.length;
      if (moved.length > 0)
        this.#index.transaction(false, () => {
          for (const { chunkId, state } of moved) this.#index.setState(chunkId, state, this.#now());
        });
    }
    for (let after = 0; ; ) {
      const rows = this.#index.filesAfter(after, 1000);
      const lost = rows.filter(({ chunkId }) => !filed.has(chunkId));
      if (lost.length > 0)
        this.#index.transaction(true, () => {
          for (const { chunkId } of lost) this.#index.setState(chunkId, "missing", this.#now());
        });
      found.missing += lost.length;
      const last = rows.at(-1);
      if (!last) break;
      after = last.chunkId;
    }
    this.#totals = this.#index.totals();
    return found;
  }

  /** A file without a row: its trailer says what it is, or it is quarantined as damaged. */
  #adopt(chunkId: ChunkId, state: FiledState): boolean {
    const path = this.folders.file(chunkId, state);
    const trailer = trailerOrProblem(path);
    const whole = typeof trailer !== "string" && trailer.chunkId === chunkId;
    if (!whole) {
      this.#log.warn(
        { event: "chunk-damaged", chunk: formatChunkId(chunkId), problem: trailer },
        "a chunk file without a good trailer was quarantined",
      );
      if (state === "sealed") renameSync(path, this.folders.file(chunkId, "quarantined"));
    }
    const row: ChunkRow = whole
      ? { ...rowOf(trailer, 0), state, verifiedAt: 0 }
      : {
          chunkId,
          state: state === "trash" ? "trash" : "quarantined",
          inline: false,
          lengthBytes: 0,
          crc32: 0,
          blockSizeBytes: 1,
          blockCrcs: new Uint8Array(),
          sealedAt: 0,
          verifiedAt: 0,
          copyDecidedAt: 0,
        };
    this.#index.transaction(false, () => this.#index.put(row));
    return whole;
  }

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Stores one block; its CRC has been checked. The same block twice is one block.
   *
   * @param copyDecidedAt log index of the order to copy this chunk, which may replace a trashed or quarantined copy; 0: no
   *   copy, a gateway's writing
   * @returns null when it is stored already, or a promise if the caller has to wait because the disk is behind
   * @throws CHUNK_SEALED, NO_SPACE, READ_ONLY, OVERLOADED, INVALID_PARAMETER
   */
  writeBlock(
    chunkId: ChunkId,
    block: number,
    blockSizeBytes: number,
    bytes: Uint8Array,
    crc32: number,
    copyDecidedAt = 0,
  ): Promise<void> | null {
    if (block * blockSizeBytes + bytes.length > MAX_CHUNK_BYTES)
      throw new Refusal("INVALID_PARAMETER", `Block ${block} lies beyond the ${MAX_CHUNK_BYTES} bytes of a chunk`);
    let chunk = this.#open.get(chunkId);
    if (!chunk) {
      this.#refuseIfGivenUp(chunkId, copyDecidedAt);
      const row = this.#index.find(chunkId);
      if (row && !mayBeWritten(row, copyDecidedAt)) {
        if (row.state === "sealed" && sameBlock(row, block, bytes.length, crc32)) return null;
        throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(chunkId)} is ${row.state} here and does not change`);
      }
      this.#refuseIfDraining(copyDecidedAt);
      chunk = this.#begin(chunkId, blockSizeBytes);
    }
    chunk.lastTouchedAt = this.#now();
    chunk.copyDecidedAt = Math.max(chunk.copyDecidedAt, copyDecidedAt);
    if (chunk.blockSizeBytes !== blockSizeBytes)
      throw new Refusal(
        "INVALID_PARAMETER",
        `Chunk ${formatChunkId(chunkId)} has blocks of ${chunk.blockSizeBytes} bytes, not ${blockSizeBytes}`,
      );
    if (chunk.has(block, crc32, bytes.length)) return null;
    if (chunk.sealing)
      throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(chunkId)} is being sealed and does not change`);
    try {
      chunk.throwIfFailed();
      this.#disk.claim(this.usedBytes, bytes.length);
      this.#openBytes += chunk.write(block, bytes, crc32);
    } catch (error) {
      throw this.#disk.refusal(error);
    }
    this.flushes.wrote(chunk, bytes.length);
    return this.flushes.room();
  }

  /** A block that comes after its chunk was given up would open it again, and nobody would ever close it. */
  #refuseIfGivenUp(chunkId: ChunkId, copyDecidedAt: number): void {
    if (copyDecidedAt === 0 && this.#givenUp.has(chunkId))
      throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(chunkId)} was given up and takes no more blocks`);
  }

  #refuseIfDraining(copyDecidedAt: number): void {
    if (copyDecidedAt === 0 && !this.takesNew) throw new Refusal("NOT_READY", "This worker takes no new chunks");
  }

  #begin(chunkId: ChunkId, blockSizeBytes: number): OpenChunk {
    if (this.#open.size >= MAX_OPEN_CHUNKS)
      throw new Refusal("OVERLOADED", `${this.#open.size} chunks are being written here already`);
    try {
      this.#disk.admit(this.usedBytes);
      const chunk = new OpenChunk(chunkId, blockSizeBytes, this.folders.part(chunkId), this.#now());
      this.#open.set(chunkId, chunk);
      return chunk;
    } catch (error) {
      throw this.#disk.refusal(error);
    }
  }

  /** A chunk that is one block, written and sealed in one step; small ones go into the index, many per flush. */
  async sealWhole(expected: Expected, blockSizeBytes: number, bytes: Uint8Array, copyDecidedAt = 0): Promise<void> {
    const { chunkId, lengthBytes, crc32 } = expected;
    if (lengthBytes > this.#inlineChunkBytes) {
      await this.writeBlock(chunkId, 0, blockSizeBytes, bytes, crc32, copyDecidedAt);
      return this.seal(expected, blockSizeBytes);
    }
    this.#refuseIfGivenUp(chunkId, copyDecidedAt);
    this.#refuseIfDraining(copyDecidedAt);
    this.#disk.admit(this.usedBytes);
    this.#disk.claim(this.usedBytes, lengthBytes);
    const sealedAt = this.#now();
    const blockCrcs = packCrcs(Uint32Array.of(crc32));
    let before: ChunkRow | null = null;
    let stored = false;
    try {
      await this.commits.add(true, () => {
        before = this.#index.find(chunkId);
        if (before && !mayBeWritten(before, copyDecidedAt)) {
          assertSame(before, expected);
          return;
        }
        this.#index.put(
          {
            chunkId,
            state: "sealed",
            inline: true,
            lengthBytes,
            crc32,
            blockSizeBytes,
            blockCrcs,
            sealedAt,
            verifiedAt: sealedAt,
            copyDecidedAt,
          },
          bytes,
        );
        stored = true;
      });
    } catch (error) {
      throw this.#disk.refusal(error);
    }
    if (!stored) return;
    this.#count(before, -1);
    this.#totals.chunkCount++;
    this.#totals.sealedBytes += lengthBytes;
    this.#removeOldFile(before);
    await this.#discard(chunkId);
  }

  /**
   * Makes a chunk durable and final. Sent again, it answers the same.
   *
   * @throws NO_SUCH_CHUNK, CHUNK_INCOMPLETE, CHECKSUM_MISMATCH, CHUNK_SEALED (as something else), NO_SPACE, READ_ONLY
   */
  async seal(expected: Expected, blockSizeBytes: number): Promise<void> {
    const chunk = this.#open.get(expected.chunkId);
    if (!chunk) {
      const row = this.#index.find(expected.chunkId);
      if (!row || row.state === "missing")
        throw new Refusal("NO_SUCH_CHUNK", `No block of chunk ${formatChunkId(expected.chunkId)} is here`);
      return assertSame(row, expected);
    }
    if (chunk.sealing) {
      if (chunk.sealing.lengthBytes !== expected.lengthBytes || chunk.sealing.crc32 !== expected.crc32)
        throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(expected.chunkId)} is being sealed as something else`);
      return chunk.sealing.done;
    }
    const blockCrcs = chunk.complete(expected.lengthBytes, blockSizeBytes, expected.crc32);
    const done = this.#finish(chunk, { ...expected, blockSizeBytes, blockCrcs, sealedAt: this.#now() });
    chunk.sealing = { lengthBytes: expected.lengthBytes, crc32: expected.crc32, done };
    return done;
  }

  async #finish(chunk: OpenChunk, trailer: Trailer): Promise<void> {
    const { chunkId, lengthBytes } = trailer;
    try {
      await this.flushes.leave(chunk);
      chunk.throwIfFailed();
      const bytes = encodeTrailer(trailer);
      for (let done = 0; done < bytes.length; )
        done += writeSync(chunk.file, bytes, done, bytes.length - done, lengthBytes + done);
      await fdatasyncAsync(chunk.file);
      const path = this.folders.file(chunkId, "sealed");
      await rename(chunk.path, path);
      chunk.path = path;
      await this.#directories.sync(dirname(path));
      const row = rowOf(trailer, chunk.copyDecidedAt);
      let before: ChunkRow | null = null;
      // The file tells all of it but the order that it was copied by, which older orders to trash it must meet.
      await this.commits.add(row.copyDecidedAt > 0, () => {
        before = this.#index.find(chunkId);
        this.#index.put(row);
      });
      this.#count(before, -1);
      this.#totals.chunkCount++;
      this.#totals.sealedBytes += lengthBytes;
      this.#removeOldFile(before);
    } catch (error) {
      // After a failed flush nobody knows what is on the disk: this copy is lost.
      rmSync(chunk.path, { force: true });
      throw this.#disk.refusal(error);
    } finally {
      this.#forget(chunk);
    }
  }

  #forget(chunk: OpenChunk): void {
    this.#open.delete(chunk.chunkId);
    this.#openBytes -= chunk.writtenBytes;
    chunk.close();
  }

  /** A copy took the place of one that lay in trash or quarantine. */
  #removeOldFile(before: ChunkRow | null): void {
    if (before && !before.inline && (before.state === "trash" || before.state === "quarantined"))
      rmSync(this.folders.file(before.chunkId, before.state), { force: true });
  }

  #count(row: ChunkRow | null, sign: 1 | -1): void {
    if (row?.state === "sealed") {
      this.#totals.chunkCount += sign;
      this.#totals.sealedBytes += sign * row.lengthBytes;
    } else if (row && row.state !== "missing") this.#totals.trashBytes += sign * row.lengthBytes;
  }

  /**
   * Throws an unsealed chunk away, and for a while refuses the blocks of it that are still on their way.
   *
   * @returns false if there is none, or it is being sealed
   */
  abort(chunkId: ChunkId): Promise<boolean> {
    this.#givenUp.add(chunkId);
    return this.#discard(chunkId);
  }

  async #discard(chunkId: ChunkId): Promise<boolean> {
    const chunk = this.#open.get(chunkId);
    if (!chunk || chunk.sealing) return false;
    this.#open.delete(chunkId);
    this.#openBytes -= chunk.writtenBytes;
    rmSync(chunk.path, { force: true });
    await this.flushes.leave(chunk);
    chunk.close();
    return true;
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @returns null if nothing is known of the chunk */
  describe(chunkId: ChunkId): ChunkDescription | null {
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
    const row = this.#index.find(chunkId);
    if (!row || row.state === "missing") return null;
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
    const row = this.#index.find(chunkId);
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
      const bytes = this.#index.inlineBytes(chunkId);
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
    this.#later(this.#markMissing(row));
    throw new Refusal("NO_SUCH_CHUNK", `Chunk ${name} should be here, but its bytes are gone`);
  }

  /** Whether a sealed copy of exactly this is here, as far as the index and the file's size tell. */
  holds({ chunkId, lengthBytes, crc32 }: Expected): boolean {
    const row = this.#index.find(chunkId);
    if (row?.state !== "sealed" || row.lengthBytes !== lengthBytes || row.crc32 !== crc32) return false;
    if (row.inline) return true;
    const size = statSync(this.folders.file(chunkId, "sealed"), { throwIfNoEntry: false })?.size;
    return size === lengthBytes + trailerBytes(blockCount(lengthBytes, row.blockSizeBytes));
  }

  /** Notes an order to copy a chunk that is here already. */
  async orderedAgain(chunkId: ChunkId, decidedAt: number): Promise<void> {
    await this.commits.add(true, () => this.#index.setCopyDecidedAt(chunkId, decidedAt));
  }

  /** Whether the chunk is being written and has this block. */
  holdsBlock(chunkId: ChunkId, block: number, lengthBytes: number, crc32: number): boolean {
    return this.#open.get(chunkId)?.has(block, crc32, lengthBytes) ?? false;
  }

  // ── checking ───────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Reads a sealed chunk back, block by block, and quarantines it if it is not what it should be.
   *
   * @param expected what the metadata says, if known; a whole copy of something else is corrupt too
   * @param pace awaited after each slice, with its bytes
   */
  async verify(
    chunkId: ChunkId,
    expected: Expected | null,
    pace: (bytes: number) => Promise<void> | null = () => null,
  ): Promise<Verdict> {
    await this.#open.get(chunkId)?.sealing?.done.catch(() => {});
    const row = this.#index.find(chunkId);
    if (!row || row.state === "missing" || row.state === "trash") return "missing";
    if (row.state === "quarantined") return "corrupt";
    const problem =
      expected && (expected.lengthBytes !== row.lengthBytes || expected.crc32 !== row.crc32)
        ? "length or checksum differ from what was committed"
        : await this.#problemOf(row, pace);
    const now = this.#index.find(chunkId);
    if (now?.state !== "sealed" || now.sealedAt !== row.sealedAt) return "missing";
    if (problem === null) {
      await this.commits.add(false, () => this.#index.setVerified(chunkId, this.#now()));
      return "good";
    }
    if (problem === "missing") {
      await this.#markMissing(row);
      return "missing";
    }
    await this.quarantine(chunkId, problem);
    return "corrupt";
  }

  async #problemOf(row: ChunkRow, pace: (bytes: number) => Promise<void> | null): Promise<string | null> {
    const crcs = unpackCrcs(row.blockCrcs);
    if (crc32OfBlocks(crcs, row.lengthBytes, row.blockSizeBytes) !== row.crc32)
      return "the block checksums do not combine into the chunk's";
    if (row.inline) {
      const bytes = this.#index.inlineBytes(row.chunkId);
      if (!bytes) return "missing";
      await pace(bytes.length);
      return bytes.length === row.lengthBytes && Bun.hash.crc32(bytes) === row.crc32 ? null : "the bytes changed";
    }
    const path = this.folders.file(row.chunkId, row.state as FiledState);
    const trailer = trailerOrProblem(path);
    if (typeof trailer === "string") return trailer;
    if (trailer.chunkId !== row.chunkId || trailer.crc32 !== row.crc32) return "the file is of another chunk";
    const file = await this.#openFile(path).catch(readProblem);
    if (typeof file === "string") return file;
    try {
      const buffer = new Uint8Array(Math.min(row.blockSizeBytes, row.lengthBytes));
      for (let n = 0; n < crcs.length; n++) {
        const offset = n * row.blockSizeBytes;
        const block = buffer.subarray(0, Math.min(row.blockSizeBytes, row.lengthBytes - offset));
        for (let done = 0; done < block.length; ) {
          const read = await file.read(block, done, block.length - done, offset + done).catch(readProblem);
          if (typeof read === "string") return read;
          if (read.bytesRead === 0) return `the file ends in block ${n}`;
          done += read.bytesRead;
        }
        if (Bun.hash.crc32(block) !== crcs[n]) return `block ${n} changed`;
        await pace(block.length);
      }
      return null;
    } finally {
      await file.close();
    }
  }

  /** Takes a bad copy out of service; the file is kept for people, the leader is told. */
  async quarantine(chunkId: ChunkId, problem: string): Promise<void> {
    const row = this.#index.find(chunkId);
    if (row?.state !== "sealed" && row?.state !== "trash") return;
    this.#log.warn(
      { event: "chunk-quarantined", chunk: formatChunkId(chunkId), problem },
      "a bad copy was quarantined",
    );
    if (row.state === "trash") return;
    if (!row.inline) {
      const [from, to] = [this.folders.file(chunkId, row.state), this.folders.file(chunkId, "quarantined")];
      try {
        await rename(from, to);
        await this.#directories.sync(dirname(to));
        await this.#directories.sync(dirname(from));
      } catch (error) {
        this.#log.error(
          { event: "quarantine-failed", err: this.#disk.refusal(error) },
          "a bad copy could not be moved",
        );
      }
    }
    await this.#changeState([row], "quarantined", true);
  }

  /**
   * Reads again what lies in quarantine: a disk, a cable or a controller that failed for a while took good copies there
   * with it. One that is whole is a copy again; the leader learns of it when inventories are compared.
   *
   * @param afterMs since it came there; after each reading that finds it bad, twice as long
   * @returns how many are copies again
   */
  async recheck(afterMs: number): Promise<number> {
    let restored = 0;
    for (const { chunkId } of this.#index.toRecheck(this.#now(), afterMs, RECHECKED_AT_ONCE)) {
      const row = this.#rowOfQuarantined(chunkId);
      const isWhole = row !== null && (await this.#problemOf(row, () => null)) === null;
      if (isWhole && (await this.#restore(row))) restored++;
      else await this.commits.add(false, () => this.#index.setVerified(chunkId, this.#now()));
    }
    return restored;
  }

  /** One whose trailer could not be read when its file was found may tell now what it is. */
  #rowOfQuarantined(chunkId: ChunkId): ChunkRow | null {
    const row = this.#index.find(chunkId);
    if (row?.state !== "quarantined" || row.lengthBytes > 0) return row?.state === "quarantined" ? row : null;
    const trailer = trailerOrProblem(this.folders.file(chunkId, "quarantined"));
    return typeof trailer === "string" || trailer.chunkId !== chunkId
      ? null
      : { ...rowOf(trailer, row.copyDecidedAt), state: "quarantined" };
  }

  async #restore(row: ChunkRow): Promise<boolean> {
    const { chunkId } = row;
    const now = this.#index.find(chunkId);
    if (this.#open.has(chunkId) || now?.state !== "quarantined" || now.sealedAt > row.sealedAt) return false;
    if (!row.inline) {
      const [from, to] = [this.folders.file(chunkId, "quarantined"), this.folders.file(chunkId, "sealed")];
      renameSync(from, to);
      await this.#directories.sync(dirname(to));
    }
    const sealed: ChunkRow = { ...row, state: "sealed", verifiedAt: this.#now() };
    let isRestored = false;
    await this.commits.add(true, () => {
      if (this.#index.find(chunkId)?.state !== "quarantined") return;
      this.#index.put(sealed, row.inline ? (this.#index.inlineBytes(chunkId) ?? undefined) : undefined);
      isRestored = true;
    });
    if (!isRestored) return false;
    this.#count(now, -1);
    this.#count(sealed, 1);
    this.#log.info({ event: "chunk-restored", chunk: formatChunkId(chunkId) }, "a quarantined copy is whole after all");
    return true;
  }

  /** For what a reader has found and does not wait for. */
  #later(work: Promise<void>): void {
    work.catch((error) =>
      this.#log.error({ event: "index-failed", err: this.#disk.refusal(error) }, "a finding was lost"),
    );
  }

  /** A file that lies in another folder is on its way there, and its row will follow. */
  async #markMissing(row: ChunkRow): Promise<void> {
    const elsewhere = (["trash", "quarantined"] as const).map((state) => this.folders.file(row.chunkId, state));
    if (!row.inline && row.state === "sealed" && elsewhere.some((path) => existsSync(path))) return;
    this.#log.warn({ event: "chunk-missing", chunk: formatChunkId(row.chunkId) }, "the bytes of a chunk are gone");
    await this.#changeState([row], "missing", true);
  }

  /** Rows that meanwhile changed their state are left alone. */
  async #changeState(rows: ChunkRow[], state: ChunkState, durable: boolean): Promise<void> {
    const changed: ChunkRow[] = [];
    await this.commits.add(durable, () => {
      for (const row of rows) {
        if (this.#index.find(row.chunkId)?.state !== row.state) continue;
        this.#index.setState(row.chunkId, state, this.#now());
        changed.push(row);
      }
    });
    for (const row of changed) {
      this.#count(row, -1);
      this.#count({ ...row, state }, 1);
    }
  }

  // ── trash ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Moves chunks to the trash, where they can be read until the sweep.
   *
   * @param decidedAt log index at which that was decided; chunks ordered here later than that stay, and are in no list
   */
  async trash(chunkIds: readonly ChunkId[], decidedAt: number): Promise<{ trashed: ChunkId[]; absent: ChunkId[] }> {
    if (this.#disk.failure) throw new Refusal("READ_ONLY", `The disk refuses writes: ${this.#disk.failure}`);
    const trashed: ChunkId[] = [];
    const absent: ChunkId[] = [];
    const rows: ChunkRow[] = [];
    for (const chunkId of new Set(chunkIds)) {
      if ((this.#open.get(chunkId)?.copyDecidedAt ?? 0) > decidedAt) continue;
      await this.#open.get(chunkId)?.sealing?.done.catch(() => {});
      const aborted = await this.abort(chunkId);
      const row = this.#index.find(chunkId);
      if (row?.state === "sealed" && row.copyDecidedAt > decidedAt) continue;
      if (!row || row.state === "missing") {
        (aborted ? trashed : absent).push(chunkId);
        continue;
      }
      trashed.push(chunkId);
      if (row.state !== "sealed") continue;
      try {
        if (!row.inline) await rename(this.folders.file(chunkId, "sealed"), this.folders.file(chunkId, "trash"));
        rows.push(row);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw this.#disk.refusal(error);
        if (existsSync(this.folders.file(chunkId, "trash"))) rows.push(row);
        else await this.#markMissing(row);
      }
    }
    if (rows.length > 0) await this.#changeState(rows, "trash", false);
    return { trashed, absent };
  }

  /**
   * Destroys what lies in trash and quarantine for longer than `keepMs`; earlier, longest first, while `isShort` says so.
   *
   * @returns chunks destroyed
   */
  async sweep(keepMs: number, isShort: () => boolean): Promise<number> {
    let destroyed = 0;
    for (;;) {
      const now = this.#now();
      const rows = this.#index.discarded(64);
      const doomed: typeof rows = [];
      /** Taken off the total already, so that `isShort` sees it; given back for what stays after all. */
      let bytesAhead = 0;
      try {
        for (const row of rows) {
          if (row.since + keepMs > now && !isShort()) break;
          if (!row.inline) await rm(this.folders.file(row.chunkId, row.state as FiledState), { force: true });
          this.#totals.trashBytes -= row.lengthBytes;
          bytesAhead += row.lengthBytes;
          doomed.push(row);
        }
        if (doomed.length === 0) return destroyed;
        let removedBytes = 0;
        await this.commits.add(false, () => {
          for (const { chunkId, state, lengthBytes } of doomed) {
            // A new copy may have been sealed in its place meanwhile.
            if (this.#index.find(chunkId)?.state !== state) continue;
            this.#index.remove(chunkId);
            removedBytes += lengthBytes;
          }
        });
        bytesAhead -= removedBytes;
      } finally {
        this.#totals.trashBytes += bytesAhead;
      }
      destroyed += doomed.length;
      if (doomed.length < rows.length) return destroyed;
    }
  }

  // ── what is told to the leader ─────────────────────────────────────────────────────────────────────────────────

  get usedBytes(): number {
    return this.#totals.sealedBytes + this.#totals.trashBytes + this.#openBytes;
  }

  get totals(): { chunkCount: number; sealedBytes: number; trashBytes: number; openChunks: number; openBytes: number } {
    return { ...this.#totals, openChunks: this.#open.size, openBytes: this.#openBytes };
  }

  /** Unsealed chunks of gateways that nobody has written to for so long. A copy under way looks after itself. */
  idleOpenChunks(limit: number, idleAfterMs: number): ChunkId[] {
    const before = this.#now() - idleAfterMs;
    const idle: ChunkId[] = [];
    for (const chunk of this.#open.values()) {
      if (idle.length === limit) break;
      if (!chunk.sealing && chunk.copyDecidedAt === 0 && chunk.lastTouchedAt < before) idle.push(chunk.chunkId);
    }
    return idle;
  }

  /** Ends what is being written and everything that waits for a commit; seals under way are waited for. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((chunk) => chunk.sealing?.done));
    for (const chunkId of [...this.#open.keys()]) await this.#discard(chunkId);
    this.commits.flush();
    this.#index.close();
  }
}

/** @returns the trailer, or in words what keeps it from being read; `missing` if there is no file */
function trailerOrProblem(path: string): Trailer | string {
  try {
    return readTrailer(path);
  } catch (error) {
    return readProblem(error);
  }
}

/** What an error of reading says of the copy; one that speaks of us and not of the copy is thrown on. */
function readProblem(error: unknown): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return "missing";
  if (["EIO", "EBADMSG", "EUCLEAN", "ENXIO"].includes(code)) return `it cannot be read: ${message}`;
  throw error;
}

/** Missing copies may be written again by anyone, trashed and quarantined ones by an order to copy. */
const mayBeWritten = (row: ChunkRow, copyDecidedAt: number): boolean =>
  row.state === "missing" || (copyDecidedAt > 0 && row.state !== "sealed");

const rowOf = (trailer: Trailer, copyDecidedAt: number): ChunkRow => ({
  chunkId: trailer.chunkId,
  state: "sealed",
  inline: false,
  lengthBytes: trailer.lengthBytes,
  crc32: trailer.crc32,
  blockSizeBytes: trailer.blockSizeBytes,
  blockCrcs: packCrcs(trailer.blockCrcs),
  sealedAt: trailer.sealedAt,
  verifiedAt: trailer.sealedAt,
  copyDecidedAt,
});

function sameBlock(row: ChunkRow, block: number, lengthBytes: number, crc32: number): boolean {
  const length = Math.min(row.blockSizeBytes, row.lengthBytes - block * row.blockSizeBytes);
  return length === lengthBytes && unpackCrcs(row.blockCrcs.subarray(4 * block, 4 * block + 4))[0] === crc32;
}

function assertSame(row: ChunkRow, { chunkId, lengthBytes, crc32 }: Expected): void {
  const name = formatChunkId(chunkId);
  if (row.state === "quarantined") throw new Refusal("CHUNK_CORRUPT", `The copy of chunk ${name} here is bad`);
  if (row.state !== "sealed" || row.lengthBytes !== lengthBytes || row.crc32 !== crc32)
    throw new Refusal("CHUNK_SEALED", `Chunk ${name} is ${row.state} here, and not as what was asked`, {
      lengthBytes: row.lengthBytes,
      crc32: row.crc32,
    });
}

/** @returns in words what is wrong with it. Throws what the file system throws. */
export function readTrailer(path: string): Trailer | string {
  const file = openSync(path, "r");
  try {
    const { size } = statSync(path);
    const footerBytes = new Uint8Array(FOOTER_BYTES);
    const got = readSync(file, footerBytes, 0, FOOTER_BYTES, Math.max(0, size - FOOTER_BYTES));
    const footer = decodeFooter(footerBytes.subarray(0, got), size);
    if (typeof footer === "string") return footer;
    const crcBytes = new Uint8Array(size - footer.lengthBytes - FOOTER_BYTES);
    readSync(file, crcBytes, 0, crcBytes.length, footer.lengthBytes);
    return decodeTrailer(footer, crcBytes);
  } finally {
    closeSync(file);
  }
}
