/** Makes a failing life smaller while it still breaks the same rule: less time, calmer weather, fewer masters. */
import { CALM, type Knobs } from "./knobs.ts";
import { type Failure, isFailure, type RunOptions, simulateRaft } from "./simulate-raft.ts";

const MOST_TRIES = 200;

export function shrink(failure: Failure, options: RunOptions = {}): Failure {
  let smallest = failure;
  let tries = 0;
  const stillFails = (knobs: Knobs, stormMs: number): boolean => {
    if (++tries > MOST_TRIES) return false;
    const life = simulateRaft(failure.seed, { ...options, knobs, stormMs });
    if (!isFailure(life) || life.rule !== failure.rule) return false;
    smallest = life;
    return true;
  };
  stillFails(smallest.knobs, Math.min(smallest.stormMs, Math.ceil(smallest.atMs)));
  for (let before = Number.NaN; before !== tries && tries < MOST_TRIES; ) {
    const { knobs, stormMs } = smallest;
    for (const name of Object.keys(CALM) as (keyof Knobs)[])
      if (smallest.knobs[name] !== CALM[name]) stillFails({ ...smallest.knobs, [name]: CALM[name] }, smallest.stormMs);
    for (const share of [0.25, 0.5, 0.75, 0.9])
      if (smallest.stormMs > 100 && stillFails(smallest.knobs, Math.round(smallest.stormMs * share))) break;
    before = smallest.knobs === knobs && smallest.stormMs === stormMs ? tries : Number.NaN;
  }
  return smallest;
}
