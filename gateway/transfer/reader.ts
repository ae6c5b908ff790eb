/**
 * One download: ranges of a file, one after another, as a stream. Blocks are fetched ahead, across chunk borders, a bounded
 * number at a time and several in a request; a block is fetched only for a reader that pulls, and none twice. Every byte
 * counts in the budget from before it is asked for until the client has taken it.
 */
import { Refusal } from "../../actors/messages/errors.ts";
import type { LocatedChunk } from "../../actors/messages/questions.ts";
import { inContext, type TraceContext } from "../../actors/node/trace/trace-context.ts";
import { declareWork } from "../../actors/node/watchdog/current-work.ts";
import { type BlockRun, blockRun, overlap } from "../../actors/rules/byte-range.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";
import type { ByteRange, Bytes } from "../ports/transfers.ts";
import type { BlockSource, ChunkLayout } from "./block-source.ts";
import type { ByteBudget } from "./byte-budget.ts";
import type { LocatedFile } from "./located-file.ts";

const chunkOverlaps: Invariant = declareInvariant("downloads: a located chunk overlaps the range");
const piecesAreContiguous: Invariant = declareInvariant("downloads: fetched blocks hold the next byte to send");
const sentIsWithinAsked: Invariant = declareInvariant("downloads: bytes sent <= bytes asked");
const reading = declareWork("download");

export interface DownloadTools {
  located: LocatedFile;
  source: BlockSource;
  budget: ByteBudget;
  readAheadBytes: number;
  /** An answer that has not begun waits this long for room in the budget, then it is OVERLOADED. */
  firstByteMs: number;
  /** Free each piece when the next is pulled or the stream is cancelled, rather than leave it to the garbage collector. */
  passing: boolean;
  /** Has the connection closed; without it a stalled stream errors. */
  cut?: () => void;
  onBytes(bytes: number): void;
  /** Called once: with the error, or null after the last byte or a cancel. */
  onEnd(error: Error | null): void;
}

/**
 * They share what is read ahead: a request for several blocks costs hardly more than one for a single one, but the next
 * must be under way meanwhile.
 */
const REQUESTS_IN_FLIGHT = 3;
/** No request asks for more than this, unless one block is more. Of several ranges no more is read ahead. */
const REQUEST_BYTES = 2 << 20;
/** Of the budget, for reading ahead: downloads that begin find room without waiting for those under way. */
const READ_AHEAD_SHARE = 0.75;

/** Blocks in a row of one chunk, under way or there. Offsets are those of the file. */
interface Fetch {
  start: number;
  endExclusive: number;
  bytes: Promise<Bytes>;
  blockCount: number;
  stop(): void;
  /** Fetches the same, each block by itself. */
  singly(): Fetch[];
}

/** Ends fetches whose client has gone, or that are not needed any more. It reaches no client: one serves for all. */
const GONE = new Refusal("DATA_UNAVAILABLE", "The reader has gone");

export class Download {
  readonly #tools: DownloadTools;
  readonly #ranges: readonly ByteRange[];
  readonly #readAheadBytes: number;
  /** In the order of sending; the first is what the client gets next. */
  readonly #fetches: Fetch[] = [];
  /** Blocks of which a piece was handed out, until the client has taken it and needs no other piece of them. */
  #current: { fetch: Fetch; bytes: Bytes } | null = null;
  /** The range that is being sent, and the next byte of it. */
  #index = 0;
  #position: number;
  #remaining: number;
  /** Fetches ahead; null until the next pull. */
  #planner: AbortController | null = null;
  #failure: Error | null = null;
  #hasBegun = false;
  #isPulling = false;
  #idleSince = performance.now();
  #isCut = false;
  #ended = false;
  #endedBy: Error | null = null;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #wake: (() => void) | null = null;

  /** @param ranges in the order of sending, none empty unless it is the only one */
  constructor(tools: DownloadTools, ranges: readonly ByteRange[]) {
    this.#tools = tools;
    this.#ranges = ranges;
    this.#readAheadBytes = ranges.length > 1 ? Math.min(tools.readAheadBytes, REQUEST_BYTES) : tools.readAheadBytes;
    this.#position = ranges[0]?.start ?? 0;
    this.#remaining = ranges.reduce((sum, { start, endExclusive }) => sum + endExclusive - start, 0);
  }

  /**
   * The ranges' bytes, to be read once; no piece holds bytes of two ranges. It errors rather than deliver a wrong byte.
   *
   * @param context what its reading is a part of
   */
  stream(context: TraceContext | undefined): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: async (controller) => {
          try {
            const bytes = await inContext(context, () => this.#next());
            if (bytes) controller.enqueue(bytes);
            else if (this.#remaining === 0) controller.close();
          } catch (error) {
            controller.error(error);
          }
        },
        cancel: () => this.end(null),
      },
      { highWaterMark: 0 },
    );
  }

  /**
   * The bytes at once instead of as a stream, for few of them.
   *
   * @param signal the client has left: the download ends, and what is returned is of no use
   * @throws what the stream would error with
   */
  async whole(signal: AbortSignal): Promise<Bytes> {
    const whole = new Uint8Array(this.#remaining);
    const leave = (): void => void this.end(null);
    signal.addEventListener("abort", leave);
    try {
      if (signal.aborted) leave();
      let at = 0;
      for (let bytes = await this.#next(); bytes !== null; bytes = await this.#next()) {
        whole.set(bytes, at);
        at += bytes.length;
      }
      if (this.#endedBy) throw this.#endedBy;
      return whole;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  /** How long the client has taken nothing, while bytes are held for it. */
  get idleMs(): number {
    const isHolding = this.#current !== null || this.#fetches.length > 0;
    return this.#isPulling || !isHolding ? 0 : performance.now() - this.#idleSince;
  }

  /** Gives up what was read ahead for a stalled client; its next pull reads it again. */
  giveUpReadAhead(): void {
    if (this.#isPulling) return;
    void this.#stopFetching();
    this.#notify();
  }

  /** Ends the download of a stalled client. */
  cutOff(): void {
    if (this.#isCut || this.#isPulling) return;
    this.#isCut = true;
    if (this.#tools.cut) this.#tools.cut();
    else this.fail(new Refusal("OVERLOADED", "The client took nothing for long while others waited for memory"));
  }

  /** Ends it with an error that its reader sees. */
  fail(error: Error): void {
    if (this.#ended) return;
    void this.end(error);
    this.#controller?.error(error);
  }

  /** Stops all fetches. Resolves when all memory has been given back. */
  async end(error: Error | null): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#endedBy = error;
    const stopped = this.#stopFetching();
    this.#release();
    this.#notify();
    this.#tools.onEnd(error);
    await stopped;
  }

  /** The next bytes; null if there are none, or the reader left meanwhile. @throws DATA_UNAVAILABLE, OVERLOADED */
  async #next(): Promise<Bytes | null> {
    if (this.#ended) return null;
    this.#isPulling = true;
    try {
      if (this.#current && !holds(this.#current.fetch, this.#position, this.#remaining)) this.#release();
      if (this.#remaining === 0) {
        await this.end(null);
        return null;
      }
      reading.begins();
      while (!this.#current) if (!(await this.#advance())) return null;
      return this.#cutPiece(this.#current);
    } catch (error) {
      if (this.#ended) return null;
      await this.end(error as Error);
      throw error;
    } finally {
      this.#isPulling = false;
      this.#idleSince = performance.now();
    }
  }

  /** Waits for the next blocks. @returns false: the download has ended */
  async #advance(): Promise<boolean> {
    if (this.#ended) return false;
    if (!this.#planner) this.#startPlanning();
    if (this.#fetches.length === 0) {
      if (this.#failure) throw this.#failure;
      await this.#change();
      return !this.#ended;
    }
    const bytes = await this.#first();
    if (this.#ended) return false;
    const fetch = this.#fetches.shift() as Fetch;
    this.#current = { fetch, bytes };
    // Blocks that were fetched one by one, because no replica had all of them good, may lie between two ranges.
    if (this.#position >= fetch.endExclusive) this.#release();
    this.#notify();
    return true;
  }

  /** No replica may have all of these blocks good, and yet each block may be good somewhere. */
  async #first(): Promise<Bytes> {
    const fetch = this.#fetches[0] as Fetch;
    try {
      return await fetch.bytes;
    } catch (error) {
      if (fetch.blockCount === 1 || this.#ended) throw error;
      this.#fetches.splice(0, 1, ...fetch.singly());
      return (this.#fetches[0] as Fetch).bytes;
    }
  }

  #cutPiece({ fetch, bytes }: { fetch: Fetch; bytes: Bytes }): Bytes {
    const range = this.#ranges[this.#index] as ByteRange;
    const from = this.#position - fetch.start;
    piecesAreContiguous.check(from >= 0 && from < bytes.length, { position: this.#position, start: fetch.start });
    const piece = bytes.subarray(from, Math.min(range.endExclusive, fetch.endExclusive) - fetch.start);
    this.#position += piece.length;
    this.#remaining -= piece.length;
    sentIsWithinAsked.check(this.#remaining >= 0 && this.#position <= range.endExclusive, {
      remaining: this.#remaining,
      position: this.#position,
    });
    if (this.#position === range.endExclusive && this.#remaining > 0)
      this.#position = (this.#ranges[++this.#index] as ByteRange).start;
    this.#hasBegun = true;
    this.#tools.onBytes(piece.length);
    return piece;
  }

  /** Gives back the blocks that the client has taken whole. */
  #release(): void {
    if (!this.#current) return;
    const { fetch, bytes } = this.#current;
    this.#current = null;
    if (this.#tools.passing) free(bytes);
    this.#tools.budget.give(costOf(fetch));
    this.#notify();
  }

  /** Resolves when every request has ended: until then its memory is in use. */
  async #stopFetching(): Promise<void> {
    this.#planner?.abort(GONE);
    this.#planner = null;
    const stopped = this.#fetches.splice(0);
    for (const fetch of stopped) fetch.stop();
    await Promise.all(
      stopped.map(async (fetch) => {
        await fetch.bytes.then(free, () => {});
        this.#tools.budget.give(costOf(fetch));
      }),
    );
  }

  #startPlanning(): void {
    const planner = new AbortController();
    this.#planner = planner;
    this.#failure = null;
    this.#fetchAhead(planner.signal).catch((error) => {
      if (planner.signal.aborted) return;
      this.#failure = error;
      this.#notify();
    });
  }

  async #fetchAhead(signal: AbortSignal): Promise<void> {
    const { located, source } = this.#tools;
    let last = this.#current?.fetch ?? null;
    let sentUpTo = this.#position;
    for (const [n, { start, endExclusive }] of this.#ranges.slice(this.#index).entries()) {
      let offset = n === 0 ? this.#position : start;
      // The range begins in the blocks that the one before ends in.
      if (last && offset >= sentUpTo && holds(last, offset)) offset = last.endExclusive;
      sentUpTo = endExclusive;
      while (offset < endExclusive) {
        const chunk = await located.chunkAt(offset);
        if (signal.aborted) return;
        const layout = await source.layout(chunk, signal);
        const part = overlap(chunk, offset, endExclusive);
        chunkOverlaps.check(part !== null, { chunk, offset, endExclusive });
        for (let from = part.from; from < part.to; from = last.endExclusive - chunk.offset) {
          last = await this.#fetchNext(chunk, layout, from, part.to, signal);
          if (!last) return;
        }
        offset = chunk.offset + part.to;
      }
    }
  }

  #fetch(chunk: LocatedChunk, layout: ChunkLayout, run: BlockRun): Fetch {
    const { blockSizeBytes } = layout;
    const stop = new AbortController();
    const bytes = this.#tools.source.blocks(chunk, layout, run, stop.signal);
    bytes.catch(() => {});
    const from = run.first * blockSizeBytes;
    const blockAt = (n: number) =>
      blockRun(chunk.lengthBytes, blockSizeBytes, from + n * blockSizeBytes, from + run.lengthBytes, 1);
    return {
      start: chunk.offset + from,
      endExclusive: chunk.offset + from + run.lengthBytes,
      bytes,
      blockCount: run.count,
      stop: () => stop.abort(GONE),
      singly: () => Array.from({ length: run.count }, (_, n) => this.#fetch(chunk, layout, blockAt(n))),
    };
  }

  #mostAtOnce(blockSizeBytes: number): number {
    const requestBytes = Math.min(this.#readAheadBytes / REQUESTS_IN_FLIGHT, REQUEST_BYTES);
    return Math.max(1, Math.floor(requestBytes / blockSizeBytes));
  }

  /**
   * Waits until blocks of the part `[from, to)` of a chunk may be fetched, and asks for them. Reading ahead takes what is
   * free; a download that holds nothing at all waits in the queue for one block.
   *
   * @returns null: what was read ahead is not wanted any more
   */
  async #fetchNext(
    chunk: LocatedChunk,
    layout: ChunkLayout,
    from: number,
    to: number,
    signal: AbortSignal,
  ): Promise<Fetch | null> {
    const { budget, firstByteMs } = this.#tools;
    const runOf = (most: number) => blockRun(chunk.lengthBytes, layout.blockSizeBytes, from, to, most);
    const run = runOf(this.#mostAtOnce(layout.blockSizeBytes));
    const single = runOf(1);
    for (; !signal.aborted; await this.#change()) {
      const underWay = this.#fetches.reduce((sum, fetch) => sum + costOf(fetch), 0);
      const mayBeMore = underWay + run.lengthBytes <= this.#readAheadBytes;
      if (mayBeMore && budget.tryTake(run.lengthBytes, READ_AHEAD_SHARE))
        return this.#add(this.#fetch(chunk, layout, run));
      if (underWay > 0) continue;
      if (this.#current) {
        if (!budget.tryTake(single.lengthBytes, READ_AHEAD_SHARE)) continue;
        return this.#add(this.#fetch(chunk, layout, single));
      }
      await budget.take(single.lengthBytes, signal, this.#hasBegun ? {} : { patienceMs: firstByteMs });
      if (!signal.aborted) return this.#add(this.#fetch(chunk, layout, single));
      budget.give(single.lengthBytes);
    }
    return null;
  }

  #add(fetch: Fetch): Fetch {
    this.#fetches.push(fetch);
    this.#notify();
    return fetch;
  }

  /** At most one fetch waits: the first one, or the next one for room. */
  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}

/** What blocks count for in the budget. */
const costOf = ({ start, endExclusive }: Fetch): number => endExclusive - start;

const holds = ({ start, endExclusive }: Fetch, offset: number, remaining = 1): boolean =>
  remaining > 0 && start <= offset && offset < endExclusive;

/** Frees memory at once: the garbage collector would come hundreds of megabytes later at full speed. */
function free(bytes: Bytes): void {
  bytes.buffer.transfer(0);
}
