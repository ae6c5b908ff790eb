/**
 * Takes failovers apart. Every loss of a leader and every death of a worker becomes a report, made from the records
 * alone: which phase took how long, what was refused meanwhile, how many chunks were at risk. Pure; runs in a browser.
 */
import type { About, Report, StepRecord } from "./api.ts";
import { leaderLosses } from "./leader-loss.ts";
import { workerDeaths } from "./worker-death.ts";

/** @param records of all nodes, in order. @returns newest first */
export function reportsOf(records: readonly StepRecord[], timings: About["timings"]): Report[] {
  return [...workerDeaths(records, timings), ...leaderLosses(records, timings)].sort(
    (a, b) => b.from - a.from || (a.id < b.id ? 1 : -1),
  );
}
