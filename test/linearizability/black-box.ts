/**
 * The black-box check: is there any order of these operations, each at one moment between its call and its answer, in
 * which the model gives the answers that were given? Knows nothing of how they were carried out.
 *
 * Searches depth first, takes an operation as soon as it fits, goes back when an answer is due that no longer fits, and
 * never tries the same set of operations with the same state twice.
 *
 * @see Wing & Gong 1993, Lowe 2017; the list of calls and answers is that of Porcupine
 */
import type { Call, Model } from "./history.ts";

export interface Limits {
  operations: number;
  clients: number;
  /** Operations whose outcome is not known. Each doubles the work. */
  unknown: number;
  ms: number;
  /** Configurations remembered. */
  memory: number;
}
export const LIMITS: Limits = { operations: 400, clients: 8, unknown: 10, ms: 5000, memory: 1_000_000 };

export type Search<Op> =
  | { found: "order" }
  | { found: "nothing"; deepest: Deepest<Op> }
  | { found: "limit"; which: string };

/** The furthest that any order came. */
export interface Deepest<Op> {
  ordered: Call<Op>[];
  left: Call<Op>[];
}

/** Why this many operations are not even tried; null if they are. */
export function beyond<Op>(calls: readonly Call<Op>[], limits: Limits): string | null {
  const clients = new Set(calls.map(({ client }) => client)).size;
  const unknown = calls.filter((one) => one.return === null).length;
  if (calls.length > limits.operations) return `${calls.length} operations`;
  if (clients > limits.clients) return `${clients} clients`;
  return unknown > limits.unknown ? `${unknown} unknown outcomes` : null;
}

const CLOCK_EVERY = 1024;

export function search<State, Op>(
  model: Model<State, Op>,
  calls: readonly Call<Op>[],
  limits: Limits = LIMITS,
  now: () => number = () => performance.now(),
): Search<Op> {
  const tooMuch = beyond(calls, limits);
  if (tooMuch) return { found: "limit", which: tooMuch };
  const deadline = now() + limits.ms;
  const line = new EventLine(calls);
  const tried = new Tried(calls.length, model);
  /** Operations taken, with the state before each. `only`: nothing is gained by taking it later. */
  const taken: { call: number; before: State; only: boolean }[] = [];
  let deepest: number[] = [];
  let state = model.initial;
  let dueLeft = calls.filter((one) => one.return !== null).length;
  let at = line.first();
  for (let steps = 0; dueLeft > 0; steps++) {
    if (steps % CLOCK_EVERY === 0 && now() > deadline) return { found: "limit", which: `${limits.ms} ms` };
    if (tried.size > limits.memory) return { found: "limit", which: `${limits.memory} configurations` };
    const call = calls[at];
    if (call) {
      const next = model.step(state, call.op);
      const changed = next.state !== state;
      const fits = call.outcome === null ? changed : next.outcome === call.outcome;
      if (!fits || !tried.isNew(at, next.state)) {
        at = line.after(at);
        continue;
      }
      taken.push({ call: at, before: state, only: !model.changes(call.op, call.outcome) });
      state = next.state;
      line.takeOut(at);
      if (call.outcome !== null) dueLeft--;
      if (taken.length > deepest.length) deepest = taken.map((one) => one.call);
      at = line.first();
      continue;
    }
    // An answer is due, or the end is reached, and something that has been answered does not fit yet.
    let back = taken.pop();
    while (back) {
      tried.forget(back.call);
      line.putBack(back.call);
      if (calls[back.call]?.outcome !== null) dueLeft++;
      if (!back.only) break;
      back = taken.pop();
    }
    if (!back) {
      const ordered = new Set(deepest);
      return {
        found: "nothing",
        deepest: {
          ordered: deepest.map((n) => calls[n] as Call<Op>),
          left: calls.filter((_, n) => !ordered.has(n)),
        },
      };
    }
    state = back.before;
    at = line.after(back.call);
  }
  return { found: "order" };
}

/** Calls and answers in their order, as a linked list from which operations are taken and to which they come back. */
class EventLine {
  /** Node n is the call of operation n, node count + n its answer, node 2 * count the start; -1 is the end. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #count: number;
  readonly #hasAnswer: boolean[];

  constructor(calls: readonly Call<unknown>[]) {
    const count = calls.length;
    const events = calls.flatMap((one, n) => [
      { at: one.call, node: n },
      ...(one.return === null ? [] : [{ at: one.return, node: count + n }]),
    ]);
    // Of what has the same number, calls come first: it is concurrent.
    events.sort((a, b) => a.at - b.at || Number(a.node >= count) - Number(b.node >= count));
    this.#count = count;
    this.#hasAnswer = calls.map((one) => one.return !== null);
    this.#next = new Int32Array(2 * count + 1).fill(-1);
    this.#previous = new Int32Array(2 * count + 1).fill(-1);
    let last = 2 * count;
    for (const { node } of events) {
      this.#link(last, node);
      last = node;
    }
  }

  #link(one: number, other: number): void {
    this.#next[one] = other;
    if (other >= 0) this.#previous[other] = one;
  }

  first(): number {
    return this.#next[2 * this.#count] as number;
  }

  after(node: number): number {
    return this.#next[node] as number;
  }

  takeOut(call: number): void {
    for (const node of this.#hasAnswer[call] ? [call, this.#count + call] : [call])
      this.#link(this.#previous[node] as number, this.#next[node] as number);
  }

  /** In the reverse order of `takeOut`. */
  putBack(call: number): void {
    for (const node of this.#hasAnswer[call] ? [this.#count + call, call] : [call]) {
      const next = this.#next[node] as number;
      this.#next[this.#previous[node] as number] = node;
      if (next >= 0) this.#previous[next] = node;
    }
  }
}

/** Which sets of operations were taken already, and what state they led to. */
class Tried<State, Op> {
  readonly #bits: Uint16Array;
  readonly #keyOf: Model<State, Op>["keyOf"];
  readonly #stateIds = new Map<string, number>();
  readonly #known = new Set<string>();

  constructor(count: number, { keyOf }: Model<State, Op>) {
    this.#bits = new Uint16Array(Math.ceil(count / 16));
    this.#keyOf = keyOf;
  }

  get size(): number {
    return this.#known.size;
  }

  /** Adds `call` to the set, if set and state were not there before. */
  isNew(call: number, state: State): boolean {
    const stateKey = this.#keyOf(state);
    const stateId = this.#stateIds.get(stateKey) ?? this.#stateIds.size;
    this.#stateIds.set(stateKey, stateId);
    this.#flip(call);
    const key = `${stateId} ${String.fromCharCode(...this.#bits)}`;
    if (this.#known.has(key)) {
      this.#flip(call);
      return false;
    }
    this.#known.add(key);
    return true;
  }

  forget(call: number): void {
    this.#flip(call);
  }

  #flip(call: number): void {
    this.#bits[call >> 4] = (this.#bits[call >> 4] as number) ^ (1 << (call & 15));
  }
}
