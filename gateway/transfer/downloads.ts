/** Downloads under way, files open for them, and what happens when they want more memory than there is. */
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { startSpan } from "../../actors/node/trace/span.ts";
import { currentContext, inContext, type TraceContext } from "../../actors/node/trace/trace-context.ts";
import { nameOf, type Principal } from "../access/principal.ts";
import type { MasterClient } from "../nodes/master-client.ts";
import type { WorkerClients } from "../nodes/worker-client.ts";
import type { Consistency } from "../ports/namespace.ts";
import type { ByteRange, DownloadActivity, OpenFile, StreamOptions } from "../ports/transfers.ts";
import { BlockSource } from "./block-source.ts";
import { ByteBudget } from "./byte-budget.ts";
import { Hedges } from "./hedges.ts";
import { heldFile } from "./held-file.ts";
import { LocatedFile } from "./located-file.ts";
import { Download } from "./reader.ts";
import { Slots } from "./slots.ts";

/** How long a stalled client is tolerated while other downloads wait for memory. */
export interface DownloadPatience {
  /** An answer that gets no memory within this is refused. */
  firstByteMs: number;
  /** What was read ahead for a client is given up when the client has taken nothing for this long. */
  idleMs: number;
  /** A client that has taken nothing for this long is cut off. */
  stalledMs: number;
}
export const DOWNLOAD_PATIENCE: DownloadPatience = { firstByteMs: 5000, idleMs: 1000, stalledMs: 30_000 };
/** How often stalled clients are looked for while other downloads wait for memory. */
const LOOK_EVERY_MS = 250;

export interface DownloadsTools {
  masters: MasterClient;
  workers: WorkerClients;
  config: Pick<Config, "readAheadBytes" | "blockSizeBytes" | "limits">;
  /** Bytes that all downloads together may hold. */
  bufferBytes: number;
  hedgeAfterMs: number;
  patience: DownloadPatience;
}

export class Downloads {
  readonly counters = { bytesOut: 0, downloadsDone: 0, downloadsFailed: 0, readFailovers: 0 };
  readonly #tools: DownloadsTools;
  readonly #budget: ByteBudget;
  readonly #hedges: Hedges;
  readonly #slots: Slots;
  readonly #active = new Map<Download, DownloadActivity>();
  #looking: Timer | null = null;

  constructor(tools: DownloadsTools) {
    this.#tools = tools;
    this.#budget = new ByteBudget(tools.bufferBytes, () => {
      this.#looking ??= setInterval(() => this.#makeRoom(), LOOK_EVERY_MS);
    });
    this.#hedges = new Hedges(this.#budget);
    this.#slots = new Slots("downloads", tools.config.limits.maxDownloads);
  }

  get bytesInFlight(): number {
    return this.#budget.inUseBytes;
  }

  activities(): DownloadActivity[] {
    return [...this.#active.values()].map((activity) => ({ ...activity }));
  }

  close(): void {
    for (const download of this.#active.keys()) download.fail(new Refusal("OVERLOADED", "The gateway is stopping"));
    this.#stopLooking();
  }

  async open(
    by: Principal,
    path: string,
    { etag, consistency }: { etag?: string; consistency?: Consistency } = {},
  ): Promise<OpenFile> {
    const { masters, workers } = this.#tools;
    this.#slots.refuseUnlessFree();
    const located = await LocatedFile.open(masters, workers, path, etag ?? null, consistency);
    if (located.content !== null)
      return heldFile(located.file, located.ageMs, located.content, (bytes) => {
        this.counters.bytesOut += bytes;
        this.counters.downloadsDone++;
      });
    const streamOf: OpenFile["streamRanges"] = (ranges, options) => {
      const { download, context } = this.#begin(by, located, ranges, options);
      return download.stream(context);
    };
    return {
      file: located.file,
      ageMs: located.ageMs,
      bytes: async (ranges, signal) => {
        const { download, context } = this.#begin(by, located, ranges, { passing: true });
        return inContext(context, () => download.whole(signal));
      },
      stream: (start, endExclusive, options) => streamOf([{ start, endExclusive }], options),
      streamRanges: streamOf,
    };
  }

  /** @returns with the context that its reads are a part of: a client pulls from outside of all that runs here */
  #begin(
    by: Principal,
    located: LocatedFile,
    ranges: readonly ByteRange[],
    { passing = false, cut }: StreamOptions = {},
  ): { download: Download; context: TraceContext | undefined } {
    this.#slots.refuseUnlessFree();
    const { masters, workers, config, hedgeAfterMs, patience } = this.#tools;
    const activity: DownloadActivity = {
      by: nameOf(by),
      path: located.file.path,
      start: Math.min(...ranges.map(({ start }) => start)),
      endExclusive: Math.max(...ranges.map(({ endExclusive }) => endExclusive)),
      bytes: 0,
      startedAt: Date.now(),
    };
    const source = new BlockSource({
      masters,
      workers,
      hedgeAfterMs,
      hedges: this.#hedges,
      blockSizeBytes: config.blockSizeBytes,
      locateAgain: (chunk) => located.locateAgain(chunk),
      onFailover: () => {
        this.counters.readFailovers++;
      },
    });
    const span = startSpan("read");
    span?.set({ "dfs.path": activity.path, "dfs.start": activity.start, "dfs.end": activity.endExclusive });
    const download = new Download(
      {
        located,
        source,
        budget: this.#budget,
        readAheadBytes: config.readAheadBytes,
        firstByteMs: patience.firstByteMs,
        passing,
        cut,
        onBytes: (bytes) => {
          activity.bytes += bytes;
          this.counters.bytesOut += bytes;
        },
        onEnd: (error) => {
          this.#active.delete(download);
          this.#slots.give();
          span?.end(error ?? undefined);
          this.counters[error ? "downloadsFailed" : "downloadsDone"]++;
        },
      },
      ranges,
    );
    this.#slots.take();
    this.#active.set(download, activity);
    return { download, context: span ? span.context : currentContext() };
  }

  /**
   * Frees memory held for stalled clients: what was read ahead for them, and in the end the connection of the client that has
   * stalled for longest. Runs as long as other downloads wait.
   */
  #makeRoom(): void {
    if (this.#budget.waitingCount === 0) {
      this.#stopLooking();
      return;
    }
    const { idleMs, stalledMs } = this.#tools.patience;
    const idle = [...this.#active.keys()].filter((download) => download.idleMs >= idleMs);
    for (const download of idle) download.giveUpReadAhead();
    const [longest] = idle.sort((a, b) => b.idleMs - a.idleMs);
    if (longest && longest.idleMs >= stalledMs) longest.cutOff();
  }

  #stopLooking(): void {
    if (this.#looking) clearInterval(this.#looking);
    this.#looking = null;
  }
}
