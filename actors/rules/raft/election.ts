/** Terms, votes and pre-votes: rules R1–R5. */

import type { NodeId } from "../../messages/primitives.ts";
import type { RaftMessageOf } from "../../messages/raft.ts";
import { isUpToDate, lastIndex, lastTerm } from "./log-tail.ts";
import { hasQuorum, isHopeless, isVoter, votersOf } from "./quorum.ts";
import type { Effect, RaftState, RpcEvent, Step } from "./state.ts";

/**
 * R2: a node that hears its leader ignores those who want to replace it, unless the leader itself sent them, or they are
 * the very leader that it remembers.
 */
export function isSticky(state: RaftState, event: RpcEvent, leads: boolean): boolean {
  if (event.type !== "rpc.vote" && event.type !== "rpc.preVote") return false;
  if (event.type === "rpc.vote" && event.message.transfer) return false;
  if (leads) return true;
  if (event.message.from === state.leaderId) return false;
  return state.leaderId !== null && event.at - state.leaderHeardAt < state.timings.electionMs;
}

/** R1: does this message take us to a higher term? Pre-votes never do: they only ask. */
export function raisesTerm(state: RaftState, event: RpcEvent): boolean {
  if (event.type === "rpc.preVote") return false;
  if (event.type === "rpc.preVoteReply" && event.message.granted) return false;
  return event.message.term > state.term;
}

/** R1, R5: a new term starts with no vote and no known leader; durable before anything else is said. */
export function adoptTerm(_: RaftState, event: RpcEvent): Step {
  const { term } = event.message;
  return {
    patch: { term, vote: null, leaderId: null, leaderHeardAt: Number.NEGATIVE_INFINITY, isTransfer: false },
    effects: [
      { kind: "persist", hard: { term, vote: null } },
      { kind: "leaderChanged", leaderId: null, term },
    ],
  };
}

/** R1: a master that is behind learns our term, or it would be stuck for ever. */
export function answerOwnTerm(state: RaftState, event: RpcEvent): Step {
  const { from } = event.message;
  const reply = { from: state.id, to: from, term: state.term };
  switch (event.type) {
    case "rpc.append":
      return {
        effects: [
          {
            kind: "send",
            afterFlush: true,
            message: {
              type: "rpc.appendReply",
              ...reply,
              success: false,
              match: 0,
              hintIndex: 0,
              hintTerm: 0,
              prevIndex: event.message.prevIndex,
            },
          },
        ],
      };
    case "rpc.beat":
      return {
        effects: [{ kind: "send", afterFlush: true, message: { type: "rpc.beatReply", ...reply, readSeq: 0 } }],
      };
    case "rpc.vote":
      return {
        effects: [{ kind: "send", afterFlush: true, message: { type: "rpc.voteReply", ...reply, granted: false } }],
      };
    default:
      return {};
  }
}

/** R3: a pre-vote is granted on the merits of the log alone, and changes nothing here. */
export function answerPreVote(state: RaftState, message: RaftMessageOf<"rpc.preVote">, isTrusted: boolean): Step {
  const granted = !isTrusted && message.term > state.term && isUpToDate(state.log, message);
  return {
    effects: [
      {
        kind: "send",
        afterFlush: true,
        message: {
          type: "rpc.preVoteReply",
          from: state.id,
          to: message.from,
          term: state.term,
          forTerm: message.term,
          granted,
        },
      },
    ],
  };
}

/** R4: one vote a term, for a log at least as complete as ours, while no leader of this term is known. */
export function grantsVote(state: RaftState, message: RaftMessageOf<"rpc.vote">): boolean {
  return (
    message.term === state.term &&
    (state.vote === message.from || (state.vote === null && state.leaderId === null)) &&
    isUpToDate(state.log, message)
  );
}

/** @param at when the answer is given: a new vote is a reason to wait for what comes of it */
export function answerVote(state: RaftState, message: RaftMessageOf<"rpc.vote">, at: number): Step {
  const granted = grantsVote(state, message);
  const isNew = granted && state.vote === null;
  const effects: Effect[] = [];
  if (isNew) effects.push({ kind: "persist", hard: { term: state.term, vote: message.from } });
  effects.push({
    kind: "send",
    afterFlush: true,
    message: { type: "rpc.voteReply", from: state.id, to: message.from, term: state.term, granted },
  });
  return isNew ? { patch: { vote: message.from, waitsAnewFrom: at }, effects } : { effects };
}

/** Begins to wait: now, or from when it had reason to. */
export const waitAnew = ({ waitsAnewFrom }: RaftState, at: number): Step => ({
  patch: { waitsSince: waitsAnewFrom ?? at, waitsAnewFrom: null },
});

/** How long it waits in all, drawn for each wait anew, so that two of them seldom campaign at once. @param chance in [0, 1) */
export const drawTimeout = ({ timings }: RaftState, chance: number): Step => ({
  patch: { electionTimeoutMs: Math.round(timings.electionMs * (1 + chance)), waitsAnewFrom: null },
});

/** How long until it has waited for `forMs`, ms. */
export const waitLeftMs = ({ waitsSince }: RaftState, forMs: number, at: number): number =>
  Math.max(1, waitsSince + forMs - at);

/** A node outside its own configuration does not campaign. */
export const mayCampaign = (state: RaftState): boolean => isVoter(state.configuration, state.id);

export function askPreVotes(state: RaftState): Step {
  return {
    patch: { votes: { [state.id]: true }, leaderId: null, isTransfer: false },
    effects: [
      ...askVoters(state, (to) => ({
        type: "rpc.preVote",
        from: state.id,
        to,
        term: state.term + 1,
        lastIndex: lastIndex(state.log),
        lastTerm: lastTerm(state.log),
      })),
      { kind: "leaderChanged", leaderId: null, term: state.term },
    ],
  };
}

/** The next term, a vote for ourselves, durable before anyone hears of it (P1). */
export function startElection(state: RaftState): Step {
  const term = state.term + 1;
  return {
    patch: {
      term,
      vote: state.id,
      leaderId: null,
      leaderHeardAt: Number.NEGATIVE_INFINITY,
      votes: { [state.id]: true },
    },
    effects: [
      { kind: "persist", hard: { term, vote: state.id } },
      ...askVoters(state, (to) => ({
        type: "rpc.vote",
        from: state.id,
        to,
        term,
        lastIndex: lastIndex(state.log),
        lastTerm: lastTerm(state.log),
        transfer: state.isTransfer,
      })),
      { kind: "leaderChanged", leaderId: null, term },
    ],
  };
}

function askVoters(
  state: RaftState,
  ask: (to: NodeId) => RaftMessageOf<"rpc.preVote"> | RaftMessageOf<"rpc.vote">,
): Effect[] {
  return votersOf(state.configuration)
    .filter((id) => id !== state.id)
    .map((id) => ({ kind: "send", afterFlush: true, message: ask(id) }));
}

export function countPreVote(state: RaftState, message: RaftMessageOf<"rpc.preVoteReply">): Step {
  if (message.forTerm !== state.term + 1) return {};
  return { patch: { votes: { ...state.votes, [message.from]: message.granted } } };
}

export function countVote(state: RaftState, message: RaftMessageOf<"rpc.voteReply">): Step {
  return { patch: { votes: { ...state.votes, [message.from]: message.granted } } };
}

export const hasVoteQuorum = (state: RaftState): boolean =>
  hasQuorum(state.configuration, (id) => state.votes[id] === true);

export const isVoteLost = (state: RaftState): boolean =>
  isHopeless(state.configuration, (id) => state.votes[id] === false);
