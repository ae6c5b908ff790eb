/** What of a machine's context goes into a record. */
import { payload } from "./payload.ts";

const KEPT_KEYS = [
  "term",
  "leader",
  "leaderId",
  "votedFor",
  "commitIndex",
  "appliedIndex",
  "mode",
  "deaths",
  "refusedBecause",
  "chunkId",
  "purpose",
  "goodCopies",
  "sourceIds",
  "targetId",
  "reason",
  "attempts",
  "failure",
  "path",
  "by",
  "chunkIndex",
  "lengthBytes",
  "bytes",
  "workers",
  "lost",
] as const;
/** A change of these is a change of state, though the state's name stays. */
const WATCHED_KEYS = ["term", "leader", "leaderId", "mode"] as const;

/** @returns undefined if the machine has nothing worth keeping */
export function contextOf(context: Record<string, unknown>): Record<string, unknown> | undefined {
  const kept: Record<string, unknown> = {};
  for (const key of KEPT_KEYS) if (context[key] !== undefined && context[key] !== null) kept[key] = context[key];
  return payload(kept);
}

export const watchedOf = (context: Record<string, unknown>): unknown[] =>
  WATCHED_KEYS.map((key) => context[key] ?? undefined);

/** @param watched of the context before */
export function isWatchedSame(context: Record<string, unknown>, watched: readonly unknown[]): boolean {
  for (let n = 0; n < WATCHED_KEYS.length; n++)
    if ((context[WATCHED_KEYS[n] as string] ?? undefined) !== watched[n]) return false;
  return true;
}
