/** What is reported of every answer: a line in the log, and a count for the metrics. */
import type { Logger } from "../../actors/node/log.ts";
import { authenticated } from "../access/authenticated.ts";
import { nameOf } from "../access/principal.ts";
import { requestIdOf } from "./request-id.ts";

/** Where answers are counted. */
export interface AnswerCounter {
  /**
   * @param route as OpenAPI writes it; `(none)`: no route matched
   * @param seconds until the head of the answer
   */
  answered(method: string, route: string, status: number, seconds: number): void;
}

/** The name of who asks, if that is known already. */
export function askedBy(request: Request): { by?: string } {
  const principal = authenticated(request);
  return principal === null ? {} : { by: nameOf(principal) };
}

export class AccessLog {
  readonly #log: Logger;
  readonly #counter: AnswerCounter;

  constructor(log: Logger, counter: AnswerCounter) {
    this.#log = log;
    this.#counter = counter;
  }

  answered(request: Request, { path, route, status, ms }: { path: string; route: string; status: number; ms: number }) {
    const { method } = request;
    this.#counter.answered(method, route, status, ms / 1000);
    if (!this.#log.isLevelEnabled("debug")) return;
    this.#log.debug(
      { event: "request", id: requestIdOf(request), ...askedBy(request), method, path, status, ms: Math.round(ms) },
      "answered",
    );
  }
}
