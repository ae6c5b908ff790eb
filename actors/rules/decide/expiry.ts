/** Clients' sessions, so that a command sent twice takes effect once, and all that ends by log time. */
import type { CommandOf } from "../../messages/commands.ts";
import { endGrant } from "./chunks.ts";
import { accepted, type Deciding, type Decision, type Environment, read } from "./decision.ts";
import type { Write } from "./state.ts";
import { throwAway } from "./uploads.ts";

const EXPIRED_AT_ONCE = 64;

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
  for (const upload of uploads) writes.push(...(yield* throwAway(upload, env)));
  for (const { id } of sessions)
    writes.push(
      ["dropSession", { sessionId: id }],
      ["dropOutcomes", { sessionId: id, belowSeq: Number.MAX_SAFE_INTEGER }],
    );
  const more = [grants, uploads, sessions].some((found) => found.length === EXPIRED_AT_ONCE);
  return accepted({ more }, writes);
}
