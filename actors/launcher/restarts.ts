/** How a node's process ended, in words, and whether the launcher starts it again, and when. */
import { ExitCode } from "../node/lifecycle.ts";

/** How a process ended: by a signal, or with a code. */
export interface Ending {
  exitCode: number;
  signal: string | null;
}

const CODES: Record<number, string> = {
  0: "stopped as it was asked to",
  [ExitCode.crashed]: "crashed",
  [ExitCode.badConfiguration]: "does not accept its configuration",
  [ExitCode.dataDirectoryRefused]: "was refused its port or its data directory",
  [ExitCode.diskFailed]: "stopped because its disk failed",
  [ExitCode.programTooOld]: "stopped because its log holds what only a newer program knows",
  [ExitCode.stateDiverged]: "stopped because its state differs from the other masters'",
  [ExitCode.invariantBroken]: "stopped because an invariant of the program broke",
  [ExitCode.starved]: "was ended by its watchdog because its event loop stood still",
};

/** @returns what follows the node's name */
export function describeEnding({ exitCode, signal }: Ending): string {
  if (signal === "SIGKILL") return "was killed by SIGKILL (by a person, or by the system when memory ran short)";
  if (signal !== null) return `was killed by ${signal}`;
  const words = CODES[exitCode];
  return words ? `${words} (exit code ${exitCode})` : `ended with exit code ${exitCode}`;
}

/** Exit codes that another start would only repeat. */
const NOT_CURED: ReadonlySet<number> = new Set([
  ExitCode.badConfiguration,
  ExitCode.dataDirectoryRefused,
  ExitCode.programTooOld,
  ExitCode.stateDiverged,
]);

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 30_000;
/** A run that lasted this long sets the count of short runs back to zero. */
const GOOD_RUN_MS = 60_000;
/** After this many short runs in a row the launcher gives up. */
export const MOST_STARTS = 6;

export type RestartPlan =
  | { kind: "restart"; afterMs: number; shortRuns: number }
  | { kind: "none"; because: "wanted" | "notCured" | "crashLoop" };

/**
 * @param ranMs how long this run of the process lasted
 * @param shortRuns short runs of this node in a row before this one
 */
export function planRestart({ exitCode, signal }: Ending, ranMs: number, shortRuns: number): RestartPlan {
  if (signal === null && exitCode === 0) return { kind: "none", because: "wanted" };
  if (signal === null && NOT_CURED.has(exitCode)) return { kind: "none", because: "notCured" };
  const inARow = ranMs >= GOOD_RUN_MS ? 0 : shortRuns;
  if (inARow >= MOST_STARTS) return { kind: "none", because: "crashLoop" };
  return {
    kind: "restart",
    afterMs: Math.min(FIRST_PAUSE_MS * 2 ** inARow, LONGEST_PAUSE_MS),
    shortRuns: inARow + 1,
  };
}
