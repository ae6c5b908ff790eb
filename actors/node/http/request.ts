/**
 * The one place that calls other nodes. `request` has a deadline, a way to give it up, and every failure in our words;
 * `stream` hands over an answer that may take as long as it likes.
 */
import { Refusal } from "../../messages/errors.ts";
import { AS_SENT } from "./whole-body.ts";

export interface CallOptions {
  /** After this the outcome is unknown: TIMEOUT. */
  timeoutMs: number;
  /** Gives the request up: PEER_UNREACHABLE. */
  signal?: AbortSignal;
}

/**
 * @param read takes the answer, whatever its status, within the same deadline; a refusal that it throws goes to the caller
 * @param names what the error messages call the receiver and the request
 * @throws Refusal: TIMEOUT, or PEER_UNREACHABLE (`details.connectionRefused`: nothing was received, for certain)
 */
export async function request<T>(
  url: string,
  init: RequestInit,
  { timeoutMs, signal }: CallOptions,
  read: (response: Response) => Promise<T>,
  { who = url, what }: { who?: string; what?: string } = {},
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
    return await read(await call(url, { ...init, signal: controller.signal }));
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
 * A request whose answer is read while it comes, whatever its status: it has no deadline, `init.signal` ends it.
 *
 * @throws whatever breaks the connection, as `fetch` does
 */
export const stream = (url: string, init: RequestInit): Promise<Response> => call(url, init);

const call = (url: string, init: RequestInit): Promise<Response> => fetch(url, { ...init, ...AS_SENT });
