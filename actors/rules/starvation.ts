/**
 * Is an event loop starved, or does its process merely get no CPU? Wall time cannot tell: a healthy thread beside a dozen
 * busy processes goes without a turn for seconds, and so does one that was stopped and continued. So a loop is charged for
 * what its own thread did since its last turn: CPU time that it used, and time that it slept in a call although its turn
 * was due. Time in the run queue, time stopped, and time that the watchdog's own clock missed are not charged.
 */

/** `queued`: it runs, or waits for a CPU. `unknown`: this system does not say. */
export type ThreadState = "queued" | "asleep" | "onDisk" | "stopped" | "unknown";

/** The watched thread as one look found it. */
export interface Look {
  /** On the watchdog's monotonic clock. */
  atMs: number;
  /** Turns that the event loop has made. */
  turns: number;
  /** CPU time of the thread so far. */
  cpuMs: number;
  state: ThreadState;
}

/** The time since the last turn that was seen. */
export interface Stillness {
  last: Look;
  /** Used CPU or slept in a call, ms. */
  chargedMs: number;
  /** Waited for the disk, or for what this system does not say, ms. */
  waitedMs: number;
}

export type StillnessVerdict = "well" | "waits" | "starved";

/** A disk that hangs is not cured by a restart, and recovery needs it too: its time ends a node later than ours. */
const PATIENCE_WITH_DISK = 12;
/** A look that comes later than this many periods says that this thread stood still too. */
const GAP_PERIODS = 3;
/** No look is charged for more than this many periods. */
const CHARGED_PERIODS = 1.5;

const begun = (last: Look): Stillness => ({ last, chargedMs: 0, waitedMs: 0 });

/** @param everyMs time between two looks */
export function observe(before: Stillness | null, now: Look, everyMs: number): Stillness {
  if (before === null || now.turns !== before.last.turns) return begun(now);
  const elapsedMs = now.atMs - before.last.atMs;
  if (elapsedMs > GAP_PERIODS * everyMs) return begun(now);
  const heldMs = Math.min(elapsedMs, CHARGED_PERIODS * everyMs);
  const cpuMs = Math.max(0, now.cpuMs - before.last.cpuMs);
  const { chargedMs, waitedMs } = before;
  switch (now.state) {
    case "asleep":
      return { last: now, chargedMs: chargedMs + heldMs, waitedMs };
    case "onDisk":
      return { last: now, chargedMs: chargedMs + cpuMs, waitedMs: waitedMs + Math.max(0, heldMs - cpuMs) };
    case "unknown":
      return {
        last: now,
        chargedMs: chargedMs + Math.min(cpuMs, heldMs),
        waitedMs: waitedMs + Math.max(0, heldMs - cpuMs),
      };
    default:
      return { last: now, chargedMs: chargedMs + cpuMs, waitedMs };
  }
}

export function judgeStillness({ chargedMs, waitedMs }: Stillness, limitMs: number): StillnessVerdict {
  if (chargedMs >= limitMs || waitedMs >= PATIENCE_WITH_DISK * limitMs) return "starved";
  return waitedMs >= limitMs ? "waits" : "well";
}
