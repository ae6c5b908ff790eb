/** How long a request goes on trying to reach a leader, by what is known of the masters meanwhile. */
import type { Outlook } from "./outlook.ts";

export interface Patience {
  /** Try no longer than this, whatever is known. */
  budgetMs?: number;
  /** A transfer depends on it that has begun: it waits for a leader as for a slow one. */
  underWay?: boolean;
}

const QUERY_BUDGET_MS = 10_000;
const COMMAND_BUDGET_MS = 15_000;
/** With the last look at the masters this stays below two seconds. Elections end within 1.5 s as a rule. */
const REFUSE_AFTER_MS = 1700;

export interface Effort extends Patience {
  /** As `askedWaitMs`, when the request came. */
  waitMs: number | null;
  isCommand: boolean;
  /** A master may have taken it: only an answer can say what became of it. */
  isUnclear: boolean;
}

/**
 * @returns ms from the request's arrival. Where no master leads and none soon will, the refusal comes soon, unless the
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
