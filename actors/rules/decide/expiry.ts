/** Clients' sessions, so that a command sent twice takes effect once, and all that ends by log time. */
import type { CommandOf } from "../../messages/commands.ts";
import { endGrant } from "./chunks.ts";
import { accepted, type Deciding, type Decision, type Environment, read, type Write } from "./state.ts";
import { throwAway } from "./uploads.ts";

const EXPIRED_AT_ONCE = 64;

export function openSession(command: CommandOf<"OPEN_SESSION">, env: Environment): Decision {
  return accepted({ sessionId: env.index }, [["putSession", env.index, command.clientId, env.logTime]]);
}

export function* expire(command: CommandOf<"EXPIRE">, env: Environment): Deciding<Decision> {
  const grants = yield* read("expiredGrants", env.logTime, EXPIRED_AT_ONCE);
  const uploads = yield* read("expiredUploads", env.logTime, EXPIRED_AT_ONCE);
  const sessions = yield* read("idleSessions", env.logTime - command.sessionIdleMs, EXPIRED_AT_ONCE);
  const writes: Write[] = [["dropKeyedOutcomes", env.logTime], ["dropEmptySets"]];
  for (const grant of grants) writes.push(...(yield* endGrant(grant)));
  for (const upload of uploads) writes.push(...(yield* throwAway(upload, env)));
  for (const { id } of sessions) writes.push(["dropSession", id], ["dropOutcomes", id, Number.MAX_SAFE_INTEGER]);
  const more = [grants, uploads, sessions].some((found) => found.length === EXPIRED_AT_ONCE);
  return accepted({ more }, writes);
}
