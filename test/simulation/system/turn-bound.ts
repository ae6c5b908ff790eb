/**
 * Bounds what the programs of a simulated world do within one event. A loop that goes on in microtasks alone never lets
 * the next event come: without a bound it would hang the simulator instead of failing the life.
 */
import { type CurrentWork, currentWork } from "../../../actors/node/watchdog/current-work.ts";
import { around, ProcessEnded, type Program } from "./computer.ts";

/** Looks at the clock and calls of the disk. The busiest events have a few hundred. */
const MOST_STEPS = 20_000;

let steps = 0;
let counts: ReturnType<CurrentWork["counts"]> | undefined;

/** The next event comes. */
export function beginTurn(): void {
  steps = 0;
  counts = undefined;
}

/** @throws ProcessEnded where the watchdog of a real node would have ended it */
export function noteStep(program: Program): void {
  steps++;
  if (steps < MOST_STEPS / 2) return;
  counts ??= currentWork.counts();
  if (steps < MOST_STEPS) return;
  if (program.isAlive) {
    const { latest, times } = currentWork.ranSince(counts);
    around().starves(
      program,
      `${program.computer.id} did ${steps} steps in one turn of its event loop; what began last: ${latest}; of late: ${JSON.stringify(times)}`,
    );
  }
  throw new ProcessEnded("starved");
}
