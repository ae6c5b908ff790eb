/** What a thread of lives tells the one that watches it: what it begins, how it ends, and how often invariants were asked. */
import { currentWork } from "../../actors/node/watchdog/current-work.ts";
import { declaredInvariants } from "../../actors/rules/invariant.ts";
import { simulatedTime } from "./world.ts";

/** By an invariant's claim. */
export type Evaluations = Record<string, number>;

export type Report<Begun, Answer> =
  | { kind: "begun"; begun: Begun; work: SharedArrayBuffer; time: SharedArrayBuffer; threadId: number | null }
  | { kind: "ended"; answer: Answer; evaluations: Evaluations };

declare const self: Worker;

/** @param live to say at once what begins, for the case that it never ends */
export function answerOrders<Order, Begun, Answer>(
  live: (order: Order, begins: (begun: Begun) => void) => Answer | Promise<Answer>,
): void {
  const told: Evaluations = {};
  const say = (report: Report<Begun, Answer>): void => self.postMessage(report);
  self.onmessage = async ({ data }: MessageEvent<Order>) => {
    // Not before: it imports `node:fs` by name, which a simulation of disks has changed by now.
    const { threadId } = await import("../../actors/node/watchdog/thread-times.ts");
    const answer = await live(data, (begun) =>
      say({ kind: "begun", begun, work: currentWork.shared, time: simulatedTime.buffer, threadId: threadId() }),
    );
    const evaluations: Evaluations = {};
    for (const [claim, { evaluations: count }] of declaredInvariants()) {
      evaluations[claim] = count - (told[claim] ?? 0);
      told[claim] = count;
    }
    say({ kind: "ended", answer, evaluations });
  };
}
