/**
 * The witness check: the log says in which order the changes took effect. That order must give the answers that were
 * given, and must not contradict what was over before something else began. No search, so it takes any history:
 * O(n log n).
 *
 * A read whose index is not known takes the earliest moment at which it fits; if any placement of the reads is right, that
 * one is.
 */
import { type Call, type Model, showCall } from "./history.ts";

export type Witnessed = { found: "order"; changes: number; others: number } | { found: "contradiction"; why: string };

/** `place` changes have taken effect when it does; of a change, itself included. */
interface Placed<Op> {
  one: Call<Op>;
  place: number;
}

/**
 * @param history with the index of every change that took effect. A change without one is proved to have none: one that
 *   was acknowledged was lost.
 */
export function checkWitness<State, Op>(model: Model<State, Op>, history: readonly Call<Op>[]): Witnessed {
  const contradiction = (why: string, ...calls: (Call<Op> | undefined)[]): Witnessed => ({
    found: "contradiction",
    why: [why, ...calls.flatMap((one) => (one ? [`    ${showCall(model, one)}`] : []))].join("\n"),
  });
  const changes = history
    .filter((one) => one.index != null && model.changes(one.op, one.outcome))
    .toSorted((a, b) => (a.index as number) - (b.index as number));
  const placeOf = new Map<Call<Op>, number>();
  const states: State[] = [model.initial];
  for (const [n, one] of changes.entries()) {
    if (n > 0 && changes[n - 1]?.index === one.index)
      return contradiction("Two changes are said to have the same log entry:", changes[n - 1], one);
    const { state, outcome } = model.step(states[n] as State, one.op);
    if (one.outcome !== null && one.outcome !== outcome)
      return contradiction(
        `In the order of the log, the answer is ${outcome} after ${model.keyOf(states[n] as State)}:`,
        one,
      );
    states.push(state);
    placeOf.set(one, n + 1);
  }
  const lost = history.find((one) => one.outcome !== null && one.index == null && model.changes(one.op, one.outcome));
  if (lost) return contradiction("It was acknowledged, and the log does not have it:", lost);

  const counted = history.filter((one) => placeOf.has(one) || one.outcome !== null);
  const firstAfter = firstChangeCalledAfter(changes);
  const indexes = changes.map(({ index }) => index as number);
  /** The latest that is over, and so binds all that begin now. */
  let over: Placed<Op> | undefined;
  const from = new Map<Call<Op>, Placed<Op> | undefined>();
  for (const { one, isCall } of eventsOf(counted)) {
    const place = placeOf.get(one);
    if (isCall) {
      if (place !== undefined && over && over.place >= place)
        return contradiction(
          "The second was called when the first was over, but the log has it before:",
          over.one,
          one,
        );
      if (place === undefined) from.set(one, over);
      continue;
    }
    const placed: Placed<Op> = { one, place: place ?? -1 };
    if (place === undefined) {
      const after = from.get(one);
      const earliest = one.index == null ? (after?.place ?? 0) : countUpTo(indexes, one.index);
      if (earliest < (after?.place ?? 0))
        return contradiction("It does not see what was over when it was called:", after?.one, one);
      const next = firstAfter(one.return as number);
      const latest = one.index == null ? (next?.place ?? changes.length + 1) - 1 : earliest;
      if (next && latest >= next.place)
        return contradiction("It sees what was called only when it was over:", next.one, one);
      placed.place = earliest;
      while (placed.place <= latest && model.step(states[placed.place] as State, one.op).outcome !== one.outcome)
        placed.place++;
      if (placed.place > latest)
        return contradiction(
          `Between its call and its answer there was first ${model.keyOf(states[earliest] as State)}, at last ${model.keyOf(states[latest] as State)}:`,
          after?.one,
          one,
          next?.one,
        );
      from.delete(one);
    }
    if (!over || placed.place > over.place) over = placed;
  }
  return { found: "order", changes: changes.length, others: counted.length - changes.length };
}

function eventsOf<Op>(calls: readonly Call<Op>[]): { one: Call<Op>; isCall: boolean }[] {
  const events = calls.flatMap((one) => [
    { at: one.call, one, isCall: true },
    ...(one.return === null ? [] : [{ at: one.return, one, isCall: false }]),
  ]);
  return events.sort((a, b) => a.at - b.at || Number(b.isCall) - Number(a.isCall));
}

/** Of the changes that were called after a moment, the first in the log. */
function firstChangeCalledAfter<Op>(changes: readonly Call<Op>[]): (moment: number) => Placed<Op> | undefined {
  const byCall = changes.map((one, n) => ({ one, place: n + 1 })).sort((a, b) => a.one.call - b.one.call);
  const first: (Placed<Op> | undefined)[] = Array.from({ length: byCall.length });
  for (let n = byCall.length - 1; n >= 0; n--) {
    const [here, later] = [byCall[n] as Placed<Op>, first[n + 1]];
    first[n] = later && later.place < here.place ? later : here;
  }
  const called = byCall.map(({ one }) => one.call);
  return (moment) => first[countUpTo(called, moment)];
}

/** How many of the sorted numbers are no greater than `limit`. */
function countUpTo(sorted: readonly number[], limit: number): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((sorted[middle] as number) <= limit) from = middle + 1;
    else to = middle;
  }
  return from;
}
