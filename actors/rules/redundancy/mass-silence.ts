/** Judges whether workers that fall silent together share a switch, a rack or a power line, or broke one by one. */
import type { NodeId } from "../../messages/primitives.ts";

export interface Heard {
  id: NodeId;
  zone: string;
  isSilent: boolean;
}

/** A whole zone is silent, and it is more than this share of the workers. */
const ZONE_SHARE = 0.2;
/** In a large cluster this share is suspicious wherever they stand; in a smaller one, only more than half. */
const LARGE = 10;
const LARGE_SHARE = 0.2;
const SMALL = 5;
const SMALL_SHARE = 0.5;

/**
 * Copying what a whole rack holds would take longer than the rack takes to return, and hurt readers meanwhile.
 *
 * @param workers those that are expected to be there
 * @returns what is silent, in words, or null if it is no more than disks and machines that break one by one
 */
export function massSilence(workers: readonly Heard[]): string | null {
  const silent = workers.filter(({ isSilent }) => isSilent);
  const share = silent.length / Math.max(1, workers.length);
  for (const zone of new Set(silent.map((worker) => worker.zone))) {
    const there = workers.filter((worker) => worker.zone === zone);
    const isWhole = there.length > 1 && there.length < workers.length && there.every(({ isSilent }) => isSilent);
    if (isWhole && there.length / workers.length > ZONE_SHARE)
      return `all ${there.length} workers of ${zone} are silent`;
  }
  const limit = workers.length >= LARGE ? LARGE_SHARE : SMALL_SHARE;
  return workers.length > SMALL && share > limit ? `${silent.length} of ${workers.length} workers are silent` : null;
}
