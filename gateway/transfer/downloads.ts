/** Downloads under way, and files open for them. */
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { MasterClient } from "../cluster/master-client.ts";
import type { WorkerClients } from "../cluster/workers.ts";
import type { Consistency, DownloadActivity, OpenFile } from "../data-path-api.ts";
import { BlockSource } from "./block-source.ts";
import { ByteBudget } from "./buffers.ts";
import { LocatedFile } from "./located-file.ts";
import { downloadStream } from "./reader.ts";

export interface DownloadsTools {
  masters: MasterClient;
  workers: WorkerClients;
  config: Pick<Config, "readAheadBytes" | "blockSizeBytes" | "limits">;
  hedgeAfterMs: number;
}

export class Downloads {
  readonly counters = { bytesOut: 0, downloadsDone: 0, downloadsFailed: 0, readFailovers: 0 };
  readonly #tools: DownloadsTools;
  readonly #budget: ByteBudget;
  readonly #active = new Map<AbortController, DownloadActivity>();

  constructor(tools: DownloadsTools) {
    this.#tools = tools;
    this.#budget = new ByteBudget(tools.config.limits.bufferBytes);
  }

  get bytesInFlight(): number {
    return this.#budget.inUseBytes;
  }

  activities(): DownloadActivity[] {
    return [...this.#active.values()].map((activity) => ({ ...activity }));
  }

  close(): void {
    for (const controller of this.#active.keys()) controller.abort();
  }

  async open(
    path: string,
    { etag, consistency }: { etag?: string; consistency?: Consistency } = {},
  ): Promise<OpenFile> {
    const { masters, workers } = this.#tools;
    this.#refuseTooMany();
    const located = await LocatedFile.open(masters, workers, path, etag ?? null, consistency);
    let isFirst = true;
    return {
      file: located.file,
      ageMs: located.ageMs,
      stream: (start, endExclusive, options) => {
        // Many may have been opened at once. An answer of several ranges that has begun goes on.
        if (isFirst) this.#refuseTooMany();
        isFirst = false;
        return this.#stream(located, start, endExclusive, options);
      },
    };
  }

  #refuseTooMany(): void {
    const { maxDownloads } = this.#tools.config.limits;
    if (this.#active.size >= maxDownloads)
      throw new Refusal("OVERLOADED", `${maxDownloads} downloads are under way; this gateway takes no more at once`);
  }

  #stream(
    located: LocatedFile,
    start: number,
    endExclusive: number,
    { passing = false }: { passing?: boolean } = {},
  ): ReadableStream<Uint8Array> {
    const { masters, workers, config, hedgeAfterMs } = this.#tools;
    const controller = new AbortController();
    const activity = { path: located.file.path, start, endExclusive, bytes: 0, startedAt: Date.now() };
    this.#active.set(controller, activity);
    const source = new BlockSource({
      masters,
      workers,
      hedgeAfterMs,
      blockSizeBytes: config.blockSizeBytes,
      locateAgain: (chunk) => located.locateAgain(chunk),
      onFailover: () => {
        this.counters.readFailovers++;
      },
      signal: controller.signal,
    });
    return downloadStream(
      {
        located,
        source,
        budget: this.#budget,
        readAheadBytes: config.readAheadBytes,
        passing,
        stop: () => controller.abort(),
        onBytes: (bytes) => {
          activity.bytes += bytes;
          this.counters.bytesOut += bytes;
        },
        onEnd: (error) => {
          this.#active.delete(controller);
          this.counters[error ? "downloadsFailed" : "downloadsDone"]++;
        },
      },
      start,
      endExclusive,
    );
  }
}
