/**
 * Reads blocks of committed chunks, right or not at all: from the best replica first, and from another when the first is
 * bad, away or slow. A bad copy is reported to the leader.
 */
import { Refusal } from "../../actors/messages/errors.ts";
import type { LocatedChunk } from "../../actors/messages/questions.ts";
import type { BlockRun } from "../../actors/rules/byte-range.ts";
import { blockCount } from "../../actors/rules/byte-range.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import type { MasterClient } from "../nodes/master-client.ts";
import type { WorkerClients } from "../nodes/worker-client.ts";
import type { Bytes } from "../ports/transfers.ts";
import type { Hedges } from "./hedges.ts";

/** When a replica has not answered after this, a second one is asked too. */
export const HEDGE_AFTER_MS = 400;

/** How a chunk falls into blocks, with the CRC-32 of each. The chunk's committed checksum vouches for them. */
export interface ChunkLayout {
  blockSizeBytes: number;
  blockCrcs: Uint32Array;
}

export interface BlockSourceTools {
  masters: MasterClient;
  workers: WorkerClients;
  /** The block size that small chunks are taken to have been written with. */
  blockSizeBytes: number;
  hedgeAfterMs: number;
  hedges: Hedges;
  locateAgain(chunk: LocatedChunk): Promise<LocatedChunk>;
  onFailover(): void;
}

/** A question that any good replica can answer. */
interface Wish<T> {
  /** For messages. */
  what: string;
  /** Bytes that an answer holds. */
  sizeBytes: number;
  ask(workerId: string, signal: AbortSignal): Promise<T>;
  /** An answer that came too late to be used. */
  drop(answer: T): void;
}

type Attempt<T> = { workerId: string; value: T } | { workerId: string; error: Error };

export class BlockSource {
  readonly #tools: BlockSourceTools;
  readonly #reported = new Set<string>();
  /** Chunks whose replicas were looked up a second time. */
  readonly #relocated = new Map<number, Promise<LocatedChunk>>();

  constructor(tools: BlockSourceTools) {
    this.#tools = tools;
  }

  /**
   * @param signal the reader has left
   * @throws DATA_UNAVAILABLE if no replica gives a layout that fits the committed checksum
   */
  async layout(chunk: LocatedChunk, signal: AbortSignal): Promise<ChunkLayout> {
    const { blockSizeBytes } = this.#tools;
    if (chunk.lengthBytes <= blockSizeBytes) return { blockSizeBytes, blockCrcs: Uint32Array.of(chunk.crc32) };
    const ask = (workerId: string, signal: AbortSignal) => this.#describeAt(chunk, workerId, signal);
    return this.#fromAny(chunk, { what: "the block list", sizeBytes: 0, ask, drop: () => {} }, signal);
  }

  /**
   * Whole blocks in a row, each of them checked, in memory that is the caller's alone.
   *
   * @param signal the reader has left
   * @throws DATA_UNAVAILABLE when every replica failed
   */
  async blocks(chunk: LocatedChunk, layout: ChunkLayout, run: BlockRun, signal: AbortSignal): Promise<Bytes> {
    const { first, count, lengthBytes } = run;
    const ask = async (workerId: string, signal: AbortSignal) => {
      const bytes = await this.#tools.workers.getBlocks(workerId, chunk.chunkId, first, count, signal);
      const bad = bytes.length === lengthBytes ? firstBadBlock(bytes, layout, first) : first;
      if (bad === null) return bytes;
      const isOnlyBlock = layout.blockCrcs.length === 1;
      if (isOnlyBlock && bytes.length < lengthBytes) return this.#inSmallerBlocks(chunk, bytes, workerId, signal);
      throw corrupt(chunk, `block ${bad} of ${workerId} does not have the committed checksum`);
    };
    const what = count === 1 ? `block ${first}` : `blocks ${first} to ${first + count - 1}`;
    return this.#fromAny(chunk, { what, sizeBytes: lengthBytes, ask, drop: free }, signal);
  }

  /** A small chunk written when blocks were smaller than now. */
  async #inSmallerBlocks(chunk: LocatedChunk, first: Bytes, workerId: string, signal: AbortSignal): Promise<Bytes> {
    const { blockSizeBytes, blockCrcs } = await this.#describeAt(chunk, workerId, signal);
    const whole = new Uint8Array(chunk.lengthBytes);
    for (let n = 0; n < blockCrcs.length; n++) {
      const bytes = n === 0 ? first : await this.#tools.workers.getBlocks(workerId, chunk.chunkId, n, 1, signal);
      if (n * blockSizeBytes + bytes.length > whole.length) throw corrupt(chunk, `${workerId} answers too many bytes`);
      whole.set(bytes, n * blockSizeBytes);
    }
    if (Bun.hash.crc32(whole) === chunk.crc32) return whole;
    throw corrupt(chunk, `the copy of ${workerId} does not have the committed checksum`);
  }

  async #describeAt(chunk: LocatedChunk, workerId: string, signal: AbortSignal): Promise<ChunkLayout> {
    const {
      state,
      lengthBytes,
      crc32,
      blockSizeBytes,
      blockCrcs: packed,
    } = await this.#tools.workers.describe(workerId, chunk.chunkId, signal);
    if (state === "open")
      throw new Refusal("NO_SUCH_CHUNK", `${workerId} has chunk ${formatChunkId(chunk.chunkId)} unsealed`);
    const blockCrcs = new Uint32Array(Uint8Array.from(packed).buffer);
    const fits =
      state !== "quarantined" &&
      lengthBytes === chunk.lengthBytes &&
      crc32 === chunk.crc32 &&
      blockCrcs.length === blockCount(lengthBytes, blockSizeBytes) &&
      crc32OfBlocks(blockCrcs, lengthBytes, blockSizeBytes) === chunk.crc32;
    if (fits) return { blockSizeBytes, blockCrcs };
    throw corrupt(chunk, `${workerId} describes another content (${state}, ${lengthBytes} bytes, CRC ${crc32})`);
  }

  /** Tries the replicas best first, then those that the leader names when it is asked again. */
  async #fromAny<T>(chunk: LocatedChunk, wish: Wish<T>, signal: AbortSignal): Promise<T> {
    const failures: string[] = [];
    const found = await this.#race(chunk.chunkId, chunk.workerIds, failures, wish, signal);
    if (found) return found.value;
    let again = this.#relocated.get(chunk.chunkId);
    if (!again) {
      again = this.#tools.locateAgain(chunk);
      this.#relocated.set(chunk.chunkId, again);
    }
    const foundAgain = await this.#race(chunk.chunkId, (await again).workerIds, failures, wish, signal);
    if (foundAgain) return foundAgain.value;
    throw new Refusal("DATA_UNAVAILABLE", `No replica gave ${wish.what} of chunk ${formatChunkId(chunk.chunkId)}`, {
      failures,
    });
  }

  /** Asks one replica after another; one that is slow gets a competitor. @returns null: each of them failed */
  async #race<T>(
    chunkId: number,
    workerIds: readonly string[],
    failures: string[],
    { ask, drop, sizeBytes }: Wish<T>,
    signal: AbortSignal,
  ): Promise<{ value: T } | null> {
    const { workers, hedges, hedgeAfterMs, onFailover } = this.#tools;
    const waiting = workers.rank(workerIds);
    const running = new Map<string, Promise<Attempt<T>>>();
    const stop = new AbortController();
    const stopAll = () => stop.abort();
    let hedged = 0;
    const endHedge = () => {
      if (hedged === 0) return;
      hedged--;
      hedges.end(sizeBytes);
    };
    const start = (workerId: string) => {
      const attempt = ask(workerId, stop.signal).then(
        (value) => ({ workerId, value }),
        (error) => ({ workerId, error }),
      );
      running.set(workerId, attempt);
    };
    signal.addEventListener("abort", stopAll);
    try {
      for (let isFirst = true; ; isFirst = false) {
        if (signal.aborted) throw signal.reason;
        const [next] = waiting;
        if (running.size === 0) {
          if (next === undefined) return null;
          if (!isFirst) onFailover();
          waiting.shift();
          start(next);
        }
        const done = await firstOf(running, waiting.length > 0 ? hedgeAfterMs : null);
        if (done === null) {
          if (!hedges.tryBegin(sizeBytes)) continue;
          hedged++;
          onFailover();
          start(waiting.shift() as string);
          continue;
        }
        running.delete(done.workerId);
        if ("value" in done) return { value: done.value };
        endHedge();
        failures.push(done.error.message);
        if (!signal.aborted) this.#blame(chunkId, done.workerId, done.error);
      }
    } finally {
      signal.removeEventListener("abort", stopAll);
      if (running.size > 0) stop.abort();
      for (const late of running.values()) void late.then((end) => "value" in end && drop(end.value)).finally(endHedge);
    }
  }

  #blame(chunkId: number, workerId: string, error: Error): void {
    const { masters, workers } = this.#tools;
    const code = error instanceof Refusal ? error.code : "INTERNAL";
    const problem = PROBLEMS[code];
    if (!problem) {
      workers.failed(workerId, error.message);
      return;
    }
    const key = `${chunkId}@${workerId}`;
    if (this.#reported.has(key)) return;
    this.#reported.add(key);
    masters
      .ask({ type: "REPORT_REPLICA", chunkId, workerId, problem, detail: error.message.slice(0, 500) })
      .catch(() => {});
  }
}

/** Problems that are reported to the leader. Any other failure is the worker's, not its copy's. */
const PROBLEMS: Partial<Record<string, "corrupt" | "missing">> = {
  CHUNK_CORRUPT: "corrupt",
  NO_SUCH_CHUNK: "missing",
};

function firstBadBlock(bytes: Bytes, { blockSizeBytes, blockCrcs }: ChunkLayout, first: number): number | null {
  for (let at = 0, block = first; at < bytes.length; at += blockSizeBytes, block++)
    if (Bun.hash.crc32(bytes.subarray(at, at + blockSizeBytes)) !== blockCrcs[block]) return block;
  return null;
}

function free(bytes: Bytes): void {
  bytes.buffer.transfer(0);
}

const corrupt = (chunk: LocatedChunk, detail: string): Refusal =>
  new Refusal("CHUNK_CORRUPT", `Chunk ${formatChunkId(chunk.chunkId)}: ${detail}`);

/** @returns the first attempt to end, or null if none did within `patienceMs` */
async function firstOf<T>(
  running: ReadonlyMap<string, Promise<Attempt<T>>>,
  patienceMs: number | null,
): Promise<Attempt<T> | null> {
  if (patienceMs === null) return Promise.race(running.values());
  const patience = Promise.withResolvers<null>();
  const timer = setTimeout(() => patience.resolve(null), patienceMs);
  try {
    return await Promise.race([...running.values(), patience.promise]);
  } finally {
    clearTimeout(timer);
  }
}
