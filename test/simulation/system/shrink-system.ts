/** Makes a failing life of a cluster smaller while it breaks the same rule: less time, fewer troubles, calmer weather. */
import { ddmin } from "../ddmin.ts";
import type { LifeOrder } from "./life-worker.ts";
import type { SystemFailure, SystemLife } from "./simulate-system.ts";
import { STILL, type SystemKnobs } from "./system-knobs.ts";

const MOST_TRIES = 60;
const SETTLING_MS = 2000;

/** @param live lives a life; null if it was given up */
export async function shrinkSystem(
  failure: SystemFailure,
  live: (order: LifeOrder) => Promise<SystemLife | SystemFailure | null>,
): Promise<SystemFailure> {
  let smallest = failure;
  let tries = 0;
  const stillFails = async (change: Partial<LifeOrder>): Promise<boolean> => {
    if (tries++ >= MOST_TRIES) return false;
    const { seed, knobs, stormMs, plan } = smallest;
    const life = await live({ seed, knobs, stormMs, plan, ...change });
    if (life === null || !("rule" in life) || life.rule !== failure.rule) return false;
    smallest = life;
    return true;
  };
  const lastAt = failure.plan.findLast(({ atMs }) => atMs <= failure.atMs)?.atMs ?? 0;
  await stillFails({
    stormMs: Math.min(failure.stormMs, Math.ceil(lastAt) + SETTLING_MS),
    plan: failure.plan.filter(({ atMs }) => atMs <= lastAt),
  });
  await ddmin(smallest.plan, (plan) => stillFails({ plan }), MOST_TRIES / 2);
  for (const name of Object.keys(STILL) as (keyof SystemKnobs)[])
    if (smallest.knobs[name] !== STILL[name]) await stillFails({ knobs: { ...smallest.knobs, [name]: STILL[name] } });
  return smallest;
}
