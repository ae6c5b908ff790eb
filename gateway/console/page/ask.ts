/** How the page speaks with its gateway: one place that adds the token, reads refusals, and knows whether it answers. */

import { signal } from "@preact/signals";
import { urlOfFile } from "../../../actors/rules/file-url.ts";
import { storedSignal } from "./signals-storage.ts";

/** What the gateway refused, in its own words, or that it did not answer. */
export class AskError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly next: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** For this tab only; asked for when the gateway wants one. */
export const token = storedSignal("dfs-token", "", sessionStorage);
export const tokenWanted = signal(false);

/** ms of the page's own clock, which never jumps; twice a second, for whatever shows an age. */
export const pageClock = signal(performance.now());
setInterval(() => {
  pageClock.value = performance.now();
}, 500);

/** When the gateway last answered (page clock that never jumps); null: not yet. */
export const lastAnswer = signal<number | null>(null);
/** Why the gateway does not answer now; null: it does. */
export const silence = signal<string | null>(null);

export const authorization = (): Record<string, string> =>
  token.value === "" ? {} : { authorization: `Bearer ${token.value}` };

export const noteAnswer = (): void => {
  lastAnswer.value = performance.now();
  if (silence.peek() !== null) silence.value = null;
};

export function noteSilence(reason: string): void {
  if (silence.peek() === null) silence.value = reason;
}

/** @returns what a problem document, or anything else that is not 2xx, says */
export function problemOf(status: number, text: string): AskError {
  try {
    const { code, detail, next } = JSON.parse(text) as { code: string; detail: string; next: string };
    if (typeof code === "string") return new AskError(code, detail, next ?? "", status);
  } catch {
    // Not a problem document.
  }
  return new AskError(`HTTP_${status}`, `The gateway answered ${status}`, "Look into the gateway's log.", status);
}

const PATIENCE_MS = 15_000;

interface Asking extends RequestInit {
  /** Takes the question back; `signal` says how long to wait instead of the usual patience. */
  cancelled?: AbortSignal;
}

/** @throws AskError, also if nothing answers; what an aborted signal makes of it */
export async function ask(path: string, { cancelled, ...init }: Asking = {}): Promise<Response> {
  let response: Response;
  const patience = init.signal ?? AbortSignal.timeout(PATIENCE_MS);
  try {
    response = await fetch(path, {
      ...init,
      signal: cancelled ? AbortSignal.any([patience, cancelled]) : patience,
      headers: { ...authorization(), ...(init.headers as Record<string, string> | undefined) },
    });
  } catch (error) {
    if (init.signal?.aborted || cancelled?.aborted) throw error;
    noteSilence("The gateway does not answer");
    throw new AskError("UNREACHABLE", "The gateway does not answer", "It is asked again every second.", 0);
  }
  noteAnswer();
  if (response.ok) return response;
  const problem = problemOf(response.status, await response.text());
  if (problem.code === "UNAUTHENTICATED") tokenWanted.value = true;
  throw problem;
}

export const askJson = async <T>(path: string, init?: Asking): Promise<T> => (await ask(path, init)).json();

export const postJson = (path: string, body: unknown): Promise<Response> =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });

/** Path of a file as a URL of the gateway. */
export const fileUrl = (path: string): string => urlOfFile(path.replace(/\/$/, ""));

export const sentenceOf = (error: unknown): string =>
  error instanceof AskError
    ? [error.message, error.next].filter(Boolean).join(". ").replace(/\.\.+/g, ".")
    : String(error);
