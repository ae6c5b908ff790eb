/** Every actor at an instant, from a keyframe and the records after it. Pure; runs in a browser. */
import type { ActorState, StepRecord } from "./api.ts";

const NO_ACTOR = new Set(["sum", "refused", "mark", "gap"]);

/** How long an ended actor is still shown. */
export const ENDED_SHOWN_MS = 5000;

/** The state of an actor, as this record leaves it. */
export const stateOf = ({ n, b, q, h, t, m, a, s, v, c, tm, z }: StepRecord): ActorState => ({
  n,
  b,
  q,
  h,
  t,
  m,
  a,
  s,
  v,
  ...(c && { c }),
  ...(tm && { tm }),
  ...(z && { z }),
});

/**
 * @param records in order; those with a clock above `h` are left out
 * @param h a clock reading, e.g. `endOf(ms)`
 */
export function statesAt(keyframe: readonly ActorState[], records: readonly StepRecord[], h: string): ActorState[] {
  const actors = new Map(keyframe.map((state) => [`${state.n} ${state.a}`, state]));
  for (const record of records) {
    if (record.h > h) break;
    if (NO_ACTOR.has(record.k)) continue;
    // A restart ends all actors of the earlier process.
    if (record.k === "proc" && record.e === "started")
      for (const [key, { n, b }] of actors) if (n === record.n && b < record.b) actors.delete(key);
    actors.set(`${record.n} ${record.a}`, stateOf(record));
  }
  const shownSince = Number.parseInt(h.slice(0, 12), 16) - ENDED_SHOWN_MS;
  return [...actors.values()].filter(({ z, t }) => !z || t >= shownSince);
}
