/** How long a request goes on trying to reach a leader, by what is known of the masters meanwhile. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { Outlook } from "./outlook.ts";

export interface Patience {
  /** Try no longer than this, whatever is known. */
  budgetMs?: number;
  /** A transfer depends on it that has begun: it waits for a leader as for a slow one. */
  underWay?: boolean;
}

/** A client may ask for this at most. */
export const LONGEST_WAIT_MS = 60_000;
const QUERY_BUDGET_MS = 10_000;
const COMMAND_BUDGET_MS = 15_000;
/** With the last look at the masters this stays below two seconds. Elections end within 1.5 s as a rule. */
const REFUSE_AFTER_MS = 1700;

const waiting = new AsyncLocalStorage<number | null>();

/** Runs `work` for a client that wants a leader to be waited for, up to `waitMs`. */
export const withWait = <T>(waitMs: number, work: () => T): T => waiting.run(Math.min(waitMs, LONGEST_WAIT_MS), work);

/** Runs `work` for several clients at once: what one of them asked for does not count. */
export const withoutWait = <T>(work: () => T): T => (askedWaitMs() === null ? work() : waiting.run(null, work));

/** What the client of the request in hand asked for, ms; null: nothing. */
export const askedWaitMs = (): number | null => waiting.getStore() ?? null;

export interface Effort extends Patience {
  /** As `askedWaitMs`, when the request came. */
  waitMs: number | null;
  isCommand: boolean;
  /** A master may have taken it: only an answer tells its outcome. */
  isUnclear: boolean;
}

/**
 * @returns ms from the request's arrival. Where nobody leads and nobody soon will, a refusal comes soon, unless the
 *   client asked for more, or what was sent may have taken effect
 */
export function patienceMs({ budgetMs, underWay, waitMs, isCommand, isUnclear }: Effort, { kind }: Outlook): number {
  if (budgetMs !== undefined) return budgetMs;
  const usual = underWay || isCommand ? COMMAND_BUDGET_MS : QUERY_BUDGET_MS;
  if (underWay || kind === "leads" || kind === "behind") return Math.max(usual, waitMs ?? 0);
  return waitMs ?? (kind === "none" && !isUnclear ? REFUSE_AFTER_MS : usual);
}

/** However well things look, nothing is waited for longer. */
export const longestMs = (effort: Effort): number => patienceMs(effort, { kind: "leads", url: "" });
