/** Which record the running code is a consequence of: a part of its trace context. */
import { type Cause, currentContext, enterContext, inContext } from "../trace/trace-context.ts";
import { HybridClock } from "./hybrid-clock.ts";

export const CAUSE_HEADER = "x-cause";

const answered = new WeakMap<object, Cause>();
const PATTERN = /^([a-z0-9][a-z0-9-]{0,62}\/\d{1,15}\/\d{1,15})@([0-9a-f]{16})$/;

/** Causes that were heard lately, and the clock that followed them: messages name the same one again and again. */
const parsed = new Map<string, { cause: Cause; clock: HybridClock }>();
const MOST_PARSED = 256;

/** This process's clock: the readings of other nodes move it. */
export let clock = new HybridClock();

/** For a simulation, whose time is not this process's. */
export const setClock = (given: HybridClock): void => {
  clock = given;
};

export const currentCause = (): Cause | undefined => currentContext()?.cause;

const withoutCause = { span: undefined, requestId: undefined, cause: undefined };

/** What runs from here on, until its caller goes on, is a consequence of this record. */
export function continueAs(cause: Cause): void {
  const { span, requestId, cause: before } = currentContext() ?? withoutCause;
  if (before !== cause) enterContext({ span, requestId, cause });
}

/** Runs `work` as a consequence of `cause`; what `work` goes on as is not what its caller goes on as. */
export function withCause<T>(cause: Cause | undefined, work: () => T): T {
  return inContext({ ...(currentContext() ?? withoutCause), cause }, work);
}

export const formatCause = ({ id, h }: Cause): string => `${id}@${h}`;

/** @returns undefined for anything that is not a cause; a clock that was heard is followed */
export function parseCause(text: string | null): Cause | undefined {
  if (text === null) return undefined;
  const known = parsed.get(text);
  if (known) {
    if (known.clock !== clock) clock.observe(known.cause.h);
    known.clock = clock;
    return known.cause;
  }
  const [, id, h] = PATTERN.exec(text) ?? [];
  if (id === undefined || h === undefined) return undefined;
  clock.observe(h);
  const cause = { id, h };
  if (parsed.size >= MOST_PARSED) parsed.clear();
  parsed.set(text, { cause, clock });
  return cause;
}

/** Remembers which record of another node stands behind its answer. */
export function noteAnswer(answer: unknown, cause: Cause | undefined): void {
  if (cause && typeof answer === "object" && answer !== null) answered.set(answer, cause);
}

/** Runs `work` as a consequence of the answer of another node, if the answer names its cause. */
export const becauseOf = <T>(answer: object, work: () => T): T => {
  const cause = answered.get(answer);
  return cause ? withCause(cause, work) : work();
};
