/**
 * One download: a range of a file as a stream. Blocks are fetched ahead, across chunk borders, a bounded number at a
 * time and several in a request; nothing is fetched that nobody pulls for.
 */
import assert from "node:assert/strict";
import type { LocatedChunk } from "../../actors/messages/master.ts";
import { declareWork } from "../../actors/node/current-work.ts";
import { type BlockRun, blockRun, overlap } from "../../actors/rules/byte-range.ts";
import type { Bytes } from "../data-path-api.ts";
import type { BlockSource, ChunkLayout } from "./block-source.ts";
import type { ByteBudget } from "./buffers.ts";
import type { LocatedFile } from "./located-file.ts";

const reading = declareWork("download");

export interface DownloadTools {
  located: LocatedFile;
  source: BlockSource;
  budget: ByteBudget;
  readAheadBytes: number;
  /** Free each piece when the next is pulled, and not when the collector comes round: at full speed that is late. */
  passing: boolean;
  onBytes(bytes: number): void;
  /** Called once: with the error, or null after the last byte or a cancel. */
  onEnd(error: Error | null): void;
  /** Stops every fetch. */
  stop(): void;
}

/**
 * They share what is read ahead: a request for several blocks costs hardly more than one for a single one, but the next
 * must be under way meanwhile.
 */
const REQUESTS_IN_FLIGHT = 3;
/** No request asks for more than this, unless one block is more. */
const REQUEST_BYTES = 2 << 20;

interface Fetch {
  /** Those that are wanted of its blocks. */
  bytes: Promise<Bytes>;
  blockCount: number;
  /** What it counts for in the budget: its whole blocks. */
  costBytes: number;
  /** Fetches the same, each block by itself. */
  singly(): Fetch[];
}

/** @returns a stream of bytes `[start, endExclusive)`; it errors rather than deliver a wrong byte */
export function downloadStream(tools: DownloadTools, start: number, endExclusive: number): ReadableStream<Uint8Array> {
  const download = new Download(tools, start, endExclusive);
  let passed: Bytes | null = null;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        passed?.buffer.transfer(0);
        passed = null;
        try {
          const bytes = await download.next();
          if (bytes) controller.enqueue(bytes);
          if (tools.passing) passed = bytes;
          if (download.isComplete) controller.close();
        } catch (error) {
          controller.error(error);
        }
      },
      cancel: () => download.end(null),
    },
    { highWaterMark: 0 },
  );
}

class Download {
  readonly #tools: DownloadTools;
  readonly #start: number;
  readonly #endExclusive: number;
  /** In the order of the file; the first is what the client gets next. */
  readonly #fetches: Fetch[] = [];
  #remaining: number;
  #planning = false;
  #failure: Error | null = null;
  #ended = false;
  #wake: (() => void) | null = null;

  constructor(tools: DownloadTools, start: number, endExclusive: number) {
    this.#tools = tools;
    this.#start = start;
    this.#endExclusive = endExclusive;
    this.#remaining = endExclusive - start;
    if (this.isComplete) this.end(null);
  }

  get isComplete(): boolean {
    return this.#remaining === 0;
  }

  /** The next bytes; null if there are none. @throws DATA_UNAVAILABLE */
  async next(): Promise<Bytes | null> {
    if (this.isComplete) return null;
    try {
      if (!this.#planning) {
        this.#planning = true;
        this.#fetchAhead().catch((error) => {
          this.#failure = error;
          this.#notify();
        });
      }
      reading.begins();
      while (this.#fetches.length === 0) {
        if (this.#failure) throw this.#failure;
        await this.#change();
      }
      const bytes = await this.#first();
      if (this.#ended) return null;
      this.#tools.budget.give((this.#fetches.shift() as Fetch).costBytes);
      this.#remaining -= bytes.length;
      this.#tools.onBytes(bytes.length);
      this.#notify();
      if (this.isComplete) this.end(null);
      return bytes;
    } catch (error) {
      this.end(error as Error);
      throw error;
    }
  }

  /** Of blocks asked for together no replica may be good, and yet each of them somewhere. */
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

  end(error: Error | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#tools.stop();
    for (const { costBytes } of this.#fetches.splice(0)) this.#tools.budget.give(costBytes);
    this.#notify();
    this.#tools.onEnd(error);
  }

  async #fetchAhead(): Promise<void> {
    const { located, source } = this.#tools;
    for (let offset = this.#start; offset < this.#endExclusive; ) {
      const chunk = await located.chunkAt(offset);
      const layout = await source.layout(chunk);
      const range = overlap(chunk, this.#start, this.#endExclusive);
      assert(range !== null, "a located chunk overlaps the range");
      for (let from = range.from; from < range.to; ) {
        const runOf = (most: number) => blockRun(chunk.lengthBytes, layout.blockSizeBytes, from, range.to, most);
        const run = await this.#claim(runOf, this.#mostAtOnce(layout.blockSizeBytes));
        if (!run) return;
        this.#fetches.push(this.#fetch(chunk, layout, run));
        this.#notify();
        from += run.to - run.from;
      }
      offset = chunk.offset + chunk.lengthBytes;
    }
  }

  #fetch(chunk: LocatedChunk, layout: ChunkLayout, run: BlockRun): Fetch {
    const bytes = this.#tools.source.blocks(chunk, layout, run).then((blocks) => blocks.subarray(run.from, run.to));
    bytes.catch(() => {});
    const singly = (): Fetch[] => {
      const { blockSizeBytes } = layout;
      const start = run.first * blockSizeBytes;
      return Array.from({ length: run.count }, (_, n) => {
        const from = Math.max(start + run.from, start + n * blockSizeBytes);
        return this.#fetch(chunk, layout, blockRun(chunk.lengthBytes, blockSizeBytes, from, start + run.to, 1));
      });
    };
    return { bytes, blockCount: run.count, costBytes: run.lengthBytes, singly };
  }

  #mostAtOnce(blockSizeBytes: number): number {
    const requestBytes = Math.min(this.#tools.readAheadBytes / REQUESTS_IN_FLIGHT, REQUEST_BYTES);
    return Math.max(1, Math.floor(requestBytes / blockSizeBytes));
  }

  /** Waits until the next run may be fetched; one block may always be, if nothing else is. @returns null: it has ended */
  async #claim(runOf: (most: number) => BlockRun, most: number): Promise<BlockRun | null> {
    const { readAheadBytes, budget } = this.#tools;
    const run = runOf(most);
    for (; !this.#ended; await this.#change()) {
      const underWay = this.#fetches.reduce((sum, { costBytes }) => sum + costBytes, 0);
      if (underWay + run.lengthBytes <= readAheadBytes && budget.tryTake(run.lengthBytes, false)) return run;
      if (underWay > 0) continue;
      const single = runOf(1);
      budget.tryTake(single.lengthBytes, true);
      return single;
    }
    return null;
  }

  /** Only ever one side waits: for a first fetch, or for room behind it. */
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
