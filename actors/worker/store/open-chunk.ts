/** A chunk while its blocks arrive: a part file, and in memory the list of its blocks. It does not outlive the process. */
import { closeSync, openSync, writeSync } from "node:fs";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { blockCount } from "../../rules/byte-range.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";

/** Offsets fit an unsigned 32-bit number, as does every length that a chunk may have. */
export const MAX_CHUNK_BYTES = 2 ** 32;

export class OpenChunk {
  readonly file: number;
  lastTouchedAt: number;
  writtenBytes = 0;
  unflushedBytes = 0;
  /** Log index of the order to copy it to here; 0: a gateway writes it. */
  copyDecidedAt = 0;
  flushing: Promise<void> | null = null;
  /** Set while it is being sealed: as what, and when that is done. */
  sealing: { lengthBytes: number; crc32: number; done: Promise<void> } | null = null;
  #failure: Error | null = null;
  #crcs = new Uint32Array(16);
  /** 0: the block is not there. */
  #lengths = new Uint32Array(16);

  constructor(
    readonly chunkId: ChunkId,
    readonly blockSizeBytes: number,
    /** Where the bytes lie; moves when the chunk is sealed. */
    public path: string,
    now: number,
  ) {
    this.lastTouchedAt = now;
    this.file = openSync(path, "w+", 0o600);
  }

  /** A flush failed: written bytes may be gone, and the kernel reports that only once. */
  fail(error: unknown): void {
    this.#failure ??= error as Error;
  }

  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  has(block: number, crc32: number, lengthBytes: number): boolean {
    return this.#lengths[block] === lengthBytes && this.#crcs[block] === crc32;
  }

  lengthOf(block: number): number {
    return this.#lengths[block] ?? 0;
  }

  crcOf(block: number): number {
    return this.#crcs[block] as number;
  }

  /** @returns by how many bytes the chunk grew */
  write(block: number, bytes: Uint8Array, crc32: number): number {
    const offset = block * this.blockSizeBytes;
    for (let done = 0; done < bytes.length; )
      done += writeSync(this.file, bytes, done, bytes.length - done, offset + done);
    if (block >= this.#lengths.length) this.#grow(block + 1);
    const growth = bytes.length - (this.#lengths[block] as number);
    this.#lengths[block] = bytes.length;
    this.#crcs[block] = crc32;
    this.writtenBytes += growth;
    return growth;
  }

  #grow(blocks: number): void {
    const size = Math.max(blocks, 2 * this.#lengths.length);
    const [crcs, lengths] = [this.#crcs, this.#lengths];
    this.#crcs = new Uint32Array(size);
    this.#lengths = new Uint32Array(size);
    this.#crcs.set(crcs);
    this.#lengths.set(lengths);
  }

  /**
   * @returns the CRCs of all blocks of a chunk of that length
   * @throws CHUNK_INCOMPLETE, naming the first block that is absent or has another length; CHECKSUM_MISMATCH
   */
  complete(lengthBytes: number, blockSizeBytes: number, crc32: number): Uint32Array {
    const name = formatChunkId(this.chunkId);
    if (blockSizeBytes !== this.blockSizeBytes)
      throw new Refusal(
        "CHUNK_INCOMPLETE",
        `Chunk ${name} was written in blocks of ${this.blockSizeBytes} bytes, not ${blockSizeBytes}`,
      );
    const blocks = blockCount(lengthBytes, blockSizeBytes);
    for (let n = 0; n < blocks; n++) {
      const expected = Math.min(blockSizeBytes, lengthBytes - n * blockSizeBytes);
      if (this.lengthOf(n) !== expected)
        throw new Refusal(
          "CHUNK_INCOMPLETE",
          `Block ${n} of chunk ${name} has ${this.lengthOf(n)} bytes, ${expected} are needed`,
          { block: n },
        );
    }
    if (this.writtenBytes !== lengthBytes)
      throw new Refusal("CHUNK_INCOMPLETE", `Chunk ${name} has blocks beyond its length of ${lengthBytes} bytes`, {
        block: blocks,
      });
    const crcs = this.#crcs.slice(0, blocks);
    const combined = crc32OfBlocks(crcs, lengthBytes, blockSizeBytes);
    if (combined !== crc32)
      throw new Refusal("CHECKSUM_MISMATCH", `The blocks of chunk ${name} combine to another checksum`, {
        expected: crc32,
        actual: combined,
      });
    return crcs;
  }

  /** The blocks from 0 on without a gap. */
  prefix(): { crcs: Uint32Array; lengthBytes: number } {
    let blocks = 0;
    let lengthBytes = 0;
    while (this.lengthOf(blocks) > 0) lengthBytes += this.lengthOf(blocks++);
    return { crcs: this.#crcs.slice(0, blocks), lengthBytes };
  }

  close(): void {
    closeSync(this.file);
  }
}
