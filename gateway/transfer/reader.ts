/**
 * One download: a range of a file as a stream. Blocks are fetched ahead, across chunk borders, a bounded number at a
 * time; nothing is fetched that nobody pulls for.
 */
import assert from "node:assert/strict";
import { blockSpans, overlap } from "../../actors/rules/byte-range.ts";
import type { Bytes } from "./api.ts";
import type { BlockSource } from "./block-source.ts";
import type { ByteBudget } from "./buffers.ts";
import type { LocatedFile } from "./located-file.ts";

export interface DownloadTools {
  located: LocatedFile;
  source: BlockSource;
  budget: ByteBudget;
  blocksInFlight: number;
  /** Free each piece when the next is pulled, and not when the collector comes round: at full speed that is late. */
  passing: boolean;
  onBytes(bytes: number): void;
  /** Called once: with the error, or null after the last byte or a cancel. */
  onEnd(error: Error | null): void;
  /** Stops every fetch. */
  stop(): void;
}

interface Fetch {
  bytes: Promise<Bytes>;
  /** What it counts for in the budget: its whole block. */
  costBytes: number;
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
      while (this.#fetches.length === 0) {
        if (this.#failure) throw this.#failure;
        await this.#change();
      }
      const { bytes: coming, costBytes } = this.#fetches[0] as Fetch;
      const bytes = await coming;
      this.#fetches.shift();
      this.#tools.budget.give(costBytes);
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
      for (const span of blockSpans(chunk.lengthBytes, layout.blockSizeBytes, range.from, range.to)) {
        while (!this.#ended && !this.#hasRoom(span.lengthBytes)) await this.#change();
        if (this.#ended) return;
        const bytes = source.block(chunk, layout, span).then((block) => block.subarray(span.from, span.to));
        bytes.catch(() => {});
        this.#fetches.push({ bytes, costBytes: span.lengthBytes });
        this.#notify();
      }
      offset = chunk.offset + chunk.lengthBytes;
    }
  }

  #hasRoom(bytes: number): boolean {
    const { blocksInFlight, budget } = this.#tools;
    return this.#fetches.length < blocksInFlight && budget.tryTake(bytes, this.#fetches.length === 0);
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
