/**
 * What clients did and were told, and the model of what they should have been told. Nothing here knows a clock, a
 * process or Bun: real clusters, engines in memory and simulations with virtual time write the same histories.
 */

/** One operation of one client, as that client saw it. */
export interface Call<Op> {
  client: string;
  op: Op;
  /** When it was called and when it was answered: only the order counts. What has the same number is concurrent. */
  call: number;
  /** null: no answer, or one that tells nothing. It may have taken effect at any moment after `call`, or never. */
  return: number | null;
  /** In the model's words; null just if `return` is. */
  outcome: string | null;
  /**
   * Where the log has it, if that is known. Of a change: the index of its entry. Of a read: the index up to which the state
   * was applied that it saw.
   */
  index?: number | null;
}

/** How the thing behaves when one operation is done after the other. Pure. */
export interface Model<State, Op> {
  initial: State;
  /** The very same `state` comes back if nothing changed. */
  step(state: State, op: Op): { state: State; outcome: string };
  /** Whether an operation with this outcome may have changed anything; null: the outcome is not known. */
  changes(op: Op, outcome: string | null): boolean;
  /** Equal just if the states are. */
  keyOf(state: State): string;
  /** The names that an operation depends on, so that others cannot matter to it; `prefix`: all that begin so. */
  touches(op: Op): { names: readonly string[]; prefix?: string };
  show(op: Op): string;
}

/** `[12–15] client-3  put a=1 → created` */
export const showCall = <Op>({ show }: Model<unknown, Op>, { client, op, call, ...answer }: Call<Op>): string =>
  `[${call}–${answer.return ?? "?"}] ${client}  ${show(op)} → ${answer.outcome ?? "?"}${answer.index == null ? "" : `  (log ${answer.index})`}`;
