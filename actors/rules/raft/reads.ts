/**
 * Linearizable reads without a log entry (ReadIndex): the commit index at the time of asking, good once a quorum has
 * confirmed that no other master leads. Reads wait for a position in the sequence of beats, not for an answer to a request,
 * so that late and doubled answers can confirm nothing that was asked after them.
 * @see dissertation §6.4
 */
import { quorumValue } from "./quorum.ts";
import { chain, type Effect, type RaftEvent, type RaftState, type Step } from "./state.ts";

const position = (state: RaftState): number =>
  quorumValue(state.configuration, (id) => (id === state.id ? state.readSeq : (state.progress[id]?.readSeq ?? 0)));

/** R6: a leader whose no-op is not applied yet cannot know what its predecessor committed. */
export const canRead = (state: RaftState): boolean => state.appliedIndex >= state.termStartIndex;

/** One round of beats serves every read that waits when it starts. */
export function read(state: RaftState, event: Extract<RaftEvent, { type: "client.read" }>): Step {
  if (!canRead(state)) return { effects: [{ kind: "readFailed", id: event.id }] };
  const waiting = { id: event.id, position: state.readSeq + 1, index: state.commitIndex };
  const isFirst = !state.waitingReads.some((other) => other.position === waiting.position);
  const asked: Step = { patch: { waitingReads: [...state.waitingReads, waiting] } };
  const isAlone = Object.keys(state.progress).length === 0;
  const roundUnderWay = state.waitingReads.some((other) => other.position <= state.readSeq);
  if (!isFirst || (roundUnderWay && !isAlone)) return asked;
  return chain(state, asked, startRound);
}

/** A beat to every master, with the position that the reads wait for. */
export function beat(state: RaftState): Step {
  const effects = Object.entries(state.progress).map(
    ([id, { match }]): Effect => ({
      kind: "send",
      afterFlush: false,
      message: {
        type: "rpc.beat",
        from: state.id,
        to: id,
        term: state.term,
        commit: Math.min(match, state.commitIndex),
        readSeq: state.readSeq,
      },
    }),
  );
  return { effects };
}

/** The next position, sent to every master. */
const startRound = (state: RaftState): Step =>
  chain(state, { patch: { readSeq: state.readSeq + 1 } }, (next) => chain(next, beat(next), confirmReads));

/** Answers the reads whose position a quorum has echoed, and starts the next round if others wait. */
export function confirmReads(state: RaftState): Step {
  const reached = position(state);
  const confirmed = state.waitingReads.filter((waiting) => waiting.position <= reached);
  if (confirmed.length === 0) return {};
  const waitingReads = state.waitingReads.filter((waiting) => waiting.position > reached);
  const answered: Step = {
    patch: { waitingReads },
    effects: confirmed.map(({ id, index }) => ({ kind: "readReady", id, index })),
  };
  const more = waitingReads.length > 0 && waitingReads.every((waiting) => waiting.position > state.readSeq);
  return more ? chain(state, answered, startRound) : answered;
}

/** A new master, or a removed one, hears of refused reads at once instead of waiting. */
export const refuseRead = (_: RaftState, event: Extract<RaftEvent, { type: "client.read" }>): Step => ({
  effects: [{ kind: "readFailed", id: event.id }],
});
