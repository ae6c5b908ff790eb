/** Clients' sessions, so that a command sent twice takes effect once, and all that ends by log time. */
import type { CommandOf } from "../../messages/commands.ts";
import { endGrant } from "./chunks.ts";
import { ACCOUNTS_SHARED_SINCE } from "./cluster-version.ts";
import { accepted, type Deciding, type Decision, type Environment, read } from "./decision.ts";
import type { Write } from "./state.ts";
import { throwAway } from "./uploads.ts";

const EXPIRED_AT_ONCE = 64;
/** Log time for which it is known why a chunk was placed where it is. */
export const ACCOUNTS_KEPT_MS = 30 * 24 * 3_600_000;
const AGED_AT_ONCE = 512;

export function openSession(command: CommandOf<"OPEN_SESSION">, env: Environment): Decision {
  return accepted({ sessionId: env.index }, [
    ["putSession", { id: env.index, clientId: command.clientId, lastActiveAt: env.logTime }],
  ]);
}

export function* expire(command: CommandOf<"EXPIRE">, env: Environment): Deciding<Decision> {
  const ended = { logTime: env.logTime, limit: EXPIRED_AT_ONCE };
  const grants = yield* read("expiredGrants", ended);
  const uploads = yield* read("expiredUploads", ended);
  const sessions = yield* read("idleSessions", {
    before: env.logTime - command.sessionIdleMs,
    limit: EXPIRED_AT_ONCE,
  });
  const writes: Write[] = [
    ["dropKeyedOutcomes", { logTime: env.logTime }],
    ["dropEmptySets", {}],
  ];
  for (const grant of grants) writes.push(...(yield* endGrant(grant)));
  const aged = env.version < ACCOUNTS_SHARED_SINCE ? NOTHING_AGED : yield* dropAged(env);
  writes.push(...aged.writes);
  for (const upload of uploads) writes.push(...(yield* throwAway(upload, env)));
  for (const { id } of sessions)
    writes.push(
      ["dropSession", { sessionId: id }],
      ["dropOutcomes", { sessionId: id, belowSeq: Number.MAX_SAFE_INTEGER }],
    );
  const more = [grants, uploads, sessions].some((found) => found.length === EXPIRED_AT_ONCE);
  return accepted({ more: more || aged.more }, writes);
}

const NOTHING_AGED = { writes: [] as Write[], more: false };

/** Ended grants, and accounts of placements, that are kept no longer. */
function* dropAged(env: Environment): Deciding<{ writes: Write[]; more: boolean }> {
  const old = { before: env.logTime - ACCOUNTS_KEPT_MS, limit: AGED_AT_ONCE };
  const grants = yield* read("agedGrants", old);
  const accounts = yield* read("agedAccounts", old);
  return {
    writes: [
      ...grants.map(({ id }): Write => ["dropGrant", { grantId: id }]),
      ...accounts.map(({ id }): Write => ["dropAccount", { id }]),
    ],
    more: grants.length === AGED_AT_ONCE || accounts.length === AGED_AT_ONCE,
  };
}
