/** How long a busy machine kept processes waiting for a processor: time that is not theirs. */
import { readFileSync } from "node:fs";

/** @returns ms that the main thread of a process was ready to run and did not, since it began; 0 where the system does not tell */
export function waitedForProcessor(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[1]) / 1e6;
  } catch {
    // it has ended, or this system keeps no such file
    return 0;
  }
}
