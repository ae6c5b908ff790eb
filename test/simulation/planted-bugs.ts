/**
 * Known mistakes in Raft, planted one at a time into the shipped machine or under it. A simulation that does not find
 * them proves nothing by finding nothing.
 */
import { handle, raftMachine } from "../../actors/master/group/raft.machine.ts";
import type { RaftMessageOf } from "../../actors/messages/raft.ts";
import { answerPreVote, answerVote, grantsVote } from "../../actors/rules/raft/election.ts";
import { append, lastIndex, termAt, truncate } from "../../actors/rules/raft/log-tail.ts";
import { quorumValue } from "../../actors/rules/raft/quorum.ts";
import { canRead } from "../../actors/rules/raft/reads.ts";
import {
  applyCommitted,
  followAppend,
  noteAppendReply,
  noteBeatReply,
  noteFlushed,
} from "../../actors/rules/raft/replication.ts";
import { chain, type Effect, type RaftEvent, type RaftState, type Step } from "../../actors/rules/raft/state.ts";
import type { Knobs } from "./knobs.ts";
import type { GroupOptions } from "./raft-group.ts";
import { aTermApart, changeRace, figure8, lateAnswers } from "./raft-scripts.ts";

export interface PlantedBug {
  name: string;
  options: GroupOptions;
  /** The weather that brings it out, where any weather would take too many seeds. */
  knobs?: Partial<Knobs>;
  /** Rules that may notice it. */
  noticedBy: string[];
}

type EventOf<T extends RaftEvent["type"]> = Extract<RaftEvent, { type: T }>;

/** As if the asker's log were complete. */
const flattered = <M extends { lastIndex: number; lastTerm: number }>(message: M): M => ({
  ...message,
  lastIndex: Number.MAX_SAFE_INTEGER,
  lastTerm: Number.MAX_SAFE_INTEGER,
});

/** As if we had not voted yet. */
const forgetful = (state: RaftState): RaftState => ({ ...state, vote: null });

const doubleVote: GroupOptions = {
  machine: raftMachine.provide({
    guards: {
      grantsVote: ({ context, event }) => event.type === "rpc.vote" && grantsVote(forgetful(context), event.message),
    },
    actions: {
      answerVote: handle<EventOf<"rpc.vote">>((state, { message, at }) => answerVote(forgetful(state), message, at)),
    },
  }),
};

const staleLogsWin: GroupOptions = {
  machine: raftMachine.provide({
    guards: {
      grantsVote: ({ context, event }) => event.type === "rpc.vote" && grantsVote(context, flattered(event.message)),
    },
    actions: {
      answerVote: handle<EventOf<"rpc.vote">>((state, { message, at }) => answerVote(state, flattered(message), at)),
      answerPreVote: handle<EventOf<"rpc.preVote">>((state, { message }) =>
        answerPreVote(state, flattered(message), false),
      ),
    },
  }),
};

/** R7 without its second half: whatever a quorum holds counts as committed. */
function commitByCount(state: RaftState): Step {
  const matchOf = (id: string) => (id === state.id ? state.durableIndex : (state.progress[id]?.match ?? 0));
  const reached = quorumValue(state.configuration, matchOf);
  return reached > state.commitIndex ? chain(state, { patch: { commitIndex: reached } }, applyCommitted) : {};
}

const oldTermsCommit: GroupOptions = {
  machine: raftMachine.provide({
    actions: {
      noteAppendReply: handle<EventOf<"rpc.appendReply">>((state, event) =>
        chain(state, noteAppendReply(state, event), commitByCount),
      ),
      noteOwnFlushed: handle<EventOf<"disk.flushed">>((state, event) =>
        chain(state, noteFlushed(state, event, true), commitByCount),
      ),
    },
  }),
};

/** R9 the wrong way: everything behind what the message brings is cut off, also when nothing differs. */
const shorterAppendsCut: GroupOptions = {
  machine: raftMachine.provide({
    actions: {
      followAppend: handle<EventOf<"rpc.append">>((state, event) => {
        const { prevIndex, prevTerm, entries } = event.message;
        const end = prevIndex + entries.length;
        const agrees = termAt(state.log, prevIndex) === prevTerm && prevIndex >= state.log.baseIndex;
        if (!agrees || end >= lastIndex(state.log) || entries.length === 0) return followAppend(state, event);
        const log = append(truncate(state.log, prevIndex + 1), entries);
        const cut: Step = {
          patch: { log, durableIndex: Math.min(state.durableIndex, prevIndex) },
          effects: [{ kind: "persist", truncateFrom: prevIndex + 1, entries }],
        };
        return chain(state, cut, (next) => followAppend(next as RaftState, event));
      }),
    },
  }),
};

const readsUnconfirmed: GroupOptions = {
  machine: raftMachine.provide({
    actions: {
      read: handle<EventOf<"client.read">>((state, { id }) => ({
        effects: [
          canRead(state) ? { kind: "readReady", id, index: state.commitIndex } : { kind: "readFailed", id },
        ] satisfies Effect[],
      })),
    },
  }),
};

/** R6 forgotten: a new leader reads at the commit index that it happens to know. */
const readsBeforeOffice: GroupOptions = {
  machine: raftMachine.provide({
    actions: {
      read: handle<EventOf<"client.read">>((state, { id }) => ({
        patch: {
          waitingReads: [...state.waitingReads, { id, position: state.readSeq + 1, index: state.commitIndex }],
          readSeq: state.readSeq + 1,
        },
      })),
    },
  }),
};

/** Requests counted by nothing: any answer to a beat confirms every read that waits. */
const lateAnswersConfirm: GroupOptions = {
  machine: raftMachine.provide({
    actions: {
      noteBeatReply: handle<EventOf<"rpc.beatReply">>((state, event) =>
        noteBeatReply(state, { ...event, message: { ...event.message, readSeq: state.readSeq } }),
      ),
    },
  }),
};

/** P2 forgotten: a retransmission that adds nothing is answered at once. */
const eagerConfirmations: GroupOptions = {
  machine: raftMachine.provide({
    actions: {
      followAppend: handle<EventOf<"rpc.append">>((state, event) => {
        const step = followAppend(state, event);
        const adds = step.effects?.some(({ kind }) => kind === "persist");
        const effects = step.effects?.map(
          (effect): Effect => (effect.kind === "send" && !adds ? { ...effect, afterFlush: false } : effect),
        );
        return effects ? { ...step, effects } : step;
      }),
    },
  }),
};

/** As it was: a refused pre-vote only counted as a no, and two masters a term apart refused each other for ever. */
const deafToTerms: GroupOptions = {
  machine: raftMachine.provide({
    guards: {
      answersOurPreVote: ({ context, event }) =>
        event.type === "rpc.preVoteReply" && event.message.forTerm === context.term + 1,
    },
  }),
};

/** As it was: a window that reached back into the compacted log was never sent again. */
const windowsStall: GroupOptions = {
  machine: raftMachine.provide({
    actions: {
      noteBeatReply: handle<EventOf<"rpc.beatReply">>((state, event) => {
        const known = state.progress[(event.message as RaftMessageOf<"rpc.beatReply">).from];
        const isStalled =
          known?.mode === "replicate" && known.inflight.length > 0 && termAt(state.log, known.next - 1) === undefined;
        if (!isStalled || !known) return noteBeatReply(state, event);
        const heard = { ...known, lastActiveAt: event.at };
        return { patch: { progress: { ...state.progress, [event.message.from]: heard } } };
      }),
    },
  }),
};

const LIVELY: Partial<Knobs> = {
  masters: 3,
  crashEveryMs: 1500,
  partitionEveryMs: 2000,
  newLeaderKiller: 0.3,
  proposeEveryMs: 20,
  membershipEveryMs: 0,
  spares: 0,
};
/** Leaders that are left behind while they still believe in themselves, and are asked. */
const LEFT_BEHIND: Partial<Knobs> = {
  ...LIVELY,
  crashEveryMs: 0,
  newLeaderKiller: 0,
  partitionEveryMs: 1500,
  pauseEveryMs: 3000,
  readEveryMs: 5,
  maxDelayMs: 20,
};

export const PLANTED_BUGS: PlantedBug[] = [
  {
    name: "a voter forgets that it voted",
    options: doubleVote,
    knobs: { ...LIVELY, crashEveryMs: 4000, newLeaderKiller: 0.8, maxDelayMs: 400, loss: 0.02 },
    noticedBy: ["I1", "I7", "I9", "invariant"],
  },
  { name: "votes and pre-votes go to stale logs", options: staleLogsWin, knobs: LIVELY, noticedBy: ["I4", "I5"] },
  {
    name: "the disk says flushed too early",
    options: { lyingDisk: true },
    knobs: { ...LIVELY, maxFlushMs: 80 },
    noticedBy: ["I1", "I4", "I5", "I6", "I7"],
  },
  {
    name: "a retransmission is confirmed before its entries are flushed",
    options: eagerConfirmations,
    knobs: { ...LIVELY, maxFlushMs: 80, duplication: 0.5 },
    noticedBy: ["I9", "I4", "I5"],
  },
  {
    name: "a shorter append cuts the log",
    options: shorterAppendsCut,
    knobs: { ...LIVELY, maxAppendEntries: 2, duplication: 0.5, maxFlushMs: 10 },
    noticedBy: ["I4", "I5", "I6", "I9", "liveness"],
  },
  {
    name: "reads are not confirmed by a quorum",
    options: readsUnconfirmed,
    // With clocks that agree, silence leaves no leader behind: it steps down as soon as another could be elected.
    knobs: { ...LEFT_BEHIND, clockDrift: 0.3 },
    noticedBy: ["I10"],
  },
  {
    name: "a new leader reads before its first entry is applied",
    options: readsBeforeOffice,
    knobs: LIVELY,
    noticedBy: ["I10"],
  },
  {
    name: "a window into the compacted log is never sent again",
    options: windowsStall,
    knobs: { ...LEFT_BEHIND, pauseEveryMs: 0, compactAfter: 5, maxInflight: 1, maxAppendEntries: 4, readEveryMs: 0 },
    noticedBy: ["liveness"],
  },
];

/** What chance brings out too rarely: each has a script that must not pass. */
export const SCRIPTED_BUGS: { name: string; run: () => unknown }[] = [
  { name: "entries of older terms are committed by counting", run: () => figure8(oldTermsCommit) },
  { name: "a refused pre-vote does not raise the term", run: () => aTermApart(deafToTerms) },
  { name: "members are changed before the leader has committed anything of its own term", run: () => changeRace(true) },
  { name: "late answers confirm reads", run: () => lateAnswers(lateAnswersConfirm) },
];
