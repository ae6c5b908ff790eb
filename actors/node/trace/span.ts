/**
 * Spans: how long a part of some work took, and of what it was a part. While tracing is off a span costs a null check, and
 * nothing of OpenTelemetry is loaded; `exporter.ts` turns it on.
 */
import { currentContext, inContext, outsideRequest, type TraceContext } from "./trace-context.ts";
import { isSampled, type SpanId } from "./traceparent.ts";

/** `client` and `server` are the two ends of a request between nodes. */
export type SpanKind = "client" | "server" | "internal";
export type Attributes = Record<string, string | number | boolean | string[]>;

/** What `exporter.ts` puts behind a span. */
export interface TracedSpan {
  readonly id: SpanId;
  set(attributes: Attributes): void;
  rename(name: string): void;
  event(name: string, attributes?: Attributes): void;
  /** @param error why the work failed */
  end(error?: unknown): void;
}
export interface Tracer {
  begin(name: string, kind: SpanKind, parent: SpanId | undefined): TracedSpan;
}

/** A span that has begun; `context` is for the work in it. */
export interface Span extends Omit<TracedSpan, "id"> {
  readonly context: TraceContext;
}

let tracer: Tracer | null = null;

/** @param given null: tracing is off from now on */
export const setTracer = (given: Tracer | null): void => {
  tracer = given;
};

export const isTracing = (): boolean => tracer !== null;

/** Begins a span below the current one. @returns null where nothing is traced */
export function startSpan(name: string, kind: SpanKind = "internal"): Span | null {
  if (tracer === null) return null;
  const parent = currentContext()?.span;
  return parent && isSampled(parent) ? begin(tracer, name, kind, parent, currentContext()) : null;
}

/** Begins a trace of its own, or goes on with the one that a client names. @returns null while tracing is off */
export const startTrace = (name: string, kind: SpanKind, context?: TraceContext): Span | null =>
  tracer === null ? null : begin(tracer, name, kind, context?.span, context);

function begin(by: Tracer, name: string, kind: SpanKind, parent: SpanId | undefined, within?: TraceContext): Span {
  const traced = by.begin(name, kind, parent);
  const context = { span: traced.id, requestId: within?.requestId, cause: within?.cause };
  return {
    context,
    set: (attributes) => traced.set(attributes),
    rename: (to) => traced.rename(to),
    event: (event, attributes) => traced.event(event, attributes),
    end: (error) => traced.end(error),
  };
}

/** Does `work` in a span, which ends with it. */
export function spanned<T>(name: string, kind: SpanKind, work: (span: Span | null) => Promise<T>): Promise<T> {
  const span = startSpan(name, kind);
  return span === null ? work(null) : within(span, work);
}

async function within<T>(span: Span, work: (span: Span) => Promise<T>): Promise<T> {
  try {
    const value = await inContext(span.context, () => work(span));
    span.end();
    return value;
  } catch (error) {
    span.end(error);
    throw error;
  }
}

/** Does what no request asked for, in a trace of its own. The caller ends the span. */
export function ofItself<T>(name: string, work: (span: Span | null) => T): T {
  return outsideRequest(() => {
    const span = startTrace(name, "internal", currentContext());
    return span === null ? work(null) : inContext(span.context, () => work(span));
  });
}

/** Answers a request that another node signed, as a part of what that node was at. */
export const received = <T>(
  context: TraceContext | undefined,
  name: string,
  work: (span: Span | null) => Promise<T>,
): Promise<T> => inContext(context, () => spanned(name, "server", work));
