/** The log on its way to the others: appends, their answers, and what is committed. Rules R6, R7, R9, R10; P2–P4. */

import type { NodeId } from "../../messages/primitives.ts";
import { MAX_APPEND_BYTES, type RaftEntry, type RaftMessageOf } from "../../messages/raft.ts";
import { fitting } from "../fitting.ts";
import { declareInvariant, type Invariant } from "../invariant.ts";
import { append, emptyLog, type LogTail, lastIndex, lastIndexNotAbove, slice, termAt, truncate } from "./log-tail.ts";
import { decodeConfiguration } from "./membership.ts";
import { isVoter, membersOf, quorumValue } from "./quorum.ts";
import { confirmReads } from "./reads.ts";
import { chain, type Effect, type Progress, type RaftEvent, type RaftState, type Step } from "./state.ts";

const oneLeaderPerTerm: Invariant = declareInvariant("raft: one leader a term");
const followersMatchOurLog: Invariant = declareInvariant("raft: a follower matches no more than the leader's log");
const committedIsKept: Invariant = declareInvariant("raft: a committed entry is never cut off");
const earlierIsKnown: Invariant = declareInvariant("raft: the configuration before a truncated one is known");

// ── the leader ─────────────────────────────────────────────────────────────────────────────────────────────────────

const newProgress = (next: number, at: number): Progress => ({
  mode: "probe",
  match: 0,
  next,
  inflight: [],
  isProbing: false,
  rewoundAt: -1,
  lastActiveAt: at,
  readSeq: 0,
});

/** R6: everyone is probed anew, our own copy counts from the next flush on, and a no-op opens the term. */
export function takeOffice(state: RaftState, at: number): Step {
  const next = lastIndex(state.log) + 1;
  const progress: Record<NodeId, Progress> = {};
  for (const id of membersOf(state.configuration)) if (id !== state.id) progress[id] = newProgress(next, at);
  const entered: Partial<RaftState> = {
    progress,
    durableIndex: 0,
    termStartIndex: next,
    readSeq: 0,
    waitingReads: [],
    transferTo: null,
    leaderId: state.id,
    leaderHeardAt: Number.POSITIVE_INFINITY,
    isTransfer: false,
  };
  const announced: Step = {
    patch: entered,
    effects: [{ kind: "leaderChanged", leaderId: state.id, term: state.term }],
  };
  return chain(state, announced, (leader) => appendOwn(leader, [{ kind: "noop", data: new Uint8Array() }]));
}

type NewEntry = Extract<RaftEvent, { type: "client.propose" }>["entries"][number];

/** R10: the leader only ever adds to its log. Entries go out before its own flush has ended (P3); R7 protects. */
function appendOwn(state: RaftState, added: readonly NewEntry[]): Step {
  const first = lastIndex(state.log) + 1;
  const entries = added.map(({ kind, data }, n): RaftEntry => ({ index: first + n, term: state.term, kind, data }));
  const patch: Partial<RaftState> = { log: append(state.log, entries), ...configurationAfter(state, entries) };
  const appended: Step = { patch, effects: [{ kind: "persist", entries }] };
  return chain(state, appended, (next) => broadcastAppends(withMembers(next)));
}

/** Members that a configuration change has just brought in need a place in the leader's books. */
function withMembers(state: RaftState): RaftState {
  const missing = membersOf(state.configuration).filter((id) => id !== state.id && !state.progress[id]);
  if (missing.length === 0) return state;
  const added = missing.map((id) => [id, newProgress(lastIndex(state.log), Number.NEGATIVE_INFINITY)] as const);
  return { ...state, progress: { ...state.progress, ...Object.fromEntries(added) } };
}

export function propose(state: RaftState, event: Extract<RaftEvent, { type: "client.propose" }>): Step {
  const firstIndex = lastIndex(state.log) + 1;
  const proposed: Step = { effects: [{ kind: "proposed", firstIndex, count: event.entries.length }] };
  return chain(state, proposed, (next) => appendOwn(next, event.entries));
}

export const refuseProposals = (_: RaftState, event: Extract<RaftEvent, { type: "client.propose" }>): Step => ({
  effects: [{ kind: "proposed", firstIndex: null, count: event.entries.length }],
});

/** Sends each follower what it may get now. */
function broadcastAppends(state: RaftState): Step {
  let progress = state.progress;
  const effects: Effect[] = [];
  for (const id of Object.keys(state.progress)) {
    const fed = feed(state, id, progress[id] as Progress);
    progress = fed.progress === progress[id] ? progress : { ...progress, [id]: fed.progress };
    effects.push(...fed.effects);
  }
  return { patch: { progress }, effects };
}

function feed(state: RaftState, id: NodeId, progress: Progress): { progress: Progress; effects: Effect[] } {
  const effects: Effect[] = [];
  let now = progress;
  while (true) {
    if (now.mode === "snapshot" || (now.mode === "probe" && now.isProbing)) break;
    if (now.mode === "replicate" && (now.inflight.length >= state.maxInflight || now.next > lastIndex(state.log)))
      break;
    const prevTerm = termAt(state.log, now.next - 1);
    if (prevTerm === undefined) {
      effects.push({ kind: "sendSnapshot", to: id });
      now = { ...now, mode: "snapshot", inflight: [] };
      break;
    }
    const entries = batchFrom(state, now.next);
    effects.push({
      kind: "send",
      afterFlush: false,
      message: appendMessage(state, id, now.next - 1, prevTerm, entries),
    });
    const sentUpTo = now.next - 1 + entries.length;
    if (now.mode === "probe") {
      now = { ...now, isProbing: true };
      break;
    }
    now = { ...now, next: sentUpTo + 1, inflight: [...now.inflight, sentUpTo] };
  }
  return { progress: now, effects };
}

function batchFrom(state: RaftState, from: number): RaftEntry[] {
  const entries = slice(state.log, from, from + state.maxAppendEntries - 1);
  const count = fitting(entries, ({ data }) => data.length, MAX_APPEND_BYTES);
  return count === entries.length ? entries : entries.slice(0, count);
}

const appendMessage = (
  state: RaftState,
  to: NodeId,
  prevIndex: number,
  prevTerm: number,
  entries: RaftEntry[],
): RaftMessageOf<"rpc.append"> => ({
  type: "rpc.append",
  from: state.id,
  to,
  term: state.term,
  prevIndex,
  prevTerm,
  entries,
  commit: state.commitIndex,
});

/** A beat that was answered: the follower is there, so a lost probe or a lost window is tried again. */
export function noteBeatReply(state: RaftState, event: Extract<RaftEvent, { type: "rpc.beatReply" }>): Step {
  const { from, readSeq } = event.message;
  const known = state.progress[from];
  if (!known) return {};
  const progress: Progress = {
    ...known,
    rewoundAt: -1,
    lastActiveAt: event.at,
    isProbing: false,
    readSeq: Math.max(known.readSeq, readSeq),
  };
  const noted: Step = { patch: { progress: { ...state.progress, [from]: progress } } };
  return chain(state, noted, (next) => chain(next, confirmReads(next), (confirmed) => nudge(confirmed, from)));
}

/**
 * Goes on feeding one follower. A window under way gets an empty append, or a lost window would stall for ever; one that
 * reaches back into what was compacted meanwhile starts over.
 */
function nudge(state: RaftState, id: NodeId): Step {
  const progress = state.progress[id] as Progress;
  if (progress.mode !== "replicate" || progress.inflight.length === 0) return feedOne(state, id);
  const sentTerm = termAt(state.log, progress.next - 1);
  if (sentTerm === undefined) return chain(state, noteUnreachable(state, id, false), (next) => feedOne(next, id));
  return {
    effects: [{ kind: "send", afterFlush: false, message: appendMessage(state, id, progress.next - 1, sentTerm, []) }],
  };
}

function feedOne(state: RaftState, id: NodeId): Step {
  const fed = feed(state, id, state.progress[id] as Progress);
  return { patch: { progress: { ...state.progress, [id]: fed.progress } }, effects: fed.effects };
}

export function noteAppendReply(state: RaftState, event: Extract<RaftEvent, { type: "rpc.appendReply" }>): Step {
  const { from, success, match, hintIndex, hintTerm, prevIndex } = event.message;
  const known = state.progress[from];
  if (!known) return {};
  const answered: Progress = { ...known, lastActiveAt: event.at };
  if (success) {
    const last = lastIndex(state.log);
    followersMatchOurLog.check(match <= last, { from, match, last });
    if (isOldNews(state, known, match, prevIndex))
      return { patch: { progress: { ...state.progress, [from]: answered } } };
    const progress: Progress = {
      ...answered,
      mode: "replicate",
      isProbing: false,
      match: Math.max(known.match, match),
      next: Math.max(known.mode === "replicate" ? known.next : 0, match + 1, known.match + 1),
      inflight: known.mode === "replicate" ? known.inflight.filter((sent) => sent > match) : [],
    };
    const noted: Step = { patch: { progress: { ...state.progress, [from]: progress } } };
    return chain(state, noted, (next) =>
      chain(next, advanceCommit(next), (committed) => chain(committed, feedOne(committed, from), handOver)),
    );
  }
  // Only the answer to the probe that is out moves it: each late or doubled one would start a search of its own. And a
  // window is sent again only once something of the last one arrived, or with a beat: refusals of what merely came out of
  // order would multiply.
  const isStale =
    known.mode === "probe" ? prevIndex !== known.next - 1 : prevIndex <= known.match || known.rewoundAt === known.match;
  if (isStale || known.mode === "snapshot") return { patch: { progress: { ...state.progress, [from]: answered } } };
  const agreed = lastIndexNotAbove(state.log, Math.min(hintIndex, prevIndex - 1), hintTerm);
  const progress: Progress = {
    ...answered,
    mode: "probe",
    rewoundAt: known.mode === "replicate" ? known.match : known.rewoundAt,
    isProbing: false,
    inflight: [],
    next: Math.max(known.match + 1, agreed.index + 1),
  };
  return chain(state, { patch: { progress: { ...state.progress, [from]: progress } } }, (next) => feedOne(next, from));
}

/** A late or doubled confirmation answers no probe, and does not replace a snapshot that is under way. */
const isOldNews = (state: RaftState, known: Progress, match: number, prevIndex: number): boolean =>
  (known.mode === "probe" && match <= known.match && prevIndex !== known.next - 1) ||
  (known.mode === "snapshot" && termAt(state.log, match) === undefined);

export function noteSnapshotReply(state: RaftState, event: Extract<RaftEvent, { type: "rpc.snapshotReply" }>): Step {
  const { from, success, match } = event.message;
  const known = state.progress[from];
  if (known?.mode !== "snapshot") return {};
  const reached = success ? Math.max(known.match, match) : known.match;
  const progress: Progress = {
    ...known,
    mode: "probe",
    isProbing: false,
    lastActiveAt: event.at,
    match: reached,
    next: reached + 1,
  };
  return chain(state, { patch: { progress: { ...state.progress, [from]: progress } } }, (next) => feedOne(next, from));
}

/**
 * Its connection is broken: what was sent may be lost, so start over from what is known to be there.
 * @param waits until it is heard again
 */
export function noteUnreachable(state: RaftState, id: NodeId, waits = true): Step {
  const known = state.progress[id];
  if (known?.mode !== "replicate") return {};
  const progress: Progress = { ...known, mode: "probe", isProbing: waits, next: known.match + 1, inflight: [] };
  return { patch: { progress: { ...state.progress, [id]: progress } } };
}

/**
 * R7: what a quorum has on disk is committed, if it is of the current term; older entries follow with it. The leader
 * counts itself only up to its own last flush.
 */
export function advanceCommit(state: RaftState): Step {
  const matchOf = (id: NodeId): number => (id === state.id ? state.durableIndex : (state.progress[id]?.match ?? 0));
  const reached = quorumValue(state.configuration, matchOf);
  if (reached <= state.commitIndex || termAt(state.log, reached) !== state.term) return {};
  return chain(state, { patch: { commitIndex: reached } }, applyCommitted);
}

/** P4: nothing is applied that is not committed and on our own disk. */
export function applyCommitted(state: RaftState): Step {
  const upTo = Math.min(state.commitIndex, state.durableIndex);
  const { appliedIndex: after } = state;
  return upTo > after ? { patch: { appliedIndex: upTo }, effects: [{ kind: "apply", after, upTo }] } : {};
}

/** P6: a flush that ended after its entries were overwritten says nothing about the ones there now. */
export function noteFlushed(
  state: RaftState,
  event: Extract<RaftEvent, { type: "disk.flushed" }>,
  leads: boolean,
): Step {
  if (termAt(state.log, event.lastIndex) !== event.lastTerm || event.lastIndex <= state.durableIndex) return {};
  const flushed: Step = { patch: { durableIndex: event.lastIndex } };
  return chain(state, flushed, (next) =>
    leads ? chain(next, advanceCommit(next), applyCommitted) : applyCommitted(next),
  );
}

// ── transfer of leadership ─────────────────────────────────────────────────────────────────────────────────────────

/** The target has everything: it may start its election at once. */
export function handOver(state: RaftState): Step {
  const to = state.transferTo;
  if (to === null || state.progress[to]?.match !== lastIndex(state.log)) return {};
  return {
    effects: [
      { kind: "send", afterFlush: true, message: { type: "rpc.timeoutNow", from: state.id, to, term: state.term } },
    ],
  };
}

export function startTransfer(state: RaftState, to: NodeId): Step {
  if (to === state.id || !isVoter(state.configuration, to) || !state.progress[to]) return {};
  return chain(state, { patch: { transferTo: to } }, (next) => chain(next, feedOne(next, to), handOver));
}

// ── check-quorum (R8) ──────────────────────────────────────────────────────────────────────────────────────────────

/** When a quorum, ourselves included, was last known to answer. */
const quorumHeardAt = (state: RaftState, at: number): number =>
  quorumValue(state.configuration, (id) => (id === state.id ? at : (state.progress[id]?.lastActiveAt ?? at)));

/** How long a leader may go on leading if no further answer comes. */
export const quorumPatienceMs = (state: RaftState, at: number): number =>
  quorumHeardAt(state, at) + state.timings.electionMs - at;

/** A master that stops leading forgets what only a leader needs; reads that waited must be asked elsewhere. */
export function leaveOffice(state: RaftState): Step {
  return {
    patch: {
      progress: {},
      waitingReads: [],
      transferTo: null,
      leaderId: null,
      leaderHeardAt: Number.NEGATIVE_INFINITY,
    },
    effects: [
      ...state.waitingReads.map(({ id }): Effect => ({ kind: "readFailed", id })),
      { kind: "leaderChanged", leaderId: null, term: state.term },
    ],
  };
}

// ── the follower ───────────────────────────────────────────────────────────────────────────────────────────────────

const heard = (state: RaftState, from: NodeId, at: number): Step => ({
  patch: { leaderId: from, leaderHeardAt: at, waitsAnewFrom: at },
  effects: state.leaderId === from ? [] : [{ kind: "leaderChanged", leaderId: from, term: state.term }],
});

function assertOneLeader({ leaderId, term }: RaftState, from: NodeId): void {
  oneLeaderPerTerm.check(leaderId === null || leaderId === from, { term, leaderId, from });
}

/**
 * R9: entries are cut off only from the first one whose term differs, never at or below the commit index; what is
 * committed is no more than this message proves.
 */
export function followAppend(state: RaftState, event: Extract<RaftEvent, { type: "rpc.append" }>): Step {
  const { message, at } = event;
  assertOneLeader(state, message.from);
  return chain(state, heard(state, message.from, at), (next) => acceptEntries(next, message));
}

function acceptEntries(state: RaftState, message: RaftMessageOf<"rpc.append">): Step {
  const { prevIndex, prevTerm, entries, from } = message;
  const reply = (answer: { success: boolean; match: number; hintIndex: number; hintTerm: number }): Effect => ({
    kind: "send",
    afterFlush: true,
    message: { type: "rpc.appendReply", from: state.id, to: from, term: state.term, prevIndex, ...answer },
  });
  // Everything at or below the base is committed, so it agrees with the leader's log.
  if (prevIndex >= state.log.baseIndex && termAt(state.log, prevIndex) !== prevTerm) {
    const hint = lastIndexNotAbove(state.log, prevIndex, prevTerm);
    return { effects: [reply({ success: false, match: 0, hintIndex: hint.index, hintTerm: hint.term })] };
  }
  const match = prevIndex + entries.length;
  const conflict = entries.find(({ index, term }) => index > state.log.baseIndex && termAt(state.log, index) !== term);
  const stored = conflict === undefined ? {} : storeFrom(state, conflict.index, entries);
  return chain(state, stored, (next) => {
    const commitIndex = Math.max(next.commitIndex, Math.min(message.commit, match));
    const answered: Step = {
      patch: { commitIndex },
      effects: [reply({ success: true, match, hintIndex: 0, hintTerm: 0 })],
    };
    return chain(next, answered, applyCommitted);
  });
}

function storeFrom(state: RaftState, index: number, received: readonly RaftEntry[]): Step {
  committedIsKept.check(index > state.commitIndex, { index, commitIndex: state.commitIndex });
  const entries = received.filter((entry) => entry.index >= index);
  const cuts = index <= lastIndex(state.log);
  const kept = cuts ? truncate(state.log, index) : state.log;
  const rolledBack = cuts ? configurationBefore(state, index) : {};
  const base = { ...state, ...rolledBack };
  return {
    patch: {
      log: append(kept, entries),
      durableIndex: Math.min(state.durableIndex, index - 1),
      ...rolledBack,
      ...configurationAfter(base, entries),
    },
    effects: [{ kind: "persist", ...(cuts ? { truncateFrom: index } : {}), entries }],
  };
}

export function followBeat(state: RaftState, event: Extract<RaftEvent, { type: "rpc.beat" }>): Step {
  const { message, at } = event;
  assertOneLeader(state, message.from);
  return chain(state, heard(state, message.from, at), (next) => {
    const commitIndex = Math.max(next.commitIndex, Math.min(message.commit, lastIndex(next.log)));
    const answered: Step = {
      patch: { commitIndex },
      effects: [
        {
          kind: "send",
          afterFlush: true,
          message: {
            type: "rpc.beatReply",
            from: next.id,
            to: message.from,
            term: next.term,
            readSeq: message.readSeq,
          },
        },
      ],
    };
    return chain(next, answered, applyCommitted);
  });
}

// ── snapshots ──────────────────────────────────────────────────────────────────────────────────────────────────────

export function followSnapshotOffer(state: RaftState, event: Extract<RaftEvent, { type: "rpc.snapshotOffer" }>): Step {
  const { message, at } = event;
  assertOneLeader(state, message.from);
  return chain(state, heard(state, message.from, at), (next) =>
    message.snapshotIndex <= next.commitIndex
      ? { effects: [snapshotReply(next, message.from, true, next.commitIndex)] }
      : { effects: [{ kind: "installSnapshot", offer: message }] },
  );
}

const snapshotReply = (state: RaftState, to: NodeId, success: boolean, match: number): Effect => ({
  kind: "send",
  afterFlush: true,
  message: { type: "rpc.snapshotReply", from: state.id, to, term: state.term, success, match },
});

/** P8: only now, with the state on disk and its pointer committed, does the snapshot exist for us. */
export function noteSnapshotInstalled(
  state: RaftState,
  event: Extract<RaftEvent, { type: "snapshot.installed" }>,
): Step {
  const { index, term, configuration, success } = event;
  const to = state.leaderId;
  if (!success || index <= state.appliedIndex)
    return { effects: to === null ? [] : [snapshotReply(state, to, success, state.commitIndex)] };
  const keepsSuffix = termAt(state.log, index) === term;
  const log: LogTail = keepsSuffix
    ? {
        baseIndex: index,
        baseTerm: term,
        entries: slice(state.log, index + 1, lastIndex(state.log)),
        length: lastIndex(state.log) - index,
      }
    : emptyLog(index, term);
  return {
    patch: {
      log,
      durableIndex: keepsSuffix ? Math.max(index, state.durableIndex) : index,
      commitIndex: Math.max(index, state.commitIndex),
      appliedIndex: index,
      ...(keepsSuffix && state.configurationIndex > index
        ? {}
        : { configuration, configurationIndex: index, earlierConfigurations: [] }),
    },
    effects: to === null ? [] : [snapshotReply(state, to, true, index)],
  };
}

// ── configurations in the log ──────────────────────────────────────────────────────────────────────────────────────

/** A configuration holds from the moment that it is in the log, committed or not. @see dissertation §4.1 */
function configurationAfter(state: RaftState, entries: readonly RaftEntry[]): Partial<RaftState> {
  let { configuration, configurationIndex, earlierConfigurations } = state;
  for (const { index, kind, data } of entries)
    if (kind === "configuration") {
      earlierConfigurations = [...earlierConfigurations, { index: configurationIndex, configuration }];
      configuration = decodeConfiguration(data);
      configurationIndex = index;
    }
  return configurationIndex === state.configurationIndex
    ? {}
    : { configuration, configurationIndex, earlierConfigurations };
}

/** And is taken back when it is cut off. */
function configurationBefore(state: RaftState, index: number): Partial<RaftState> {
  if (state.configurationIndex < index) return {};
  const earlier = state.earlierConfigurations.filter((known) => known.index < index);
  const latest = earlier.at(-1);
  earlierIsKnown.check(latest !== undefined, { index, configurationIndex: state.configurationIndex });
  return {
    configuration: latest.configuration,
    configurationIndex: latest.index,
    earlierConfigurations: earlier.slice(0, -1),
  };
}
