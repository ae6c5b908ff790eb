/**
 * The periodic chores of a store: it watches its folders, empties the trash, lets rows follow their files, reads quarantined
 * copies again, and probes a failing disk. A chore that fails does not keep the others from running.
 */
import { declareWork } from "../../node/watchdog/current-work.ts";
import type { ChunkStore } from "./chunk-store.ts";
import type { Disk } from "./disk.ts";
import { FolderWatch, type FolderWatchOptions } from "./folder-watch.ts";
import type { Ground } from "./ground.ts";
import { pause } from "./pace.ts";

/** The sums over all rows are checked this often; that reads all of them, some at a time. */
const AUDIT_MS = 600_000;

export interface UpkeepOptions extends FolderWatchOptions {
  /** Chunks stay this long in trash and quarantine while there is space. */
  keepMs: number;
  /** Between two rounds. */
  sweepMs: number;
  /** Between two trial writes while the disk refuses writes, and between two looks at the quarantine. */
  probeMs: number;
  /** From a copy's quarantine to its first rereading; each one that finds it bad doubles the time to the next. */
  recheckAfterMs: number;
  signal: AbortSignal;
}

const keepingUp = declareWork("upkeep");

/** Runs until the signal stops it. */
export async function upkeep(store: ChunkStore, disk: Disk, ground: Ground, options: UpkeepOptions): Promise<void> {
  const { keepMs, sweepMs, probeMs, recheckAfterMs, signal, log } = options;
  const [isProbeDue, isRecheckDue, isAuditDue] = [every(probeMs), every(probeMs), every(AUDIT_MS)];
  const attempt = async (event: string, work: () => unknown): Promise<void> => {
    keepingUp.begins();
    try {
      await work();
    } catch (error) {
      log.error({ event, err: disk.refusal(error) }, "upkeep of the store failed; it is tried again");
    }
  };
  const watch = new FolderWatch(store, disk, ground, options);
  while (!signal.aborted) {
    await attempt("folders-failed", () => watch.look());
    if (disk.failure !== null && watch.isWhole && isProbeDue() && (await store.mendIndex()) && (await disk.probe()))
      log.info({ event: "disk-recovered" }, "the disk takes writes again");
    if (disk.failure === null) {
      // The sweep comes first, since it frees the space that the other chores may need.
      await attempt("sweep-failed", () => store.sweep(keepMs, () => disk.space(store.usedBytes).freeBytes === 0));
      await attempt("shrink-failed", () => store.shrinkIndex());
      await attempt("catch-up-failed", () => store.catchUp());
      if (isRecheckDue()) await attempt("recheck-failed", () => store.recheck(recheckAfterMs));
      await attempt("audit-failed", () => store.audit(isAuditDue()));
    }
    await pause(sweepMs, signal);
  }
}

/** @returns a function that says once per `ms` that it is time; its first answer is yes */
function every(ms: number): () => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    if (performance.now() - last < ms) return false;
    last = performance.now();
    return true;
  };
}
