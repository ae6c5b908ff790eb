/** Reads every sealed chunk back once per interval, the one checked longest ago first, at a limited rate. */
import type { ChunkIndex, ChunkRow } from "../../../databases/chunk-index.ts";
import type { Logger } from "../../node/log.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { Pace, pause, turn } from "./pace.ts";

const MAX_WAIT_MS = 60_000;
/** Before the next check, after one that failed or changed nothing. */
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
    let row: ChunkRow | null = null;
    try {
      row = index.leastRecentlyVerified();
      const dueInMs = row ? row.verifiedAt + intervalMs - now() : MAX_WAIT_MS;
      if (!row || dueInMs > 0) {
        await pause(Math.min(dueInMs, MAX_WAIT_MS, intervalMs), signal);
        continue;
      }
      await store.verify(row.chunkId, null, (bytes) => {
        signal.throwIfAborted();
        progress.bytesChecked += bytes;
        return pace.take(bytes, signal);
      });
      progress.chunksChecked++;
      const found = index.find(row.chunkId);
      if (found?.state === "quarantined" || found?.state === "missing") progress.badFound++;
      // Work that moves its file gets a turn; and a chunk that is as it was before is read again only after a pause.
      await (isAsBefore(row, found) ? pause(RETRY_MS, signal) : turn());
    } catch (err) {
      if (signal.aborted) return;
      const chunk = row && formatChunkId(row.chunkId);
      log.error({ event: "scrub-failed", err: store.refusal(err), chunk }, "a chunk could not be checked");
      await pause(RETRY_MS, signal);
    }
  }
}

const isAsBefore = (before: ChunkRow, now: ChunkRow | null): boolean =>
  now?.state === before.state && now.verifiedAt === before.verifiedAt;
