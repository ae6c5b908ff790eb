/**
 * Ends a node whose event loop stands still: blocked by a synchronous job, or starved by microtasks that never let a timer
 * run. Such a node answers nothing, not even SIGTERM, and counts as dead without ending; a supervisor can start one that
 * ended. A thread of its own watches (`watchdog-thread.ts`), because the event loop cannot watch itself; what counts as
 * standing still is decided in `rules/starvation.ts`.
 *
 * It costs about 7 MB of memory, and half a millisecond of CPU a second.
 */

import { ExitCode } from "../lifecycle.ts";
import type { Logger } from "../log.ts";
import { currentWork } from "./current-work.ts";
import { threadId } from "./thread-times.ts";

/** CPU time, or time asleep in a call, that the event loop may spend without a turn. */
const LIMIT_MS = 5000;
/** Looks, and turns to be looked at, in the time of the limit. */
const LOOKS = 5;

/** What the watching thread gets. */
export interface WatchOrder {
  shared: SharedArrayBuffer;
  /** The thread that is watched. */
  threadId: number | null;
  limitMs: number;
  everyMs: number;
  exitCode: number;
  node: string;
  /** Does the node's log take warnings, and its last words? */
  isWarned: boolean;
  isTold: boolean;
}

/** To be called once, by an entry script, before anything that may block. */
export function startWatchdog(log: Logger, { limitMs = LIMIT_MS } = {}): void {
  if (isDebugged()) {
    log.warn({ event: "watchdog-off" }, "a debugger may stop this node, so its watchdog is off");
    return;
  }
  const everyMs = limitMs / LOOKS;
  const thread = new Worker(new URL("./watchdog-thread.ts", import.meta.url).href, { smol: true, ref: false });
  thread.onerror = ({ message }) =>
    log.error(
      { event: "watchdog-failed", reason: message },
      "the watchdog failed; a blocked event loop goes unnoticed",
    );
  const order: WatchOrder = {
    shared: currentWork.shared,
    threadId: threadId(),
    limitMs,
    everyMs,
    exitCode: ExitCode.starved,
    node: String(log.bindings().node),
    isWarned: log.isLevelEnabled("warn"),
    isTold: log.isLevelEnabled("fatal"),
  };
  thread.postMessage(order);
  setInterval(() => currentWork.turn(), everyMs).unref();
}

const isDebugged = (): boolean =>
  Bun.env.BUN_INSPECT !== undefined || process.execArgv.some((flag) => flag.startsWith("--inspect"));
