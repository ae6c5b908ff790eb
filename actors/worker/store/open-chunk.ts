/** A chunk while its blocks arrive: a part file, and in memory the list of its blocks. It does not outlive the process. */
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { blockCount } from "../../rules/byte-range.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";
import type { PartFile } from "./shelves/part-file.ts";

/** Offsets fit an unsigned 32-bit number, as does every length that a chunk may have. */
export const MAX_CHUNK_BYTES = 2 ** 32;

/** A block on its way into the file. */
export interface BlockWrite {
  crc32: number;
  lengthBytes: number;
  done: Promise<void>;
}

export class OpenChunk {
  lastTouchedAt: number;
  /** Of all blocks that are written or on their way. */
  claimedBytes = 0;
  unflushedBytes = 0;
  /** Log index of the order to copy it to here; 0: a gateway writes it. */
  copyDecidedAt = 0;
  flushing: Promise<void> | null = null;
  /** Set while it is being sealed: as what, and when that is done. */
  sealing: { lengthBytes: number; crc32: number; done: Promise<void> } | null = null;
  /** Set when it is thrown away: blocks that still wait for their turn are not written. */
  isGivenUp = false;
  /** By block number. */
  readonly writes = new Map<number, BlockWrite>();
  #failure: Error | null = null;
  #crcs = new Uint32Array(16);
  /** 0: the block is not there. */
  #lengths = new Uint32Array(16);

  constructor(
    readonly chunkId: ChunkId,
    readonly blockSizeBytes: number,
    readonly part: PartFile,
    now: number,
  ) {
    this.lastTouchedAt = now;
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

  /**
   * Makes room in the account for a block that is about to be written. What the block was before does not count any more,
   * since from now on its bytes may be anything.
   *
   * @returns by how many bytes the chunk grew
   */
  claim(block: number, lengthBytes: number): number {
    if (block >= this.#lengths.length) this.#grow(block + 1);
    const growth = lengthBytes - (this.#lengths[block] as number);
    this.#lengths[block] = 0;
    this.claimedBytes += growth;
    return growth;
  }

  /** A block could not be written. @returns by how many bytes the chunk grew */
  disclaim(lengthBytes: number): number {
    this.claimedBytes -= lengthBytes;
    return -lengthBytes;
  }

  /** Writes a block for which room was claimed. @returns how many bytes wait for a flush */
  async write(block: number, bytes: Uint8Array, crc32: number): Promise<number> {
    const unflushedBytes = await this.part.write(bytes, block * this.blockSizeBytes);
    this.#lengths[block] = bytes.length;
    this.#crcs[block] = crc32;
    return unflushedBytes;
  }

  /** @returns once no block is on its way to the file */
  async quiet(): Promise<void> {
    while (this.writes.size > 0) await Promise.allSettled([...this.writes.values()].map(({ done }) => done));
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
    if (this.claimedBytes !== lengthBytes)
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
}
