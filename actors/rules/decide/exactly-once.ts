/**
 * Exactly once. A command travels with its session and number; a sender that repeats it gets the answer of the first
 * time. The same holds, for a day, for an end client's own idempotency key.
 */
import type { Command } from "../../messages/commands.ts";
import { knownSince, PROGRAM_VERSION, TINY_SINCE } from "./cluster-version.ts";
import { decide } from "./decide.ts";
import { type Deciding, type Decision, type Environment, readOne, refused } from "./decision.ts";
import type { Write } from "./state.ts";

/** What the log holds at one index. */
export interface Proposal {
  command: Command;
  /** 0: the leader's own, or the OPEN_SESSION that makes the session. */
  sessionId: number;
  seq: number;
  lowestUnacked: number;
  idempotencyKey: string | null;
}

/** What a program makes of the log. Tests plant other makes: of a newer program, or a faulty one. */
export interface Rules {
  /** The cluster version up to which it knows all commands. */
  version: number;
  knownSince(type: Command["type"]): number;
  decide(proposal: Proposal, env: Environment): Deciding<Decision>;
}
export const RULES: Rules = { version: PROGRAM_VERSION, knownSince, decide: decideOnce };

const KEY_KEPT_MS = 24 * 3_600_000;
/**
 * Refusals that speak of where the bytes of one attempt lie. They are not remembered under an end client's key, for the
 * same request may well succeed when it is sent again.
 */
const OF_ONE_ATTEMPT = new Set([
  "GRANT_EXPIRED",
  "VERSION_TOO_LOW",
  "CHUNK_ALREADY_COMMITTED",
  "TOO_FEW_REPLICAS",
  "UPLOAD_OFFSET_MISMATCH",
  "CONTENT_NOT_TAKEN",
]);
/** A session in use is noted as such at least this often. */
const TOUCHED_EVERY_MS = 5 * 60_000;
/** Answers are forgotten in batches of this many, so that most commands need not look. */
const FORGOTTEN_AT_ONCE = 32;

function* decideOnce(proposal: Proposal, env: Environment): Deciding<Decision> {
  const { command, sessionId, seq, lowestUnacked, idempotencyKey } = proposal;
  const bookkeeping: Write[] = [];
  if (sessionId > 0) {
    const session = yield* readOne("session", { sessionId });
    if (!session) return refused("SESSION_EXPIRED", `Session ${sessionId} has ended; the command was not applied`);
    if (seq < session.lowestSeq) return refused("STALE_SEQUENCE", `Command ${seq} was acknowledged long ago`);
    const earlier = yield* readOne("outcome", { sessionId, seq });
    if (earlier) return { result: earlier.result, writes: [] };
    const { lowestSeq, lastActiveAt } = session;
    if (lowestUnacked >= lowestSeq + FORGOTTEN_AT_ONCE || env.logTime >= lastActiveAt + TOUCHED_EVERY_MS)
      bookkeeping.push(
        ["touchSession", { sessionId, lastActiveAt: env.logTime, lowestSeq: Math.max(lowestSeq, lowestUnacked) }],
        ["dropOutcomes", { sessionId, belowSeq: lowestUnacked }],
      );
  }
  const decision = yield* decideKeyed(command, idempotencyKey, env);
  if (sessionId > 0) bookkeeping.push(["putOutcome", { sessionId, seq, result: decision.result }]);
  return { result: decision.result, writes: [...decision.writes, ...bookkeeping] };
}

function* decideKeyed(command: Command, key: string | null, env: Environment): Deciding<Decision> {
  if (key === null) return yield* decide(command, env);
  const fingerprint = fingerprintOf(command, env);
  const earlier = yield* readOne("keyedOutcome", { key });
  if (earlier)
    return earlier.fingerprint === fingerprint
      ? { result: earlier.result, writes: [] }
      : refused("INVALID_HEADER", "This Idempotency-Key was used for another request");
  const decision = yield* decide(command, env);
  if (!decision.result.ok && OF_ONE_ATTEMPT.has(decision.result.code)) return decision;
  return {
    result: decision.result,
    writes: [
      ...decision.writes,
      ["putKeyedOutcome", { key, fingerprint, result: decision.result, expiresAt: env.logTime + KEY_KEPT_MS }],
    ],
  };
}

/** What makes two requests the same one: what they ask for, not where the bytes of this attempt happen to lie. */
function fingerprintOf(command: Command, env: Environment): string {
  const { chunks: _, ...rest } = { chunks: null, ...command };
  if (env.version < TINY_SINCE) return JSON.stringify(rest);
  const { content: _bytes, room: _room, ...asked } = { content: null, room: null, ...rest };
  return JSON.stringify(asked);
}
