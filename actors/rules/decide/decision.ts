/** What a decision is made of: where in the log it is taken, the questions that it asks, and what comes of it. */
import type { CommandResult } from "../../messages/commands.ts";
import type { ErrorCode } from "../../messages/errors.ts";
import type { Read, Reads, Write } from "./state.ts";

/** The only circumstances that a decision knows: its place in the log. */
export interface Environment {
  index: number;
  term: number;
  /** ms; advances only under a leader. Leases end by it. */
  logTime: number;
  /** ms since the epoch by the leader's clock; shown to people, never decided by. */
  wallTime: number;
  /** The cluster version in force here. A decision whose rules changed between versions must branch on it. */
  version: number;
  /** Of all decisions before this one. */
  stateHash: number;
}

/** What an entry says of itself; the rest of its environment is what was applied before it. */
export type EntryEnvironment = Omit<Environment, "version" | "stateHash">;

export interface Decision {
  result: CommandResult;
  writes: Write[];
}

/** A decision under way: yields reads, is resumed with their rows, and returns. */
export type Deciding<T> = Generator<Read, T, unknown[]>;

/** Asks the state for rows. */
export function* read<K extends keyof Reads>(name: K, where: Reads[K][0]): Deciding<Reads[K][1][]> {
  return (yield [name, where] as unknown as Read) as Reads[K][1][];
}

/** Asks for at most one row. It yields by itself: through `read` each row would cost a second generator. */
export function* readOne<K extends keyof Reads>(name: K, where: Reads[K][0]): Deciding<Reads[K][1] | undefined> {
  return ((yield [name, where] as unknown as Read) as Reads[K][1][])[0];
}

export const accepted = (value: unknown, writes: Write[]): Decision => ({ result: { ok: true, value }, writes });

export const refused = (code: ErrorCode, message: string, details?: Record<string, unknown>): Decision => ({
  result: details ? { ok: false, code, message, details } : { ok: false, code, message },
  writes: [],
});

/** Thrown inside a decision to refuse from any depth; `decide` turns it into a result. */
export class RefusedCommand extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details?: Record<string, unknown>,
  ) {
    super(message);
  }
}

/** The log holds what this master cannot go along with. It must stop, and the others go on. */
export class CannotApply extends Error {
  override name = "CannotApply";
  constructor(
    readonly why: "unknownCommand" | "diverged",
    message: string,
  ) {
    super(message);
  }
}
