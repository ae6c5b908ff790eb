/**
 * The one place that calls other nodes. `request` has a deadline, a way to give it up, and every failure in our words;
 * `stream` hands over an answer without a deadline. Both carry the trace context of the code that asks.
 */
import { Refusal } from "../../messages/errors.ts";
import { carryOn } from "../trace/carry.ts";
import { type Span, startSpan } from "../trace/span.ts";
import { inContext } from "../trace/trace-context.ts";
import { AS_SENT } from "./whole-body.ts";

export interface CallOptions {
  /** After this the outcome is unknown: TIMEOUT. */
  timeoutMs: number;
  /** Gives the request up: PEER_UNREACHABLE. */
  signal?: AbortSignal;
}

/** A request as its caller makes it up. The trace context is added to `headers`. */
export interface Asking extends RequestInit {
  headers: Headers | Record<string, string>;
}

/**
 * @param read takes the answer, of any status, within the same deadline; a refusal that it throws goes to the caller
 * @param names what the error messages call the receiver and the request
 * @throws Refusal: TIMEOUT, or PEER_UNREACHABLE (`details.connectionRefused`: nothing was received, for certain)
 */
export function request<T>(
  url: string,
  init: Asking,
  options: CallOptions,
  read: (response: Response) => Promise<T>,
  names: { who?: string; what?: string } = {},
): Promise<T> {
  // A message is what is posted, and has the span of its outbox.
  const span = init.method === "POST" ? null : startSpan(init.method ?? "GET", "client");
  if (span === null) return within(url, init, options, read, names);
  describe(span, url, init);
  return inContext(span.context, () => within(url, init, options, read, names)).then(
    (value) => {
      span.end();
      return value;
    },
    (refusal) => {
      span.end(refusal);
      throw refusal;
    },
  );
}

/** Named as OpenTelemetry names HTTP requests: by method and route, without the ids in it. */
function describe(span: Span, url: string, { method = "GET" }: Asking): void {
  const { hostname, port, pathname } = new URL(url);
  const template = pathname.replace(/\/[0-9a-f]{16}(?=\/)/, "/{id}").replace(/\/\d+$/, "/{n}");
  span.rename(`${method} ${template}`);
  span.set({
    "http.request.method": method,
    "url.path": pathname,
    "server.address": hostname,
    "server.port": Number(port),
  });
}

async function within<T>(
  url: string,
  init: Asking,
  { timeoutMs, signal }: CallOptions,
  read: (response: Response) => Promise<T>,
  { who = url, what }: { who?: string; what?: string },
): Promise<T> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    stop();
  }, timeoutMs);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  try {
    return await read(await call(url, { ...init, ...AS_SENT, signal: controller.signal }));
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    if (isLate)
      throw new Refusal("TIMEOUT", `${who} did not answer${what ? ` ${what}` : ""} within ${Math.round(timeoutMs)} ms`);
    const { code, message } = cause as Error & { code?: string };
    throw new Refusal("PEER_UNREACHABLE", `${who} cannot be reached: ${message}`, {
      connectionRefused: code === "ECONNREFUSED",
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/**
 * A request whose answer, of any status, is read while it comes. It has no deadline; `init.signal` ends it.
 *
 * @throws the error that breaks the connection, as `fetch` does
 */
export const stream = (url: string, init: Asking): Promise<Response> => call(url, { ...init, ...AS_SENT });

function call(url: string, init: Asking): Promise<Response> {
  carryOn(init.headers);
  return fetch(url, init);
}
