/** A command as the log holds it. */
import type { Command } from "../../messages/commands.ts";
import type { RaftEntry } from "../../messages/raft.ts";
import { decode, encode } from "../../node/http/wire.ts";
import type { Proposal } from "../../rules/decide/exactly-once.ts";

/** When the leader took it: log time and wall clock, both in ms. */
export interface Stamp {
  logTime: number;
  wallTime: number;
}

/** `[command, sessionId, seq, lowestUnacked, key, logTime, wallTime]` */
type EntryData = [Command, number, number, number, string | null, number, number];

export const NOOP: Proposal = {
  command: { type: "NOOP" },
  sessionId: 0,
  seq: 0,
  lowestUnacked: 0,
  idempotencyKey: null,
};

export function encodeCommand(proposal: Proposal, { logTime, wallTime }: Stamp): Uint8Array {
  const { command, sessionId, seq, lowestUnacked, idempotencyKey } = proposal;
  const data: EntryData = [command, sessionId, seq, lowestUnacked, idempotencyKey, logTime, wallTime];
  return encode(data);
}

export function decodeCommand({ data }: Pick<RaftEntry, "data">): { proposal: Proposal; stamp: Stamp } {
  const [command, sessionId, seq, lowestUnacked, idempotencyKey, logTime, wallTime] = decode(data) as EntryData;
  return { proposal: { command, sessionId, seq, lowestUnacked, idempotencyKey }, stamp: { logTime, wallTime } };
}
