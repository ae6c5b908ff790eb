/**
 * How the context of the running code crosses to another node: as headers on a request of its own, as a third part of a
 * letter in a batch. A node of an older version sends none and leaves these out of account.
 *
 *     traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
 *     tracestate: vendor=value
 *     x-request-id: 0193a5c2-d1f0-7000-8000-000000000000
 *     x-cause: worker-1/3/327@0193a5c2d1f00002
 *
 * They are read from authenticated nodes alone, and at the gateway's door (without the cause) from clients.
 */
import { CAUSE_HEADER, formatCause, parseCause } from "../record/cause.ts";
import { currentContext, type TraceContext } from "./trace-context.ts";
import { formatTraceparent, parseTraceparent, type SpanId } from "./traceparent.ts";

const TRACEPARENT = "traceparent";
const TRACESTATE = "tracestate";
export const REQUEST_ID = "x-request-id";
const REQUEST_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

/** What a letter, or a chunk that shares a message with others, carries. */
export type Carried = [traceparent: string | null, tracestate: string | null, requestId: string | null];

/** @returns undefined for a text that is no request's id */
export const checkedRequestId = (text: unknown): string | undefined =>
  typeof text === "string" && REQUEST_ID_PATTERN.test(text) ? text : undefined;

/** The span that a request's sender was in, if its headers name one. */
export function spanFrom(headers: Headers): SpanId | undefined {
  const parent = headers.get(TRACEPARENT);
  return parent === null ? undefined : parseTraceparent(parent, headers.get(TRACESTATE));
}

/** Adds the running code's context to the headers of a request. @param headers the request's own */
export function carryOn(headers: Headers | Record<string, string>): void {
  const context = currentContext();
  if (context === undefined) return;
  const { span, requestId, cause } = context;
  if (span) {
    put(headers, TRACEPARENT, formatTraceparent(span));
    if (span.state) put(headers, TRACESTATE, span.state);
  }
  if (requestId !== undefined) put(headers, REQUEST_ID, requestId);
  if (cause) put(headers, CAUSE_HEADER, formatCause(cause));
}

function put(headers: Headers | Record<string, string>, name: string, value: string): void {
  if (headers instanceof Headers) headers.set(name, value);
  else headers[name] = value;
}

/** What a request that another node signed is a part of. */
export function contextFrom(headers: Headers): TraceContext | undefined {
  const span = spanFrom(headers);
  const requestId = checkedRequestId(headers.get(REQUEST_ID));
  return contextOf(span, requestId, headers.get(CAUSE_HEADER));
}

/** @returns undefined if there is nothing to carry but a cause, which letters have a place for */
export function pack(context: TraceContext | undefined = currentContext()): Carried | undefined {
  if (context === undefined) return undefined;
  const { span, requestId } = context;
  if (span === undefined && requestId === undefined) return undefined;
  return [span ? formatTraceparent(span) : null, span?.state ?? null, requestId ?? null];
}

/** @param carried as it came: anything that `pack` does not make is taken for nothing */
export function unpack(carried: unknown, cause: string | null = null): TraceContext | undefined {
  if (!Array.isArray(carried)) return contextOf(undefined, undefined, cause);
  const [parent, state, requestId]: unknown[] = carried;
  const text = (part: unknown): string | null => (typeof part === "string" ? part : null);
  return contextOf(parseTraceparent(text(parent), text(state)), checkedRequestId(requestId), cause);
}

function contextOf(
  span: TraceContext["span"],
  requestId: string | undefined,
  causeText: string | null,
): TraceContext | undefined {
  const cause = causeText === null ? undefined : parseCause(causeText);
  return span || requestId !== undefined || cause ? { span, requestId, cause } : undefined;
}
