/**
 * Which record the running code is a consequence of. It follows calls, timers and promises by itself, and crosses to
 * other nodes in a header:
 *
 *     x-cause: worker-1/3/327@0193a5c2d1f00002
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { HybridClock } from "./hybrid-clock.ts";

export const CAUSE_HEADER = "x-cause";

/** `id` names a record (n/b/q), `h` is its clock. */
export interface Cause {
  id: string;
  h: string;
}

const running = new AsyncLocalStorage<Cause | undefined>();
const answered = new WeakMap<object, Cause>();
const PATTERN = /^([a-z0-9][a-z0-9-]{0,62}\/\d{1,15}\/\d{1,15})@([0-9a-f]{16})$/;

/** This process's clock: whatever it hears moves it. */
export let clock = new HybridClock();

/** Puts another in its place: a simulation's, whose time is not this process's. */
export const setClock = (given: HybridClock): void => {
  clock = given;
};

export const currentCause = (): Cause | undefined => running.getStore();

/** What runs from here on, until its caller goes on, is a consequence of this record. */
export const continueAs = (cause: Cause): void => running.enterWith(cause);

/** Runs `work` as a consequence of `cause`; what `work` goes on as is not what its caller goes on as. */
export function withCause<T>(cause: Cause | undefined, work: () => T): T {
  const before = running.getStore();
  try {
    return running.run(cause, work);
  } finally {
    // Bun 1.4 leaves behind what was entered within, where nothing was before.
    if (running.getStore() !== before) running.enterWith(before);
  }
}

export const formatCause = ({ id, h }: Cause): string => `${id}@${h}`;

/** @returns undefined for anything that is not a cause; a clock that was heard is followed */
export function parseCause(text: string | null): Cause | undefined {
  const [, id, h] = PATTERN.exec(text ?? "") ?? [];
  if (id === undefined || h === undefined) return undefined;
  clock.observe(h);
  return { id, h };
}

/** Remembers which record of another node stands behind its answer. */
export function noteAnswer(answer: unknown, cause: Cause | undefined): void {
  if (cause && typeof answer === "object" && answer !== null) answered.set(answer, cause);
}

/** Runs `work` as a consequence of the answer of another node, if that said what stands behind it. */
export const becauseOf = <T>(answer: object, work: () => T): T => {
  const cause = answered.get(answer);
  return cause ? withCause(cause, work) : work();
};
