/**
 * How long clients wait for the head of an answer: what a failover costs them. A sample a second goes into the records as
 * `clients`; requests with a long body are left out, because their time is the client's.
 */
import { Elysia } from "elysia";
import { rawPath } from "../../actors/node/http/entrance.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";

/** A longer body takes its time whatever the cluster does. */
const MOST_BODY_BYTES = 1 << 20;
const OF_CLIENTS = /^\/(files|uploads)(\/|$)/;

export class ClientWaits {
  #answered = 0;
  #longestMs = 0;
  #longestAt = 0;

  note(elapsedMs: number, now = Date.now()): void {
    this.#answered++;
    if (elapsedMs < this.#longestMs) return;
    this.#longestMs = elapsedMs;
    this.#longestAt = now;
  }

  /** Requests answered since the start, and the longest wait since the last look: how long, and when it ended. */
  look(): { answered: number; longestMs: number; longestAt: number } {
    const seen = { answered: this.#answered, longestMs: Math.round(this.#longestMs), longestAt: this.#longestAt };
    this.#longestMs = 0;
    return seen;
  }
}

function isBrief({ method, headers }: Request): boolean {
  if (method === "GET" || method === "HEAD" || method === "DELETE") return true;
  return Number(headers.get("content-length") ?? Number.NaN) <= MOST_BODY_BYTES;
}

/** @param waits null: nothing is recorded */
export const clientWaits = (waits: ClientWaits | null) =>
  new Elysia({ name: "client-waits", ...SERVER_OPTIONS }).wrap(
    (handle) =>
      (async (request: Request, ...rest: unknown[]) => {
        if (!waits || !isBrief(request) || !OF_CLIENTS.test(rawPath(request.url))) return handle(request, ...rest);
        const startedAt = performance.now();
        try {
          return await handle(request, ...rest);
        } finally {
          waits.note(performance.now() - startedAt);
        }
      }) as never,
  );
