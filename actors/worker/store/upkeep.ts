/**
 * What a store does by itself, now and then: it looks after its folders, empties its trash, lets rows follow their files,
 * reads again what lies in quarantine, and tries a failing disk. One that fails keeps none of the others from its turn.
 */
import { declareWork } from "../../node/watchdog/current-work.ts";
import type { ChunkStore } from "./chunk-store.ts";
import type { Disk } from "./disk.ts";
import { FolderWatch, type FolderWatchOptions } from "./folder-watch.ts";
import type { Ground } from "./ground.ts";
import { pause } from "./pace.ts";

/** The sums over all rows are checked this often; that reads all of them. */
const AUDIT_MS = 600_000;

export interface UpkeepOptions extends FolderWatchOptions {
  /** Chunks stay this long in trash and quarantine while there is space. */
  keepMs: number;
  /** Between two rounds. */
  sweepMs: number;
  /** While the disk refuses writes, a trial write this often; and as often a look at what lies in quarantine. */
  probeMs: number;
  /** A copy that was put into quarantine is read again after this, then ever more rarely. */
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
    if (disk.failure !== null && watch.isWhole && isProbeDue() && disk.probe())
      log.info({ event: "disk-recovered" }, "the disk takes writes again");
    if (disk.failure === null) {
      // First, since it makes the space that the others may need.
      await attempt("sweep-failed", () => store.sweep(keepMs, () => disk.space(store.usedBytes).freeBytes === 0));
      await attempt("catch-up-failed", () => store.catchUp());
      if (isRecheckDue()) await attempt("recheck-failed", () => store.recheck(recheckAfterMs));
      await attempt("audit-failed", () => store.audit(isAuditDue()));
    }
    await pause(sweepMs, signal);
  }
}

/** @returns whether `ms` have passed since it last said so; at first it does */
function every(ms: number): () => boolean {
  let last = Number.NEGATIVE_INFINITY;
  return () => {
    if (performance.now() - last < ms) return false;
    last = performance.now();
    return true;
  };
}
