/** Workers at which a copy has just failed rest: repair takes others meanwhile. Longer after each failure in a row. */
import type { NodeId } from "../../messages/primitives.ts";

export interface TargetRest {
  failures: number;
  /** In ms, by the clock that it was decided by. */
  until: number;
}

const REST_MS = 5_000;
const MOST_REST_MS = 60_000;

/** Refusals that speak of the worker that was to take the copy: not of the chunk, of the sources, or of the order. */
const OF_THE_TARGET: ReadonlySet<string> = new Set(["NO_SPACE", "READ_ONLY", "INTERNAL", "OVERLOADED", "NOT_READY"]);

export const isOfTheTarget = (code: string): boolean => OF_THE_TARGET.has(code);

/** @param before its rest so far; one that ended long ago does not count */
export function afterFailure(before: TargetRest | undefined, now: number): TargetRest {
  const failures = before && now - before.until <= MOST_REST_MS ? before.failures + 1 : 1;
  return { failures, until: now + Math.min(MOST_REST_MS, REST_MS * 2 ** (failures - 1)) };
}

/** Those that rest now. */
export const resting = (rests: ReadonlyMap<NodeId, TargetRest>, now: number): NodeId[] =>
  [...rests].filter(([, { until }]) => until > now).map(([id]) => id);
