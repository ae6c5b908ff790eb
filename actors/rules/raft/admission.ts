/**
 * What a message between masters must be before the machine hears of it. A schema says what a field holds; here is what
 * fields say of each other and of what this node knows.
 */
import type { RaftMessage } from "../../messages/raft.ts";
import { isWithinReach } from "../term.ts";
import { lastIndex } from "./log-tail.ts";
import { membersOf } from "./quorum.ts";
import type { RaftState } from "./state.ts";

export interface Inadmissible {
  code: "IMPLAUSIBLE_TERM" | "INVALID_MESSAGE";
  reason: string;
}

/** @returns null if the machine may take it */
export function whyInadmissible(state: RaftState, message: RaftMessage): Inadmissible | null {
  const { type, from, term } = message;
  if (!isWithinReach(highestTermIn(message), state.term) && !isFirstWord(state, message))
    return {
      code: "IMPLAUSIBLE_TERM",
      reason: `${type} of ${from} is of term ${highestTermIn(message)}; ${state.id} knows ${state.term}`,
    };
  const contradiction = contradictionIn(message);
  if (contradiction === null) return null;
  return { code: "INVALID_MESSAGE", reason: `${type} of ${from}, term ${term}: ${contradiction}` };
}

/** A pre-vote's answer speaks of the term that was asked about, which is above the answerer's own. */
const highestTermIn = (message: RaftMessage): number =>
  message.type === "rpc.preVoteReply" ? Math.max(message.term, message.forTerm) : message.term;

/** A master that waits to be added knows no term, and no vote of it is lost: it believes the leader that takes it in. */
const isFirstWord = (state: RaftState, { type }: RaftMessage): boolean =>
  (type === "rpc.append" || type === "rpc.beat" || type === "rpc.snapshotOffer") &&
  state.term === 0 &&
  lastIndex(state.log) === 0 &&
  !membersOf(state.configuration).includes(state.id);

/** A log ends in no later term than its owner's, entries follow each other, and terms never fall along a log. */
function contradictionIn(message: RaftMessage): string | null {
  const { type, term } = message;
  if (type === "rpc.vote" || type === "rpc.preVote")
    return message.lastTerm > term ? `its log ends in term ${message.lastTerm}` : null;
  if (type === "rpc.snapshotOffer")
    return message.snapshotTerm > term ? `its snapshot ends in term ${message.snapshotTerm}` : null;
  if (type === "rpc.appendReply") return message.hintTerm > term ? `its hint is of term ${message.hintTerm}` : null;
  if (type !== "rpc.append") return null;
  let index = message.prevIndex;
  let before = message.prevTerm;
  for (const entry of message.entries) {
    if (entry.index !== index + 1) return `entry ${entry.index} follows ${index}`;
    if (entry.term < before) return `entry ${entry.index} is of term ${entry.term}, the one before of ${before}`;
    index = entry.index;
    before = entry.term;
  }
  return before > term ? `entry ${index} is of term ${before}` : null;
}
