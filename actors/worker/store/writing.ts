/** The chunks being written: from their first block until they are sealed or given up. */
import type { ChunkRow } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { declareInvariant, type Invariant } from "../../rules/invariant.ts";
import { FlushQueue } from "./flush-queue.ts";
import { GivenUp } from "./given-up.ts";
import { MAX_CHUNK_BYTES, OpenChunk } from "./open-chunk.ts";
import { packCrcs, type Trailer, unpackCrcs } from "./shelves/chunk-file.ts";
import { rowOf } from "./shelves/trailer.ts";
import type { Expected, StoreParts } from "./store-parts.ts";
import { WriteQueue } from "./write-queue.ts";

const MAX_OPEN_CHUNKS = 1024;
const STORED = Promise.resolve();

const openBytesFit: Invariant = declareInvariant(
  "store: bytes being written are not negative, and none without a chunk",
);
const openBytesAreSum: Invariant = declareInvariant("store: bytes being written are the sum of the open chunks");

export class OpenChunks {
  readonly flushes = new FlushQueue();
  /** False: gateways can begin no new chunk here. Open chunks, and orders to copy, are not affected. */
  takesNew = true;
  readonly #parts: StoreParts;
  /** Bytes of all chunks here, for the configured capacity. */
  readonly #usedBytes: () => number;
  readonly #open = new Map<ChunkId, OpenChunk>();
  readonly #writes = new WriteQueue();
  readonly #givenUp: GivenUp;
  #openBytes = 0;

  constructor(parts: StoreParts, usedBytes: () => number) {
    this.#parts = parts;
    this.#usedBytes = usedBytes;
    this.#givenUp = new GivenUp(parts.now);
  }

  get(chunkId: ChunkId): OpenChunk | undefined {
    return this.#open.get(chunkId);
  }

  /** Whether more blocks of it may come. */
  isBeingWritten(chunkId: ChunkId): boolean {
    const chunk = this.#open.get(chunkId);
    return chunk !== undefined && !chunk.sealing;
  }

  get count(): number {
    return this.#open.size;
  }

  get bytes(): number {
    return this.#openBytes;
  }

  /**
   * Stores one block; its CRC has been checked. The same block twice is one block. Its bytes must stay as they are until
   * the promise has settled.
   *
   * @param copyDecidedAt log index of the order to copy this chunk, which may replace a trashed or quarantined copy; 0: a
   *   gateway writes it
   * @returns once the block is written, and there is room for more: a writer waits while the disk is behind
   * @throws CHUNK_SEALED, NO_SPACE, READ_ONLY, OVERLOADED, INVALID_PARAMETER
   */
  writeBlock(
    chunkId: ChunkId,
    block: number,
    blockSizeBytes: number,
    bytes: Uint8Array,
    crc32: number,
    copyDecidedAt = 0,
  ): Promise<void> {
    if (block * blockSizeBytes + bytes.length > MAX_CHUNK_BYTES)
      throw new Refusal("INVALID_PARAMETER", `Block ${block} lies beyond the ${MAX_CHUNK_BYTES} bytes of a chunk`);
    let chunk = this.#open.get(chunkId);
    if (!chunk) {
      this.#refuseIfGivenUp(chunkId, copyDecidedAt);
      const row = this.#rowOf(chunkId);
      if (row && !mayBeWritten(row, copyDecidedAt)) {
        if (row.state === "sealed" && sameBlock(row, block, bytes.length, crc32)) return STORED;
        throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(chunkId)} is ${row.state} here and does not change`);
      }
      this.#refuseIfDraining(copyDecidedAt);
      chunk = this.#begin(chunkId, blockSizeBytes);
    }
    chunk.lastTouchedAt = this.#parts.now();
    chunk.copyDecidedAt = Math.max(chunk.copyDecidedAt, copyDecidedAt);
    if (chunk.blockSizeBytes !== blockSizeBytes)
      throw new Refusal(
        "INVALID_PARAMETER",
        `Chunk ${formatChunkId(chunkId)} has blocks of ${chunk.blockSizeBytes} bytes, not ${blockSizeBytes}`,
      );
    if (chunk.has(block, crc32, bytes.length)) return STORED;
    const before = chunk.writes.get(block);
    if (before?.crc32 === crc32 && before.lengthBytes === bytes.length) return before.done;
    if (chunk.sealing)
      throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(chunkId)} is being sealed and does not change`);
    // Two writes to one place at once would leave it to chance which one stays.
    const again = () => this.writeBlock(chunkId, block, blockSizeBytes, bytes, crc32, copyDecidedAt);
    if (before) return before.done.then(again, again);
    try {
      chunk.throwIfFailed();
      this.#parts.disk.claim(this.#usedBytes(), bytes.length);
    } catch (error) {
      throw this.#parts.disk.refusal(error);
    }
    this.#grow(chunk.claim(block, bytes.length));
    const done = this.#writes
      .run(() => this.#write(chunk, block, bytes, crc32))
      .catch((error) => this.#unwritten(chunk, bytes.length, error))
      .finally(() => chunk.writes.delete(block));
    chunk.writes.set(block, { crc32, lengthBytes: bytes.length, done });
    return done.then(() => this.flushes.room());
  }

  async #write(chunk: OpenChunk, block: number, bytes: Uint8Array, crc32: number): Promise<void> {
    if (chunk.isGivenUp)
      throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(chunk.chunkId)} was given up meanwhile`);
    this.flushes.wrote(chunk, await chunk.write(block, bytes, crc32));
  }

  /** A block could not be written; the chunk's others are not affected. @throws the error for the sender */
  #unwritten(chunk: OpenChunk, lengthBytes: number, error: unknown): never {
    if (this.#open.get(chunk.chunkId) === chunk) {
      this.#grow(chunk.disclaim(lengthBytes));
      // Without its file it could never take a block: the next one begins it anew.
      if (chunk.part.isBroken) this.#takeOut(chunk);
    }
    throw this.#parts.disk.refusal(error);
  }

  /** The row of a chunk that is not being written. A sealed one whose bytes are gone is a missing one, and soon says so. */
  #rowOf(chunkId: ChunkId): ChunkRow | null {
    const { index, inventory, shelves } = this.#parts;
    const isGone = (row: ChunkRow | null) => row?.state === "sealed" && !shelves.of(row).has(chunkId);
    const row = index.find(chunkId);
    if (row === null || !isGone(row)) return row;
    inventory
      .change(false, (rows) => {
        if (isGone(rows.find(chunkId))) rows.setState(chunkId, "missing");
      })
      .catch(() => {}); // whoever asks next finds the same
    return { ...row, state: "missing" };
  }

  /** A block that arrives after its chunk was given up would open the chunk again, and no seal or abort would follow. */
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
      this.#parts.disk.admit(this.#usedBytes());
      const chunk = new OpenChunk(chunkId, blockSizeBytes, this.#parts.shelves.file.begin(chunkId), this.#parts.now());
      this.#open.set(chunkId, chunk);
      return chunk;
    } catch (error) {
      throw this.#parts.disk.refusal(error);
    }
  }

  /** Writes and seals, in one step, a chunk that is one block. Small ones go into the index, many of them per flush. */
  async sealWhole(expected: Expected, blockSizeBytes: number, bytes: Uint8Array, copyDecidedAt = 0): Promise<void> {
    const { chunkId, lengthBytes, crc32 } = expected;
    if (this.#parts.shelves.forNew(lengthBytes) === "inline")
      return this.#sealInline(expected, blockSizeBytes, bytes, copyDecidedAt);
    await this.writeBlock(chunkId, 0, blockSizeBytes, bytes, crc32, copyDecidedAt);
    return this.seal(expected, blockSizeBytes);
  }

  async #sealInline(expected: Expected, blockSizeBytes: number, bytes: Uint8Array, copyDecidedAt: number) {
    const { chunkId, lengthBytes, crc32 } = expected;
    this.#refuseIfGivenUp(chunkId, copyDecidedAt);
    this.#refuseIfDraining(copyDecidedAt);
    this.#parts.disk.admit(this.#usedBytes());
    this.#parts.disk.claim(this.#usedBytes(), lengthBytes);
    const sealedAt = this.#parts.now();
    const blockCrcs = packCrcs(Uint32Array.of(crc32));
    const row = { ...expected, state: "sealed", blockSizeBytes, blockCrcs, sealedAt, copyDecidedAt } as const;
    let before: ChunkRow | null = null;
    let stored = false;
    /** Set if blocks of the chunk came before: they are of no use any more. */
    let written: OpenChunk | undefined;
    try {
      await this.#parts.inventory.change(
        true,
        (rows) => {
          before = rows.find(chunkId);
          if (before && !mayBeWritten(before, copyDecidedAt)) {
            assertSame(before, expected);
            return;
          }
          written = this.#open.get(chunkId);
          if (written && !written.sealing) this.#takeOut(written);
          this.#parts.shelves.inline.put(rows, { ...row, verifiedAt: sealedAt }, bytes);
          stored = true;
        },
        lengthBytes,
      );
    } catch (error) {
      throw this.#parts.disk.refusal(error);
    } finally {
      if (written && !written.sealing) await this.#destroy(written);
    }
    if (stored) await this.#removeReplaced(before);
  }

  /**
   * Makes a chunk durable and final. Sent again, it answers the same.
   *
   * @throws NO_SUCH_CHUNK, CHUNK_INCOMPLETE, CHECKSUM_MISMATCH, CHUNK_SEALED (as something else), NO_SPACE, READ_ONLY
   */
  async seal(expected: Expected, blockSizeBytes: number): Promise<void> {
    const chunk = this.#open.get(expected.chunkId);
    if (!chunk) {
      const row = this.#rowOf(expected.chunkId);
      if (!row || row.state === "missing")
        throw new Refusal("NO_SUCH_CHUNK", `No block of chunk ${formatChunkId(expected.chunkId)} is here`);
      assertSame(row, expected);
      return this.#parts.inventory.commits.settled();
    }
    if (chunk.sealing) {
      if (chunk.sealing.lengthBytes !== expected.lengthBytes || chunk.sealing.crc32 !== expected.crc32)
        throw new Refusal("CHUNK_SEALED", `Chunk ${formatChunkId(expected.chunkId)} is being sealed as something else`);
      return chunk.sealing.done;
    }
    if (chunk.writes.size > 0) {
      await chunk.quiet();
      return this.seal(expected, blockSizeBytes);
    }
    const blockCrcs = chunk.complete(expected.lengthBytes, blockSizeBytes, expected.crc32);
    const done = this.#finish(chunk, { ...expected, blockSizeBytes, blockCrcs, sealedAt: this.#parts.now() });
    chunk.sealing = { lengthBytes: expected.lengthBytes, crc32: expected.crc32, done };
    return done;
  }

  async #finish(chunk: OpenChunk, trailer: Trailer): Promise<void> {
    try {
      await this.flushes.leave(chunk);
      chunk.throwIfFailed();
      await this.#parts.shelves.file.put(chunk.part, trailer);
      const row = rowOf(trailer, chunk.copyDecidedAt);
      let before: ChunkRow | null = null;
      // The trailer lacks `copyDecidedAt`; it must be durable, so that an older order to trash the copy is refused.
      await this.#parts.inventory.change(row.copyDecidedAt > 0, (rows) => {
        before = rows.find(row.chunkId);
        rows.put(row);
      });
      await this.#removeReplaced(before);
    } catch (error) {
      // After a failed flush it is unknown what is on the disk: this copy is lost. If that of its row failed, the file is whole.
      if (!this.#isRecorded(trailer)) await this.#parts.shelves.file.discard(chunk.part.path);
      throw this.#parts.disk.refusal(error);
    } finally {
      this.#takeOut(chunk);
      await chunk.part.close();
    }
  }

  #isRecorded({ chunkId, sealedAt }: Trailer): boolean {
    const row = this.#parts.index.find(chunkId);
    return row?.state === "sealed" && row.sealedAt === sealedAt;
  }

  #takeOut(chunk: OpenChunk): void {
    this.#open.delete(chunk.chunkId);
    this.#grow(-chunk.claimedBytes);
  }

  #grow(bytes: number): void {
    this.#openBytes += bytes;
    const [chunks, openBytes] = [this.#open.size, this.#openBytes];
    openBytesFit.check(openBytes >= 0 && (chunks > 0 || openBytes === 0), { chunks, openBytes });
  }

  /** Checks the sum over all chunks being written. */
  audit(): void {
    let sum = 0;
    for (const { claimedBytes } of this.#open.values()) sum += claimedBytes;
    openBytesAreSum.check(sum === this.#openBytes, { sum, openBytes: this.#openBytes });
  }

  async #removeReplaced(before: ChunkRow | null): Promise<void> {
    if (before) await this.#parts.shelves.of(before).removeReplaced(before);
  }

  /**
   * Throws an unsealed chunk away. For a while, blocks of it that are still on their way are refused.
   *
   * @returns false if the chunk is not open, or is being sealed
   */
  abort(chunkId: ChunkId): Promise<boolean> {
    this.#givenUp.add(chunkId);
    return this.discard(chunkId);
  }

  /** As `abort`, without the memory of it. @returns false if the chunk is not open, or is being sealed */
  async discard(chunkId: ChunkId): Promise<boolean> {
    const chunk = this.#open.get(chunkId);
    if (!chunk || chunk.sealing) return false;
    this.#takeOut(chunk);
    await this.#destroy(chunk);
    return true;
  }

  /** The file is removed last: it may be that it is only being opened, and so made. */
  async #destroy(chunk: OpenChunk): Promise<void> {
    chunk.isGivenUp = true;
    await chunk.quiet();
    await this.flushes.leave(chunk);
    await chunk.part.close();
    await this.#parts.shelves.file.discard(chunk.part.path);
  }

  /** The files of all open chunks are gone: these chunks can only be given up. */
  lostFiles(): void {
    for (const chunk of this.#open.values())
      chunk.fail(new Refusal("READ_ONLY", `The file of chunk ${formatChunkId(chunk.chunkId)} vanished`));
  }

  /** Unsealed chunks whose gateway has written nothing for `idleAfterMs`. Copies under way end by themselves. */
  idle(limit: number, idleAfterMs: number): ChunkId[] {
    const before = this.#parts.now() - idleAfterMs;
    const idle: ChunkId[] = [];
    for (const chunk of this.#open.values()) {
      if (idle.length === limit) break;
      if (!chunk.sealing && chunk.copyDecidedAt === 0 && chunk.writes.size === 0 && chunk.lastTouchedAt < before)
        idle.push(chunk.chunkId);
    }
    return idle;
  }

  /** Throws open chunks away. Seals under way are awaited first. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map((chunk) => chunk.sealing?.done));
    for (const chunkId of [...this.#open.keys()]) await this.discard(chunkId);
  }
}

/** Gateways and orders to copy may write a missing copy again, orders to copy also a trashed or quarantined one. */
const mayBeWritten = (row: ChunkRow, copyDecidedAt: number): boolean =>
  row.state === "missing" || (copyDecidedAt > 0 && row.state !== "sealed");

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
