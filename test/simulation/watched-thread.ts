/**
 * A thread of lives, watched from outside: a life that hangs cannot say so itself. It is judged like the event loop of a
 * node, by the CPU time that its thread uses without an event of its world, and so not by how busy the machine is.
 */
import { CurrentWork } from "../../actors/node/watchdog/current-work.ts";
import { threadTimes } from "../../actors/node/watchdog/thread-times.ts";
import { judgeStillness, observe, type Stillness } from "../../actors/rules/starvation.ts";
import type { Evaluations, Report } from "./thread-report.ts";

/** CPU time for one event of a world, or for what comes between two: most take a thousandth of this. */
const STILL_MS = 10_000;
const LOOK_EVERY_MS = 1000;

/** A life whose world stood still. */
export interface Hang<Begun> {
  begun: Begun;
  /** In the world's time, ms. */
  atMs: number;
  message: string;
}

export type Outcome<Begun, Answer> = { answer: Answer } | { hang: Hang<Begun> };

export class WatchedThread<Order, Begun, Answer> {
  readonly #worker: Worker;
  readonly #evaluations: Evaluations;

  /** @param evaluations of invariants, to which those of this thread are added */
  constructor(script: string, evaluations: Evaluations) {
    this.#worker = new Worker(script);
    this.#evaluations = evaluations;
  }

  /** @returns null if the life was not over in time; after that, and after a hang, the thread is of no use and ended */
  ask(order: Order, patienceMs: number): Promise<Outcome<Begun, Answer> | null> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome<Begun, Answer> | null>();
    let stopWatching = (): void => {};
    this.#worker.onmessage = ({ data: report }: MessageEvent<Report<Begun, Answer>>) => {
      if (report.kind === "begun") {
        stopWatching = watchLife(report, (hang) => resolve({ hang }));
        return;
      }
      for (const [claim, count] of Object.entries(report.evaluations))
        this.#evaluations[claim] = (this.#evaluations[claim] ?? 0) + count;
      resolve({ answer: report.answer });
    };
    this.#worker.onerror = ({ message }) => reject(new Error(message));
    this.#worker.postMessage(order);
    const timer = setTimeout(() => resolve(null), patienceMs);
    return promise
      .then((outcome) => {
        if (outcome === null || "hang" in outcome) this.end();
        return outcome;
      })
      .finally(() => {
        clearTimeout(timer);
        stopWatching();
      });
  }

  end(): void {
    this.#worker.terminate();
  }
}

/** @returns ends the watch */
function watchLife<Begun>(
  { begun, work: shared, time, threadId }: Report<Begun, never> & { kind: "begun" },
  hangs: (hang: Hang<Begun>) => void,
): () => void {
  const work = new CurrentWork(shared);
  const now = new Float64Array(time);
  let stillness: Stillness | null = null;
  let counts = work.counts();
  const timer = setInterval(() => {
    const look = { atMs: performance.now(), turns: work.turns, ...threadTimes(threadId) };
    if (look.turns !== stillness?.last.turns) counts = work.counts();
    stillness = observe(stillness, look, LOOK_EVERY_MS);
    if (judgeStillness(stillness, Math.max(STILL_MS, work.allowedMs)) !== "starved") return;
    clearInterval(timer);
    const { latest, times } = work.ranSince(counts);
    const used = Math.round(stillness.chargedMs / 1000);
    hangs({
      begun,
      atMs: now[0] as number,
      message: `starved: no event in ${used} s; what began last: ${latest}; since the last event: ${JSON.stringify(times)}`,
    });
  }, LOOK_EVERY_MS);
  return () => clearInterval(timer);
}
