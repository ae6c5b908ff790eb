/** What of a history shows that no order exists: as little as possible, for somebody to read. */
import { type Deepest, LIMITS, search } from "./black-box.ts";
import { type Call, type Model, showCall } from "./history.ts";
import { partition } from "./partition.ts";

const SHOWN_BEFORE = 6;

/**
 * Makes a part of a history for which no order exists smaller, as long as none exists. What ends early, and reads that are
 * left out, never make an order impossible, so the rest is as wrong as the whole.
 */
export function shrink<State, Op>(model: Model<State, Op>, calls: readonly Call<Op>[]): Call<Op>[] {
  const isWrong = (part: readonly Call<Op>[]): boolean =>
    search(model, part, { ...LIMITS, clients: 1000, unknown: 1000, ms: 500 }).found === "nothing";
  let part = cutAtFirstWrong(calls, isWrong);
  for (const one of part) {
    if (model.changes(one.op, one.outcome)) continue;
    const without = part.filter((other) => other !== one);
    if (isWrong(without)) part = without;
  }
  return partition(model, part).find(isWrong) ?? part;
}

/** Up to the first answer with which it is wrong. */
function cutAtFirstWrong<Op>(calls: readonly Call<Op>[], isWrong: (part: Call<Op>[]) => boolean): Call<Op>[] {
  const answers = calls.flatMap((one) => one.return ?? []).sort((a, b) => a - b);
  const upTo = (end: number): Call<Op>[] =>
    calls
      .filter(({ call }) => call <= end)
      .map((one) => (one.return !== null && one.return > end ? { ...one, return: null, outcome: null } : one));
  let [right, wrong] = [-1, answers.length - 1];
  while (wrong - right > 1) {
    const middle = (right + wrong) >> 1;
    if (isWrong(upTo(answers[middle] as number))) wrong = middle;
    else right = middle;
  }
  const cut = upTo(answers[wrong] as number);
  return isWrong(cut) ? cut : [...calls];
}

/** @param calls what `shrink` left */
export function explain<State, Op>(model: Model<State, Op>, calls: readonly Call<Op>[], deepest: Deepest<Op>): string {
  const { ordered, left } = deepest;
  let state = model.initial;
  for (const { op } of ordered) state = model.step(state, op).state;
  const line = (one: Call<Op>): string => `    ${showCall(model, one)}`;
  const shown = ordered.slice(-SHOWN_BEFORE);
  const more = ordered.length - shown.length;
  return [
    `No order of these ${calls.length} operations gives these answers. The furthest that any came:`,
    ...(more > 0 ? [`    (${more} before)`] : []),
    ...shown.map(line),
    `  then there is ${model.keyOf(state)}, and these do not fit any more:`,
    ...left
      .toSorted((a, b) => (a.return ?? Number.POSITIVE_INFINITY) - (b.return ?? Number.POSITIVE_INFINITY))
      .map(line),
  ].join("\n");
}
