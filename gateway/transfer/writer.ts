/**
 * Takes a body apart into blocks and chunks and writes them. Blocks are read, summed and sent in one stream, a bounded
 * number at a time; while a chunk is being flushed to disk, the next one's blocks already flow.
 */

import type { StoredChunk } from "../../actors/messages/chunk.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { declareWork } from "../../actors/node/watchdog/current-work.ts";
import { combineCrc32 } from "../../actors/rules/crc32.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";
import type { Copies, Grants, PlacedChunk } from "../nodes/grants.ts";
import type { MasterClient } from "../nodes/master-client.ts";
import type { WorkerClients } from "../nodes/worker-client.ts";
import type { Bytes, HashName } from "../ports/transfers.ts";
import type { BodyReader } from "./body-reader.ts";
import type { BlockBuffers, BufferShare } from "./buffers.ts";
import { ChunkWriter } from "./chunk-writer.ts";
import type { UploadEvent } from "./upload.machine.ts";

const chunksAreInOrder: Invariant = declareInvariant("uploads: each chunk begins where the one before ends");
const sizeIsSumOfChunks: Invariant = declareInvariant("uploads: the size is the sum of the chunks");

const MAX_SEALING = 2;
/** How long a failed upload waits for its last requests to end by themselves. */
const CANCEL_AFTER_MS = 500;
/** The machine gets one event for this many blocks. */
const BLOCKS_PER_REPORT = 64;

const writing = declareWork("upload");

export interface WriterTools {
  masters: MasterClient;
  workers: WorkerClients;
  grants: Grants;
  buffers: BlockBuffers;
  config: Pick<Config, "route" | "blocksInFlight" | "blockSizeBytes">;
}

export interface BodyPlan {
  copies: Copies;
  /** A multiple of the block size. */
  chunkSizeBytes: number;
  /** Digests of the whole body to compute on the way. */
  hashes: readonly HashName[];
  /** true: what arrived of a body that breaks off is kept. */
  keepPartial: boolean;
  tell(event: UploadEvent): void;
  onBytes(bytes: number): void;
  /** Chunks in the order of the file, each once it is sealed; the next is handed over when this has ended. */
  onSealed(chunk: StoredChunk, placed: PlacedChunk): Promise<void>;
  onWorkerLost(): void;
}

export interface WrittenBody {
  sizeBytes: number;
  crc32: number;
  /** Hex, of those that the plan wants. */
  hashes: ReadonlyMap<HashName, string>;
  /** Why the body ended early, if it did and that was allowed. */
  brokeOff: Error | null;
}

/** One block of the body: its bytes in a buffer of the upload's share. */
class Block {
  readonly #share: BufferShare;
  #buffer: Bytes | null = null;
  #lengthBytes = 0;

  constructor(share: BufferShare) {
    this.#share = share;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }
  get bytes(): Bytes {
    return (this.#buffer as Bytes).subarray(0, this.#lengthBytes);
  }

  /**
   * Takes up to `mostBytes` of the body. A client that has sent nothing costs no memory, one that has sent little costs little.
   *
   * @throws as the body's `fill`; what came before is kept
   */
  async fill(body: BodyReader, mostBytes: number): Promise<void> {
    if (await body.atEnd()) return;
    const stageBytes = Math.min(mostBytes, this.#share.stageBytes);
    if (stageBytes === mostBytes || body.atHandBytes < stageBytes) {
      await this.#fillUp(this.#share.stage(stageBytes), body);
      if (this.#lengthBytes === mostBytes || (await body.atEnd())) return;
    }
    await this.#fillUp(await this.#share.take(mostBytes, body.failed), body);
  }

  /** Goes on in this buffer with what is in the one before. */
  async #fillUp(buffer: Bytes, body: BodyReader): Promise<void> {
    if (this.#buffer) {
      buffer.set(this.bytes);
      this.#share.give(this.#buffer);
    }
    this.#buffer = buffer;
    await body.fill(buffer.subarray(this.#lengthBytes), (bytes) => {
      this.#lengthBytes += bytes;
    });
  }

  /** Gives its buffer back; a second call does nothing. */
  release(): void {
    if (this.#buffer) this.#share.give(this.#buffer);
    this.#buffer = null;
  }
}

interface OpenChunk {
  /** Offset of its first byte in the body. */
  start: number;
  writer: ChunkWriter;
  placed: PlacedChunk;
  sending: Promise<void>[];
}

export class BodyWriter {
  readonly #tools: WriterTools;
  readonly #plan: BodyPlan;
  readonly #body: BodyReader;
  readonly #share: BufferShare;
  readonly #hashers: ReadonlyMap<HashName, Bun.CryptoHasher>;
  readonly #blocks = new Set<Block>();
  readonly #sending = new Set<Promise<void>>();
  /** Seals under way, in the order of the file. */
  readonly #sealing: Promise<void>[] = [];
  readonly #chunks = new Set<OpenChunk>();
  #failure: Error | null = null;
  #brokeOff: Error | null = null;
  #crc32 = 0;
  #sizeBytes = 0;
  /** In chunks that are sealed and handed over. */
  #handedOverBytes = 0;
  #unreported = { blocks: 0, bytes: 0 };

  constructor(tools: WriterTools, plan: BodyPlan, body: BodyReader) {
    this.#tools = tools;
    this.#plan = plan;
    this.#body = body;
    this.#share = tools.buffers.share();
    body.onHeld = (bytes) => this.#share.arrived(bytes);
    this.#hashers = new Map(plan.hashes.map((name) => [name, new Bun.CryptoHasher(name)]));
  }

  /**
   * Writes the whole body. When it throws, no request is under way, every buffer is back, and the workers were asked to
   * discard the chunks.
   *
   * @throws BODY_INCOMPLETE, INVALID_BODY, TOO_FEW_REPLICAS, NOT_ENOUGH_WORKERS, NO_LEADER, and what `onSealed` throws
   */
  async run(): Promise<WrittenBody> {
    try {
      await this.#writeAll();
      sizeIsSumOfChunks.check(this.#sizeBytes === this.#handedOverBytes, {
        sizeBytes: this.#sizeBytes,
        chunkBytes: this.#handedOverBytes,
      });
      return {
        sizeBytes: this.#sizeBytes,
        crc32: this.#crc32,
        hashes: new Map([...this.#hashers].map(([name, hasher]) => [name, hasher.digest("hex")])),
        brokeOff: this.#brokeOff,
      };
    } catch (error) {
      this.#fail(error as Error);
      throw this.#failure;
    } finally {
      await this.#settle();
      this.#body.release();
    }
  }

  async #writeAll(): Promise<void> {
    const { blocksInFlight } = this.#tools.config;
    let block = await this.#fill();
    if (block && (await this.#isAtEnd())) return this.#writeOneBlock(block);
    while (block) {
      const chunk = this.#begin(await this.#place(), this.#sizeBytes, "CHUNK_PLACED");
      do {
        writing.begins();
        this.#send(chunk, block);
        if (this.#sending.size >= blocksInFlight) await Promise.race(this.#sending);
        this.#assertGoingOn();
        block = await this.#fill();
      } while (block && chunk.writer.lengthBytes < this.#plan.chunkSizeBytes);
      await this.#seal(chunk);
    }
    this.#endOfBody();
    await Promise.all(this.#sealing);
    this.#assertGoingOn();
  }

  /** All of it fits one block: placed from the pool, written and sealed in one request to each worker. */
  async #writeOneBlock(block: Block): Promise<void> {
    const { grants, config } = this.#tools;
    const crc32 = this.#count(block);
    for (let attempt = 1; ; attempt++) {
      const placed = await grants.placeSmall(config.blockSizeBytes, this.#plan.copies);
      const chunk = this.#begin(placed, 0, attempt === 1 ? "CHUNK_PLACED" : "CHUNK_MOVED");
      if (attempt === 1) this.#endOfBody();
      try {
        await this.#handOver(chunk, await chunk.writer.writeWhole(block.bytes, crc32));
        return;
      } catch (error) {
        // The bytes are still here, so a placement whose workers failed is replaced once.
        const again = error instanceof Refusal && error.code === "TOO_FEW_REPLICAS" && attempt === 1;
        if (!again || this.#failure) throw error;
      }
    }
  }

  /** @returns null at the body's end */
  async #fill(): Promise<Block | null> {
    const { blockSizeBytes } = this.#tools.config;
    const { lengthBytes = Number.POSITIVE_INFINITY, readBytes } = this.#body;
    if (this.#brokeOff) return null;
    const block = new Block(this.#share);
    this.#blocks.add(block);
    try {
      await block.fill(this.#body, Math.min(blockSizeBytes, lengthBytes - readBytes));
    } catch (error) {
      this.#tolerate(error as Error);
    }
    if (block.lengthBytes > 0) {
      this.#plan.onBytes(block.lengthBytes);
      return block;
    }
    this.#giveBack(block);
    return null;
  }

  #giveBack(block: Block): void {
    block.release();
    this.#blocks.delete(block);
  }

  async #isAtEnd(): Promise<boolean> {
    try {
      return this.#brokeOff !== null || (await this.#body.atEnd());
    } catch (error) {
      this.#tolerate(error as Error);
      return true;
    }
  }

  /** A body that breaks off ends there if the plan keeps what came. A failure of this gateway is never such an end. */
  #tolerate(error: Error): void {
    const brokeOff = error instanceof Refusal && error.code === "BODY_INCOMPLETE";
    if (this.#failure || !this.#plan.keepPartial || !brokeOff) throw error;
    this.#brokeOff = error;
  }

  /** A place for the next chunk, as large as what is known to come. */
  #place(): Promise<PlacedChunk> {
    const { lengthBytes = Number.POSITIVE_INFINITY } = this.#body;
    const { chunkSizeBytes, copies } = this.#plan;
    const sizeBytes = Math.min(chunkSizeBytes, lengthBytes - this.#sizeBytes);
    return this.#tools.grants.place(sizeBytes, copies, this.#sizeBytes > 0);
  }

  #begin(placed: PlacedChunk, start: number, told: "CHUNK_PLACED" | "CHUNK_MOVED"): OpenChunk {
    const { masters, workers, config } = this.#tools;
    const { copies, chunkSizeBytes, tell, onWorkerLost } = this.#plan;
    const writer = new ChunkWriter({
      masters,
      workers,
      placed,
      copies,
      chunkSizeBytes,
      route: config.route,
      blockSizeBytes: config.blockSizeBytes,
      onHeld: (bytes) => this.#share.arrived(bytes),
      onWorkerLost: (workerId, code) => {
        onWorkerLost();
        tell({ type: "WORKER_LOST", workerId, code });
      },
      onWorkerReplaced: (workerId) => tell({ type: "WORKER_REPLACED", workerId }),
    });
    const chunk: OpenChunk = { start, writer, placed, sending: [] };
    this.#chunks.add(chunk);
    tell({ type: told, workers: placed.workerIds });
    return chunk;
  }

  #send(chunk: OpenChunk, block: Block): void {
    const sent = chunk.writer
      .write(block.bytes, this.#count(block))
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#giveBack(block);
        this.#sending.delete(sent);
      });
    this.#sending.add(sent);
    chunk.sending.push(sent);
  }

  /** Adds the block to the file's sums, and reports to the machine now and then. @returns its CRC-32 */
  #count({ bytes }: Block): number {
    const crc32 = Bun.hash.crc32(bytes);
    for (const hasher of this.#hashers.values()) hasher.update(bytes);
    this.#crc32 = combineCrc32(this.#crc32, crc32, bytes.length);
    this.#sizeBytes += bytes.length;
    this.#unreported.bytes += bytes.length;
    if (++this.#unreported.blocks >= BLOCKS_PER_REPORT) this.#report();
    return crc32;
  }

  #report(): void {
    if (this.#unreported.blocks === 0) return;
    this.#plan.tell({ type: "BLOCKS_WRITTEN", bytes: this.#unreported.bytes });
    this.#unreported = { blocks: 0, bytes: 0 };
  }

  #endOfBody(): void {
    this.#report();
    this.#plan.tell({ type: "BODY_ENDED" });
  }

  /** Starts the seal and returns, unless too many are under way. */
  async #seal(chunk: OpenChunk): Promise<void> {
    const before = this.#sealing.at(-1);
    const seal = async () => {
      await Promise.all(chunk.sending);
      this.#assertGoingOn();
      const stored = await chunk.writer.seal();
      await before;
      this.#assertGoingOn();
      await this.#handOver(chunk, stored);
    };
    this.#sealing.push(seal().catch((error) => this.#fail(error)));
    if (this.#sealing.length > MAX_SEALING) await this.#sealing.shift();
    this.#assertGoingOn();
  }

  async #handOver(chunk: OpenChunk, stored: StoredChunk): Promise<void> {
    const { start } = chunk;
    chunksAreInOrder.check(start === this.#handedOverBytes, { start, handedOver: this.#handedOverBytes });
    this.#handedOverBytes += stored.lengthBytes;
    this.#plan.tell({ type: "CHUNK_SEALED" });
    await this.#plan.onSealed(stored, chunk.placed);
    this.#chunks.delete(chunk);
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#body.fail(error);
  }

  #assertGoingOn(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Nothing stays under way; chunks that were not handed over are given up. */
  async #settle(): Promise<void> {
    const givenUp = [...this.#chunks];
    const underWay = [...this.#sending, ...this.#sealing];
    if (givenUp.length > 0 || underWay.length > 0) {
      // Blocks in flight should arrive before the order to discard them.
      const patience = setTimeout(() => {
        for (const { writer } of givenUp) writer.cancel();
      }, CANCEL_AFTER_MS);
      await Promise.all(underWay);
      clearTimeout(patience);
      await Promise.all(givenUp.map(({ writer }) => writer.abort()));
      for (const { placed } of givenUp) placed.release();
    }
    for (const block of this.#blocks) block.release();
  }
}
