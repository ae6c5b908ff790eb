/** Judges a whole history by both checks, part by part, and says how much of it could be judged. */
import { LIMITS, type Limits, search } from "./black-box.ts";
import { explain, shrink } from "./explain.ts";
import type { Call, Model } from "./history.ts";
import { partition } from "./partition.ts";
import { checkWitness } from "./witness.ts";

export interface Judged {
  operations: number;
  parts: number;
  /** Operations of the largest part. */
  largest: number;
  /** Why the black-box check gave up, once for each part on which it did. */
  undecided: string[];
  /** Each in words, smallest readable form. */
  violations: string[];
}

/** Any order that explains the answers will do. */
export function judgeBlackBox<State, Op>(
  model: Model<State, Op>,
  history: readonly Call<Op>[],
  limits: Limits = LIMITS,
): Judged {
  const judged: Judged = { operations: history.length, parts: 0, largest: 0, undecided: [], violations: [] };
  // Nobody was told anything by a read without an answer.
  const telling = history.filter((one) => one.outcome !== null || model.changes(one.op, null));
  for (const part of partition(model, telling)) {
    judged.parts++;
    judged.largest = Math.max(judged.largest, part.length);
    const result = search(model, part, limits);
    if (result.found === "limit") judged.undecided.push(result.which);
    if (result.found !== "nothing") continue;
    const small = shrink(model, part);
    const again = search(model, small, { ...limits, clients: small.length, unknown: small.length });
    judged.violations.push(explain(model, small, again.found === "nothing" ? again.deepest : result.deepest));
  }
  return judged;
}

/** The order of the log must do. */
export function judgeWitness<State, Op>(model: Model<State, Op>, history: readonly Call<Op>[]): Judged {
  const judged: Judged = { operations: history.length, parts: 0, largest: 0, undecided: [], violations: [] };
  for (const part of partition(model, history)) {
    judged.parts++;
    judged.largest = Math.max(judged.largest, part.length);
    const result = checkWitness(model, part);
    if (result.found === "contradiction") judged.violations.push(result.why);
  }
  return judged;
}

export const inWords = ({ operations, parts, largest, undecided }: Judged): string =>
  `${operations} operations in ${parts} parts, the largest of ${largest}; ${parts - undecided.length} decided${
    undecided.length > 0 ? `, not ${[...new Set(undecided)].join(", ")}` : ""
  }`;
