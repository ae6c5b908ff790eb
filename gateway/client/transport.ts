/** Requests that survive what networks do: repeated with back-off where that is safe, under one idempotency key. */
import { DfsError, errorOf } from "./dfs-error.ts";

export interface Attempts {
  /**
   * Repetitions after the first try, of what is safe to repeat. 4 take about two seconds in all, if every answer is quick.
   *
   * @default 4
   */
  retries?: number;
  /**
   * Pause before the first repetition, ms. Each next one is twice as long, up to five seconds; chance varies it by a quarter.
   *
   * @default 120
   */
  backoffMs?: number;
}

export interface TransportOptions extends Attempts {
  url: string;
  token?: string;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export interface Call {
  /** Default GET. */
  method?: string;
  /** For messages: "Writing a/b". */
  what: string;
  headers?: Record<string, string>;
  /** A function makes the body anew for each try. */
  body?: RequestInit["body"] | (() => RequestInit["body"]);
  signal?: AbortSignal;
  idempotencyKey?: string;
  /** The body cannot be sent twice. */
  once?: boolean;
  /** Statuses beside 2xx that are answers, not errors. */
  accept?: number[];
}

export interface Transport {
  readonly url: string;
  readonly retries: number;
  /** @throws DfsError */
  request(path: string, call: Call): Promise<Response>;
  /** The same, with the JSON of the answer; null if it has none. */
  json(path: string, call: Call): Promise<unknown>;
  pause(attempt: number, signal?: AbortSignal): Promise<void>;
}

/** Refusals that pass by themselves. A change repeated under its idempotency key still happens once. */
const PASSING = new Set(["NO_LEADER", "NOT_LEADER", "NOT_READY", "OVERLOADED", "TIMEOUT", "OUTCOME_UNKNOWN"]);
const LONGEST_PAUSE_MS = 5000;

export const isPassing = (error: unknown): boolean =>
  error instanceof DfsError &&
  (PASSING.has(error.code) || error.code === "UNREACHABLE" || (error.status === 502 && error.code !== "INTERNAL"));

export function createTransport({ url, token, fetch: via = fetch, retries = 4, backoffMs = 120 }: TransportOptions) {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
    throw new DfsError("INVALID_PARAMETER", `${JSON.stringify(url)} is not the address of a gateway`, 0, ADDRESS_HINT);
  const base = url.replace(/\/+$/, "");

  const once = async (path: string, call: Call, key: string | undefined): Promise<Response> => {
    const { method = "GET", what, headers, body, signal, accept = [] } = call;
    let response: Response;
    try {
      // Bun's fetch gives up after five silent minutes unless told not to; large files are longer under way.
      // It would also unpack a file that was stored packed, whose length and checksum are those of what was stored.
      const init: RequestInit & { timeout: boolean; decompress: boolean } = {
        method,
        headers: {
          accept: "application/json, application/problem+json, */*",
          "accept-encoding": "identity",
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...(key ? { "idempotency-key": key } : {}),
          ...headers,
        },
        body: typeof body === "function" ? (body as () => RequestInit["body"])() : body,
        signal,
        redirect: "follow",
        timeout: false,
        decompress: false,
      };
      response = await via(base + path, init);
    } catch (cause) {
      throw connectionError(cause, what, base, signal);
    }
    if (response.ok || accept.includes(response.status)) return response;
    throw await errorOf(response, what);
  };

  const pause = (attempt: number, signal?: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const ceilingMs = Math.min(LONGEST_PAUSE_MS, backoffMs * 2 ** attempt);
      const timer = setTimeout(resolve, ceilingMs * (0.75 + Math.random() / 2));
      signal?.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
    });

  const request = async (path: string, call: Call): Promise<Response> => {
    const isRead = call.method === undefined || call.method === "GET" || call.method === "HEAD";
    const key = isRead ? undefined : (call.idempotencyKey ?? crypto.randomUUID());
    for (let attempt = 0; ; attempt++) {
      try {
        return await once(path, call, key);
      } catch (error) {
        if (attempt >= retries || call.once || !isPassing(error)) throw error;
        await pause(attempt, call.signal);
      }
    }
  };

  const json = async (path: string, call: Call): Promise<unknown> => {
    const response = await request(path, call);
    const text = await response.text().catch((cause) => {
      throw connectionError(cause, call.what, base, call.signal);
    });
    if (text === "") return null;
    try {
      return JSON.parse(text);
    } catch {
      throw new DfsError("UNEXPECTED_ANSWER", `${call.what}: ${base} did not answer in JSON`, response.status);
    }
  };

  return { url: base, retries, request, json, pause } satisfies Transport;
}

const ADDRESS_HINT = "Give it as http://host:port, for example http://127.0.0.1:8080.";

/** A failed or broken connection, told apart from the caller's own abort. */
export function connectionError(cause: unknown, what: string, base: string, signal?: AbortSignal): DfsError {
  if (cause instanceof DfsError) return cause;
  if (signal?.aborted) return new DfsError("ABORTED", `${what} was stopped`, 0, undefined, {}, { cause });
  const code = (cause as { code?: string }).code;
  const reason =
    code === "ECONNREFUSED" || code === "ConnectionRefused"
      ? "nothing listens there"
      : code === "ECONNRESET" || code === "ConnectionClosed"
        ? "the connection broke"
        : (cause as Error).message;
  return new DfsError("UNREACHABLE", `${what}: cannot reach ${base}: ${reason}`, 0, undefined, { reason }, { cause });
}
