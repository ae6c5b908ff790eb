/** CPU time and state of one thread of this process, from /proc. */
import { readFileSync, readlinkSync } from "node:fs";
import type { Look, ThreadState } from "../../rules/starvation.ts";

/** Linux gives times in hundredths of a second on every machine. */
const TICK_MS = 10;

const STATES: Record<string, ThreadState> = { R: "queued", S: "asleep", D: "onDisk", T: "stopped", t: "stopped" };

/** Of the thread that calls; null where the system does not say. */
export function threadId(): number | null {
  try {
    return Number(/\d+$/.exec(readlinkSync("/proc/thread-self"))?.[0] ?? Number.NaN) || null;
  } catch {
    return null;
  }
}

/** Without /proc: the CPU time of the whole process, which is the main thread's but for little while that is busy. */
export function threadTimes(id: number | null): Pick<Look, "cpuMs" | "state"> {
  try {
    const stat = readFileSync(`/proc/self/task/${id}/stat`, "latin1");
    // The name of a thread, in parentheses, may hold anything.
    const [state = "", ...numbers] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { cpuMs: TICK_MS * (Number(numbers[10]) + Number(numbers[11])), state: STATES[state] ?? "unknown" };
  } catch {
    const { user, system } = process.cpuUsage();
    return { cpuMs: (user + system) / 1000, state: "unknown" };
  }
}
