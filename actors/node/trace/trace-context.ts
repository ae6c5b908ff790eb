/**
 * What the running code is a part of: a client's request, a span of a trace, and the record that it is a consequence of. It
 * follows calls, timers and promises by itself; `carry.ts` takes it to other nodes. One store holds all three, so that each
 * request pays for one.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { SpanId } from "./traceparent.ts";

/** A record of some node: `id` names it (n/b/q), `h` is its clock. */
export interface Cause {
  id: string;
  h: string;
}

export interface TraceContext {
  /** The span under way, here or at the node that asked; undefined: nothing traces this. */
  readonly span: SpanId | undefined;
  /** Of the client's request, as its answer names it. */
  readonly requestId: string | undefined;
  readonly cause: Cause | undefined;
}

const running = new AsyncLocalStorage<TraceContext | undefined>();

export const currentContext = (): TraceContext | undefined => running.getStore();

/** What runs from here on, until its caller goes on, is a part of this. */
export const enterContext = (context: TraceContext): void => running.enterWith(context);

/** Runs `work` in `context`; what `work` enters is not what its caller goes on in. */
export function inContext<T>(context: TraceContext | undefined, work: () => T): T {
  const before = running.getStore();
  try {
    return context === before ? work() : running.run(context, work);
  } finally {
    // Bun 1.4 leaves behind what was entered within, where nothing was before.
    if (running.getStore() !== before) running.enterWith(before);
  }
}

/**
 * Runs what serves more than the request that it happens to begin in. The cause goes in with it, and what `work` goes on as
 * its caller goes on as.
 */
export function outsideRequest<T>(work: () => T): T {
  const context = running.getStore();
  if (context === undefined || (context.span === undefined && context.requestId === undefined)) return work();
  running.enterWith({ span: undefined, requestId: undefined, cause: context.cause });
  try {
    return work();
  } finally {
    running.enterWith({ ...context, cause: running.getStore()?.cause });
  }
}
