/**
 * Time as an idle machine would have taken it. While more threads want to run than there are processors, each gets only a
 * share; this clock goes slower by that share. Patience and durations that are measured with it say the same on a busy
 * machine as on a quiet one, so that no verdict depends on what else runs.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

const SAMPLE_MS = 50;

let fairMs = 0;
let sampledAt = performance.now();
let sampler: Timer | null = null;

/** How much of a processor each runnable thread gets: 1 on a quiet machine, and where the system does not tell. */
function share(): number {
  try {
    const [, , , tasks = ""] = readFileSync("/proc/loadavg", "utf8").split(" ");
    return Math.min(1, availableParallelism() / Number.parseInt(tasks, 10));
  } catch {
    return 1;
  }
}

function sample(): number {
  const now = performance.now();
  fairMs += (now - sampledAt) * share();
  sampledAt = now;
  return fairMs;
}

/** Fair ms since some moment. The first call begins to watch the machine, and never keeps a process alive. */
export function fairNow(): number {
  if (sampler === null) {
    sampledAt = performance.now();
    sampler = setInterval(sample, SAMPLE_MS);
    sampler.unref();
  }
  return sample();
}

/** @returns tells the fair ms since this call */
export function stopwatch(): () => number {
  const began = fairNow();
  return () => fairNow() - began;
}

/**
 * Polls until `condition` holds; a poll that throws counts as "not yet".
 *
 * @param patienceMs fair time after which it is given up
 * @returns fair ms that it took
 * @throws with `what` did not happen, what the last poll threw, and what `describe` says then
 */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  { patienceMs = 20_000, pollMs = 20, describe = async () => "" }: Patience = {},
): Promise<number> {
  const elapsed = stopwatch();
  let last = "";
  for (;;) {
    try {
      if (await condition()) return elapsed();
      last = "";
    } catch (error) {
      last = String(error);
    }
    if (elapsed() > patienceMs) throw new Error(`not within ${patienceMs} ms: ${what}. ${last} ${await describe()}`);
    await Bun.sleep(pollMs);
  }
}

export interface Patience {
  patienceMs?: number;
  pollMs?: number;
  describe?(): Promise<string>;
}
