/** What the store says of its chunks, and their blocks as they lie there. */
import type { ChunkRow } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import type { ChunkDescription } from "../../messages/worker.ts";
import { blockCount } from "../../rules/byte-range.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";
import type { Checking } from "./checking.ts";
import type { OpenChunk } from "./open-chunk.ts";
import type { Settling } from "./settling.ts";
import { packCrcs, unpackCrcs } from "./shelves/chunk-file.ts";
import { type Bytes, fileBytes } from "./shelves/file-bytes.ts";
import type { Expected, StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

export interface BlockRead {
  body: Bytes;
  lengthBytes: number;
  /** One per block. */
  crcs: Uint32Array;
  blockSizeBytes: number;
}

export class Reading {
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  readonly #settling: Settling;
  readonly #checking: Checking;

  constructor(parts: StoreParts, open: OpenChunks, settling: Settling, checking: Checking) {
    this.#parts = parts;
    this.#open = open;
    this.#settling = settling;
    this.#checking = checking;
  }

  /** @returns null if nothing is known of the chunk */
  describe(chunkId: ChunkId): ChunkDescription | null {
    const chunk = this.#open.get(chunkId);
    if (chunk) return describeOpen(chunk);
    const row = this.#parts.index.find(chunkId);
    if (!row || row.state === "missing") return null;
    if (!this.#parts.shelves.of(row).has(chunkId)) {
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
    const chunk = this.#open.get(chunkId);
    if (chunk) return readOpen(chunk, first, count);
    const row = this.#parts.index.find(chunkId);
    const name = formatChunkId(chunkId);
    if (!row || row.state === "missing") throw new Refusal("NO_SUCH_CHUNK", `Chunk ${name} is not here`);
    if (row.state === "quarantined") throw new Refusal("CHUNK_CORRUPT", `The copy of chunk ${name} here is bad`);
    const blocks = blockCount(row.lengthBytes, row.blockSizeBytes);
    if (first >= blocks) throw new Refusal("INVALID_PARAMETER", `Chunk ${name} has ${blocks} blocks`);
    const start = first * row.blockSizeBytes;
    const end = Math.min(row.lengthBytes, (first + count) * row.blockSizeBytes);
    return {
      body: this.#bytesOf(row, start, end),
      lengthBytes: end - start,
      crcs: unpackCrcs(row.blockCrcs.subarray(4 * first, 4 * (first + count))),
      blockSizeBytes: row.blockSizeBytes,
    };
  }

  #bytesOf(row: ChunkRow, start: number, end: number): Bytes {
    const { value, flaw } = this.#parts.shelves.of(row).read(row, start, end);
    if (!flaw) return value;
    const name = formatChunkId(row.chunkId);
    if (flaw.kind === "bad") {
      this.#later(this.#checking.quarantine(row.chunkId, flaw.problem));
      throw new Refusal("CHUNK_CORRUPT", `The copy of chunk ${name} here is bad: ${flaw.problem}`);
    }
    this.#later(this.#settling.settle(row.chunkId));
    throw new Refusal("NO_SUCH_CHUNK", `Chunk ${name} should be here, but its bytes are gone`);
  }

  /** Whether a sealed copy of exactly this is here, as far as can be told without reading it. */
  holds({ chunkId, lengthBytes, crc32 }: Expected): boolean {
    const row = this.#parts.index.find(chunkId);
    if (row?.state !== "sealed" || row.lengthBytes !== lengthBytes || row.crc32 !== crc32) return false;
    return this.#parts.shelves.of(row).hasAll(row);
  }

  /** Whether the chunk is being written and has this block. */
  holdsBlock(chunkId: ChunkId, block: number, lengthBytes: number, crc32: number): boolean {
    return this.#open.get(chunkId)?.has(block, crc32, lengthBytes) ?? false;
  }

  /** For what a reader has found: the reader is answered without waiting for it. */
  #later(work: Promise<unknown>): void {
    work.catch((err) =>
      this.#parts.log.error(
        { event: "index-failed", err: this.#parts.disk.refusal(err) },
        "a chunk's new state could not be recorded",
      ),
    );
  }
}

function describeOpen(chunk: OpenChunk): ChunkDescription {
  const { chunkId, blockSizeBytes } = chunk;
  const { crcs, lengthBytes } = chunk.prefix();
  return {
    chunkId,
    state: "open",
    lengthBytes,
    crc32: crc32OfBlocks(crcs, lengthBytes, blockSizeBytes),
    blockSizeBytes,
    blockCrcs: packCrcs(crcs),
    sealedAt: null,
    verifiedAt: null,
  };
}

function readOpen(chunk: OpenChunk, first: number, count: number): BlockRead {
  const { blockSizeBytes } = chunk;
  const crcs: number[] = [];
  let lengthBytes = 0;
  for (let n = first; n < first + count && chunk.lengthOf(n) > 0; n++) {
    crcs.push(chunk.crcOf(n));
    lengthBytes += chunk.lengthOf(n);
    if (chunk.lengthOf(n) < blockSizeBytes) break;
  }
  if (crcs.length === 0) throw new Refusal("INVALID_PARAMETER", `Block ${first} has not been written`);
  const start = first * blockSizeBytes;
  return {
    body: fileBytes(chunk.part.path, start, start + lengthBytes),
    lengthBytes,
    crcs: Uint32Array.from(crcs),
    blockSizeBytes,
  };
}
