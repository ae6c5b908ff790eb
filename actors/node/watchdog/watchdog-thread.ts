/** The thread that watches a node's event loop, and ends the process: see `watchdog.ts`. */
import { ptr } from "bun:ffi";
import { writeSync } from "node:fs";
import { judgeStillness, observe, type Stillness } from "../../rules/starvation.ts";
import { openCLibrary } from "../c-library.ts";
import { CurrentWork } from "./current-work.ts";
import { threadTimes } from "./thread-times.ts";
import type { WatchOrder } from "./watchdog.ts";

declare const self: Worker;

/** As pino writes them. */
const LogLevel = { warn: 40, fatal: 60 } as const;
/** From this share of the limit on, the stack of what begins is wanted. */
const SUSPICION = 0.5;
/** No longer line is written: a pipe that takes anything takes this much without blocking. */
const MOST_LINE_BYTES = 4096;

/** `process.exit` of a Bun Worker ends that Worker alone. */
const C_FUNCTIONS = {
  _exit: { args: ["i32"], returns: "void" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
} as const;

self.onmessage = ({ data }: MessageEvent<WatchOrder>) => watch(data);

function watch(order: WatchOrder): void {
  const { everyMs, limitMs } = order;
  const work = new CurrentWork(order.shared);
  const asleep = new Int32Array(new SharedArrayBuffer(4));
  let stillness: Stillness | null = null;
  let counts = work.counts();
  let hasWarned = false;
  for (;;) {
    Atomics.wait(asleep, 0, 0, everyMs);
    const look = { atMs: performance.now(), turns: work.turns, ...threadTimes(order.threadId) };
    const isStill: boolean = look.turns === stillness?.last.turns;
    stillness = observe(stillness, look, everyMs);
    if (!isStill) {
      counts = work.counts();
      hasWarned = false;
      work.forgetStack();
      continue;
    }
    const limit = Math.max(limitMs, work.allowedMs);
    const verdict = judgeStillness(stillness, limit);
    if (verdict === "starved") {
      end(order, work, counts, stillness, limit);
      return;
    }
    if (verdict === "waits" && !hasWarned && order.isWarned) {
      hasWarned = true;
      const { latest, times } = work.ranSince(counts);
      tell(order, LogLevel.warn, "event-loop-waits", `the event loop waits for the disk, in: ${latest}`, {
        work: latest,
        sinceTurn: times,
        waitedMs: Math.round(stillness.waitedMs),
      });
    }
    if (stillness.chargedMs >= SUSPICION * limit && work.stack === null) work.askForStack();
  }
}

function end(order: WatchOrder, work: CurrentWork, counts: Int32Array, stillness: Stillness, limitMs: number): void {
  if (order.isTold) {
    const { latest, times } = work.ranSince(counts);
    tell(order, LogLevel.fatal, "event-loop-starved", `the event loop stood still; what began last: ${latest}`, {
      work: latest,
      sinceTurn: times,
      chargedMs: Math.round(stillness.chargedMs),
      waitedMs: Math.round(stillness.waitedMs),
      limitMs,
      threadState: stillness.last.state,
      stack: work.stack,
    });
  }
  libc()?._exit(order.exitCode);
  process.kill(process.pid, "SIGKILL");
}

/** One line of the node's log. Where it would have to wait for the reader of a full pipe, it is left out. */
function tell({ node }: WatchOrder, level: number, event: string, msg: string, fields: Record<string, unknown>): void {
  const head = { level, time: new Date().toISOString(), node, event };
  let line = `${JSON.stringify({ ...head, ...fields, msg })}\n`;
  if (Buffer.byteLength(line) > MOST_LINE_BYTES) line = `${JSON.stringify({ ...head, ...fields, stack: null, msg })}\n`;
  try {
    if (takesWrites(1)) writeSync(1, line);
  } catch {
    // The reader of the log is gone; the exit code says it too.
  }
}

/** `struct pollfd { int fd; short events; short revents; }` */
function takesWrites(fd: number): boolean {
  const POLLOUT = 4;
  const pollfd = new Int32Array([fd, POLLOUT]);
  return (libc()?.poll(ptr(pollfd), 1, 0) ?? 0) > 0;
}

let opened: ReturnType<typeof openCLibrary<typeof C_FUNCTIONS>> | undefined;
function libc() {
  opened ??= openCLibrary(C_FUNCTIONS);
  return opened;
}
