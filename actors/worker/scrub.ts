/** Reads every sealed chunk back once in a while, the one checked longest ago first, never faster than allowed. */
import type { ChunkIndex } from "../../databases/chunk-index.ts";
import { declareWork } from "../node/current-work.ts";
import type { Logger } from "../node/log.ts";
import { formatChunkId } from "../rules/chunk-id.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { Pace, pause } from "./pace.ts";

const MAX_WAIT_MS = 60_000;
/** After a check that failed for a reason of ours. */
const RETRY_MS = 1000;

export interface ScrubOptions {
  intervalMs: number;
  bytesPerSecond: number;
  signal: AbortSignal;
  log: Logger;
  now?: () => number;
}

export interface ScrubProgress {
  chunksChecked: number;
  bytesChecked: number;
  badFound: number;
}

const scrubbing = declareWork("scrub");

/** Runs until the signal stops it. */
export async function scrub(
  index: ChunkIndex,
  store: ChunkStore,
  { intervalMs, bytesPerSecond, signal, log, now = Date.now }: ScrubOptions,
  progress: ScrubProgress,
): Promise<void> {
  const pace = new Pace(bytesPerSecond);
  while (!signal.aborted) {
    scrubbing.begins();
    const row = index.leastRecentlyVerified();
    const dueInMs = row ? row.verifiedAt + intervalMs - now() : MAX_WAIT_MS;
    if (!row || dueInMs > 0) {
      await pause(Math.min(dueInMs, MAX_WAIT_MS, intervalMs), signal);
      continue;
    }
    try {
      const verdict = await store.verify(row.chunkId, null, (bytes) => {
        signal.throwIfAborted();
        progress.bytesChecked += bytes;
        return pace.take(bytes, signal);
      });
      progress.chunksChecked++;
      if (verdict !== "good") progress.badFound++;
    } catch (err) {
      if (signal.aborted) return;
      log.error({ event: "scrub-failed", err, chunk: formatChunkId(row.chunkId) }, "a chunk could not be checked");
      await pause(RETRY_MS, signal);
    }
  }
}
