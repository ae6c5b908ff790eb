/** The rules R1 to R10 of actors/rules/raft/README.md, one by one, on the pure functions that keep them. */
import { expect, test } from "bun:test";
import type { RaftEntry, RaftMessage, RaftMessageOf } from "../../actors/messages/raft.ts";
import {
  adoptTerm,
  answerOwnTerm,
  answerPreVote,
  answerVote,
  askPreVotes,
  isSticky,
  raisesTerm,
  startElection,
  waitAnew,
  waitLeftMs,
} from "../../actors/rules/raft/election.ts";
import { append, emptyLog, entriesToKeep, type LogTail, lastIndex, termAt } from "../../actors/rules/raft/log-tail.ts";
import { beginWatch, planChange, watchLearner } from "../../actors/rules/raft/membership.ts";
import { beat, confirmReads, read } from "../../actors/rules/raft/reads.ts";
import {
  advanceCommit,
  followAppend,
  noteAppendReply,
  noteBeatReply,
  noteFlushed,
  quorumPatienceMs,
  takeOffice,
} from "../../actors/rules/raft/replication.ts";
import {
  type Effect,
  type Progress,
  type RaftState,
  type RpcEvent,
  type Step,
  startingState,
} from "../../actors/rules/raft/state.ts";
import { blankRaft } from "../support/blank-raft.ts";

const TMIN = 1000;
const NOW = 50_000;

const log = (...terms: number[]): LogTail =>
  append(
    emptyLog(),
    terms.map((term, n): RaftEntry => ({ index: n + 1, term, kind: "command", data: new Uint8Array([n]) })),
  );

const node = (of: Partial<RaftState> = {}): RaftState => ({
  ...startingState(
    { id: "a", timings: { heartbeatMs: 100, electionMs: TMIN }, maxAppendEntries: 64, maxInflight: 8 },
    { ...blankRaft({ voters: [["a", "b", "c"]], learners: [] }), term: 5, log: log(1, 1, 5), appliedIndex: 1 },
  ),
  ...of,
});

const after = (state: RaftState, step: Step): RaftState => ({ ...state, ...step.patch });
const leader = (of: Partial<RaftState> = {}): RaftState => after(node(of), takeOffice(node(of), NOW));

const progressOf = (state: RaftState): Progress => state.progress.b as Progress;

const arrives = <M extends RaftMessage>(message: M, at = NOW) =>
  ({ type: message.type, message, at }) as unknown as Extract<RpcEvent, { type: M["type"] }>;

const sent = ({ effects = [] }: Step): RaftMessage[] =>
  effects.flatMap((effect) => (effect.kind === "send" ? [effect.message] : []));
const kinds = ({ effects = [] }: Step): Effect["kind"][] => effects.map(({ kind }) => kind);

const vote = (of: Partial<RaftMessageOf<"rpc.vote">> = {}): RaftMessageOf<"rpc.vote"> => ({
  type: "rpc.vote",
  from: "b",
  to: "a",
  term: 5,
  lastIndex: 3,
  lastTerm: 5,
  transfer: false,
  ...of,
});
const preVote = (of: Partial<RaftMessageOf<"rpc.preVote">> = {}): RaftMessageOf<"rpc.preVote"> => ({
  type: "rpc.preVote",
  from: "b",
  to: "a",
  term: 6,
  lastIndex: 3,
  lastTerm: 5,
  ...of,
});
const appendOf = (of: Partial<RaftMessageOf<"rpc.append">> = {}): RaftMessageOf<"rpc.append"> => ({
  type: "rpc.append",
  from: "b",
  to: "a",
  term: 5,
  prevIndex: 3,
  prevTerm: 5,
  entries: [],
  commit: 0,
  ...of,
});
const confirmed = (of: Partial<RaftMessageOf<"rpc.appendReply">> = {}): RaftMessageOf<"rpc.appendReply"> => ({
  type: "rpc.appendReply",
  from: "b",
  to: "a",
  term: 5,
  success: true,
  match: 4,
  hintIndex: 0,
  hintTerm: 0,
  prevIndex: 3,
  ...of,
});
const granted = (of: Partial<RaftMessageOf<"rpc.preVoteReply">> = {}): RaftMessageOf<"rpc.preVoteReply"> => ({
  type: "rpc.preVoteReply",
  from: "b",
  to: "a",
  term: 9,
  forTerm: 6,
  granted: true,
  ...of,
});

test("R1: a higher term clears vote and leader, and is made durable before anything is said", () => {
  const step = adoptTerm(node({ vote: "c", leaderId: "c" }), arrives(vote({ term: 8 })));
  expect(step.patch).toMatchObject({ term: 8, vote: null, leaderId: null });
  expect(step.effects?.[0]).toEqual({ kind: "persist", hard: { term: 8, vote: null } });
});

test("R1: everything of a higher term raises ours, but for pre-votes asked and granted", () => {
  const raising: RaftMessage[] = [
    vote({ term: 8 }),
    appendOf({ term: 8 }),
    confirmed({ term: 8 }),
    granted({ granted: false }),
  ];
  for (const message of raising) expect(raisesTerm(node(), arrives(message))).toBe(true);
  for (const message of [preVote({ term: 8 }), granted()]) expect(raisesTerm(node(), arrives(message))).toBe(false);
});

test("R1: whoever speaks in a lower term is told ours", () => {
  const late: RaftMessage[] = [
    appendOf({ term: 3 }),
    vote({ term: 3 }),
    { type: "rpc.beat", from: "b", to: "a", term: 3, commit: 0, readSeq: 7 },
  ];
  for (const message of late)
    expect(sent(answerOwnTerm(node(), arrives(message)))).toMatchObject([{ to: "b", term: 5 }]);
});

test("R2: a master that heard its leader within an election time ignores candidates", () => {
  const trusting = node({ leaderId: "c", leaderHeardAt: NOW - TMIN + 1 });
  expect(isSticky(trusting, arrives(vote({ term: 9 })), false)).toBe(true);
  expect(isSticky(trusting, arrives(preVote({ term: 9 })), false)).toBe(true);
  expect(isSticky(trusting, arrives(vote({ term: 9 }), NOW + 1), false)).toBe(false);
  expect(isSticky(trusting, arrives(appendOf()), false)).toBe(false);
});

test("R2: the leader's own successor is let through, and so is the very leader that is remembered", () => {
  const trusting = node({ leaderId: "c", leaderHeardAt: NOW });
  expect(isSticky(trusting, arrives(vote({ term: 6, transfer: true })), false)).toBe(false);
  expect(isSticky(trusting, arrives(vote({ term: 6, from: "c" })), false)).toBe(false);
  expect(isSticky(trusting, arrives(preVote({ from: "c" })), false)).toBe(false);
});

test("R3: a pre-vote is granted on the log and the term, and changes nothing", () => {
  for (const [message, expected] of [
    [preVote(), true],
    [preVote({ term: 5 }), false],
    [preVote({ lastIndex: 2 }), false],
    [preVote({ lastIndex: 9, lastTerm: 4 }), false],
  ] as const) {
    const step = answerPreVote(node(), message, false);
    expect(step.patch).toBeUndefined();
    expect(sent(step)).toMatchObject([{ granted: expected, term: 5, forTerm: message.term }]);
  }
  expect(sent(answerPreVote(node(), preVote(), true))).toMatchObject([{ granted: false }]);
});

test("R3: asking for pre-votes raises no term and spends no vote", () => {
  const step = askPreVotes(node());
  expect(after(node(), step)).toMatchObject({ term: 5, vote: null });
  expect(kinds(step)).not.toContain("persist");
  expect(sent(step).map(({ to, term }) => [to, term])).toEqual([
    ["b", 6],
    ["c", 6],
  ]);
});

test("R4: one vote a term, for a log at least as complete, while no leader of the term is known", () => {
  const cases: [Partial<RaftState>, Partial<RaftMessageOf<"rpc.vote">>, boolean][] = [
    [{}, {}, true],
    [{ vote: "b" }, {}, true],
    [{ vote: "c" }, {}, false],
    [{ leaderId: "c" }, {}, false],
    [{}, { lastIndex: 2 }, false],
    [{}, { lastTerm: 4, lastIndex: 9 }, false],
    [{}, { lastTerm: 6, lastIndex: 1 }, true],
  ];
  for (const [state, message, expected] of cases)
    expect(sent(answerVote(node(state), vote(message), NOW))).toMatchObject([{ granted: expected }]);
});

test("R4: a grant is durable before it is told, and told again without being written again", () => {
  const step = answerVote(node(), vote(), NOW);
  expect(kinds(step)).toEqual(["persist", "send"]);
  expect(step.effects?.[1]).toMatchObject({ afterFlush: true });
  expect(kinds(answerVote(node({ vote: "b" }), vote(), NOW))).toEqual(["send"]);
});

test("R4: only a new vote is a reason to wait anew", () => {
  expect(answerVote(node(), vote(), NOW).patch).toMatchObject({ waitsAnewFrom: NOW });
  expect(answerVote(node({ vote: "b" }), vote(), NOW).patch).toBeUndefined();
});

test("a follower that had reason to wait anew waits from then, however late its timer is set", () => {
  const set = (state: RaftState) => after(state, waitAnew(state, NOW));
  const [entered, heard] = [set(node()), set(node({ waitsAnewFrom: NOW - 200 }))];
  expect([entered, heard].map((state) => waitLeftMs(state, TMIN, NOW))).toEqual([TMIN, TMIN - 200]);
  expect(heard.waitsAnewFrom).toBeNull();
});

test("R5: the known leader is forgotten when the term changes and when an election starts", () => {
  const following = node({ leaderId: "c", leaderHeardAt: NOW });
  for (const step of [
    adoptTerm(following, arrives(vote({ term: 8 }))),
    askPreVotes(following),
    startElection(following),
  ]) {
    expect(step.patch?.leaderId).toBeNull();
    expect(step.effects).toContainEqual(expect.objectContaining({ kind: "leaderChanged", leaderId: null }));
  }
});

test("R6: a new leader opens its term with an entry, probes everyone, and counts itself from its next flush on", () => {
  const taken = takeOffice(node(), NOW);
  const state = after(node(), taken);
  expect(state).toMatchObject({ durableIndex: 0, termStartIndex: 4, leaderId: "a" });
  expect(state.log.entries[3]).toMatchObject({ index: 4, term: 5, kind: "noop" });
  expect(Object.values(state.progress).map(({ mode }) => mode)).toEqual(["probe", "probe"]);
  expect(sent(taken)).toMatchObject([
    { to: "b", prevIndex: 3, prevTerm: 5 },
    { to: "c", prevIndex: 3, prevTerm: 5 },
  ]);
});

test("R6: before that entry is applied there are no reads and no changes of members", () => {
  const state = leader();
  expect(read(state, { type: "client.read", id: 1, at: NOW }).effects).toEqual([{ kind: "readFailed", id: 1 }]);
  expect(planChange(state, { kind: "addLearner", id: "d" }, NOW)).toHaveProperty("refused");
  const applied = { ...state, appliedIndex: 4, commitIndex: 4 };
  expect(planChange(applied, { kind: "addLearner", id: "d" }, NOW)).toHaveProperty("configuration");
});

test("R7: the leader counts itself only up to its own last flush", () => {
  const state = leader();
  const heard = after(state, noteAppendReply(state, arrives(confirmed())));
  expect(heard.commitIndex).toBe(1);
  const flushed = after(heard, noteFlushed(heard, { type: "disk.flushed", lastIndex: 4, lastTerm: 5, at: NOW }, true));
  expect(flushed.commitIndex).toBe(4);
});

test("R7: entries of older terms are committed with one of the current term, never by being counted", () => {
  const state = { ...leader({ log: log(1, 1, 4) }), durableIndex: 3 };
  const behind = after(state, noteAppendReply(state, arrives(confirmed({ match: 3, prevIndex: 2 }))));
  expect(behind.commitIndex).toBe(1);
  const all = { ...behind, durableIndex: 4 };
  const counted = after(all, noteAppendReply(all, arrives(confirmed({ match: 4 }))));
  expect(advanceCommit(all)).toEqual({});
  expect(counted.commitIndex).toBe(4);
});

test("R8: a leader may believe in itself for one election time after a quorum was last heard, to the millisecond", () => {
  const silent = leader();
  expect(quorumPatienceMs(silent, NOW)).toBe(TMIN);
  expect(quorumPatienceMs(silent, NOW + TMIN - 1)).toBe(1);
  const heard = after(silent, noteAppendReply(silent, arrives(confirmed(), NOW + 700)));
  expect(quorumPatienceMs(heard, NOW + 1699)).toBe(1);
  expect(quorumPatienceMs(heard, NOW + 1700)).toBe(0);
  const five = leader({ configuration: { voters: [["a", "b", "c", "d", "e"]], learners: [] } });
  const one = after(five, noteAppendReply(five, arrives(confirmed(), NOW + 700)));
  expect(quorumPatienceMs(one, NOW + TMIN)).toBe(0);
  const two = after(one, noteAppendReply(one, arrives(confirmed({ from: "c" }), NOW + 300)));
  expect(quorumPatienceMs(two, NOW + TMIN)).toBe(300);
});

test("R9: a shorter append cuts nothing off", () => {
  const state = node({ log: log(1, 1, 5, 5, 5), durableIndex: 5 });
  const entries = state.log.entries.slice(3, 4);
  const followed = followAppend(state, arrives(appendOf({ entries })));
  expect(lastIndex(after(state, followed).log)).toBe(5);
  expect(sent(followed)).toMatchObject([{ success: true, match: 4 }]);
});

test("R9: what differs is cut off from the first entry whose term differs, in one write with what replaces it", () => {
  const state = node({ log: log(1, 1, 2, 2), durableIndex: 4, term: 5 });
  const entries = [2, 3, 4].map(
    (index): RaftEntry => ({ index, term: index === 2 ? 1 : 5, kind: "command", data: new Uint8Array() }),
  );
  const followed = followAppend(state, arrives(appendOf({ prevIndex: 1, prevTerm: 1, entries })));
  const now = after(state, followed);
  expect([1, 2, 3, 4].map((index) => termAt(now.log, index))).toEqual([1, 1, 5, 5]);
  expect(now.durableIndex).toBe(2);
  expect(followed.effects?.find(({ kind }) => kind === "persist")).toMatchObject({ truncateFrom: 3 });
});

test("R9: nothing committed is ever cut off", () => {
  const state = node({ commitIndex: 3 });
  const entries: RaftEntry[] = [{ index: 3, term: 6, kind: "command", data: new Uint8Array() }];
  const wrong = () => followAppend(state, arrives(appendOf({ prevIndex: 2, prevTerm: 1, entries })));
  expect(wrong).toThrow("a committed entry is never cut off");
});

test("R9: no more is committed than the message proves", () => {
  const state = node({ log: log(1, 1, 5, 5, 5), durableIndex: 5 });
  const followed = followAppend(state, arrives(appendOf({ prevIndex: 3, commit: 5 })));
  expect(followed.patch?.commitIndex).toBe(3);
});

test("R9: a refusal names the last place that may agree, whole terms skipped", () => {
  const state = node({ log: log(1, 1, 4, 4, 4) });
  const [reply] = sent(followAppend(state, arrives(appendOf({ prevIndex: 5, prevTerm: 2 }))));
  expect(reply).toMatchObject({ success: false, hintIndex: 2, hintTerm: 1, prevIndex: 5 });
});

test("R9: only the refusal of the probe that is out moves it", () => {
  const state = leader({ log: log(1, 1, 1, 5, 5) });
  const refused = confirmed({ success: false, match: 0, hintIndex: 3, hintTerm: 1, prevIndex: 5 });
  const moved = after(state, noteAppendReply(state, arrives(refused)));
  expect(moved.progress.b).toMatchObject({ mode: "probe", next: 4 });
  const again = noteAppendReply(moved, arrives(refused));
  expect(sent(again)).toEqual([]);
  expect(after(moved, again).progress.b).toMatchObject({ next: 4 });
});

test("a window is sent again once something of it arrived, or with a beat, however many refusals come out of order", () => {
  const long = leader({ log: log(1, 1, 1, ...Array(20).fill(5)), maxAppendEntries: 1 });
  const fed = after(long, noteAppendReply(long, arrives(confirmed({ match: 23, prevIndex: 23 }))));
  const behind = { ...fed, progress: { ...fed.progress, b: { ...progressOf(fed), match: 3, next: 12 } } };
  const refused = (prevIndex: number) => confirmed({ success: false, match: 0, hintIndex: 3, hintTerm: 1, prevIndex });
  const rewound = after(behind, noteAppendReply(behind, arrives(refused(6))));
  expect(progressOf(rewound)).toMatchObject({ mode: "probe", next: 4 });
  // A beat had the window sent once more, and still nothing of it is confirmed.
  const resent = {
    ...rewound,
    progress: { ...rewound.progress, b: { ...progressOf(rewound), mode: "replicate", next: 12 } },
  };
  const late = noteAppendReply(resent as RaftState, arrives(refused(8)));
  expect(sent(late)).toEqual([]);
  expect(progressOf(after(resent as RaftState, late))).toMatchObject({ mode: "replicate", next: 12 });
  const beaten: RaftMessageOf<"rpc.beatReply"> = { type: "rpc.beatReply", from: "b", to: "a", term: 5, readSeq: 0 };
  const awake = after(resent as RaftState, noteBeatReply(resent as RaftState, arrives(beaten)));
  expect(progressOf(after(awake, noteAppendReply(awake, arrives(refused(8)))))).toMatchObject({
    mode: "probe",
    next: 4,
  });
});

test("a doubled confirmation answers no probe, and does not end a snapshot", () => {
  const state = leader();
  const matched = after(state, noteAppendReply(state, arrives(confirmed({ match: 4 }))));
  const probing = {
    ...matched,
    progress: { ...matched.progress, b: { ...progressOf(matched), mode: "probe" as const } },
  };
  const doubled = noteAppendReply(probing, arrives(confirmed({ match: 2, prevIndex: 1 })));
  expect(sent(doubled)).toEqual([]);
  expect(progressOf(after(probing, doubled)).mode).toBe("probe");
  const compacted = leader({
    log: { baseIndex: 10, baseTerm: 5, entries: [], length: 0 },
    commitIndex: 10,
    appliedIndex: 10,
  });
  const snapshot = {
    ...compacted,
    progress: { ...compacted.progress, b: { ...progressOf(compacted), mode: "snapshot" as const } },
  };
  const late = noteAppendReply(snapshot, arrives(confirmed({ match: 4 })));
  expect(late.effects ?? []).toEqual([]);
  expect(progressOf(after(snapshot, late)).mode).toBe("snapshot");
});

test("R10: beats tell no follower of more than it is known to hold", () => {
  const state = { ...leader(), commitIndex: 4 };
  const known = after(state, noteAppendReply(state, arrives(confirmed({ match: 3, prevIndex: 2 }))));
  expect(sent(beat(known)).map((message) => [message.to, (message as RaftMessageOf<"rpc.beat">).commit])).toEqual([
    ["b", 3],
    ["c", 0],
  ]);
});

const PATIENCE = { silentMs: 60_000, roundMs: 1_800_000, slowRounds: 10 };
const office = (of: Partial<RaftState> = {}): RaftState => ({ ...leader(), appliedIndex: 4, commitIndex: 4, ...of });
const withLearner = (of: Partial<Progress> = {}): RaftState => {
  const state = office({ configuration: { voters: [["a", "b", "c"]], learners: ["d"] } });
  return { ...state, progress: { ...state.progress, d: { ...progressOf(state), match: 0, lastActiveAt: NOW, ...of } } };
};

test("18e. a learner that is dead is given up after a while; until then, and then, the quorum is that of the voters", () => {
  const state = withLearner();
  const watch = beginWatch(state, NOW);
  expect(watchLearner(state, "d", watch, NOW + 60_000, PATIENCE)).toBe(watch);
  expect(watchLearner(state, "d", watch, NOW + 60_001, PATIENCE)).toEqual({ givenUp: "it has not answered for 60 s" });
  // Nothing waits for it: two voters commit.
  const heard = after(state, noteAppendReply(state, arrives(confirmed())));
  const flushed = noteFlushed(heard, { type: "disk.flushed", lastIndex: 4, lastTerm: 5, at: NOW }, true);
  expect(after(heard, flushed).commitIndex).toBe(4);
  expect(planChange(state, { kind: "promote", id: "d" }, NOW + 60_001)).toHaveProperty("refused");
});

test("18b. a learner that answers and gets nowhere is given up; one that fetches a state gets the time for it", () => {
  const state = withLearner({ match: 0, lastActiveAt: NOW + 1_800_000, mode: "snapshot" });
  const watch = beginWatch(state, NOW);
  expect(watchLearner(state, "d", watch, NOW + 1_800_000, PATIENCE)).toBe(watch);
  expect(watchLearner(state, "d", watch, NOW + 1_800_001, PATIENCE)).toHaveProperty("givenUp");
});

test("18c. a learner that is slower than the log grows is given up after ten slow rounds; one fast round forgives", () => {
  const round = (state: RaftState, watch: ReturnType<typeof beginWatch>, ms: number) => {
    const { target, roundSince } = watch;
    const at = roundSince + ms;
    const { d } = state.progress;
    const reached = {
      ...state,
      progress: { ...state.progress, d: { ...d, match: target, lastActiveAt: at } as Progress },
    };
    return watchLearner(reached, "d", watch, at, PATIENCE);
  };
  const state = withLearner();
  let watch = beginWatch(state, NOW);
  for (const ms of [...Array(9).fill(TMIN + 1), TMIN, ...Array(9).fill(TMIN + 1)]) {
    const next = round(state, watch, ms);
    if ("givenUp" in next) throw new Error(next.givenUp);
    watch = next;
  }
  expect(round(state, watch, TMIN + 1)).toEqual({ givenUp: expect.stringContaining("10 rounds") });
});

test("20b. the id of a removed master is never taken again; only one that was never heard may be tried anew", () => {
  const nodes = { c: { url: "http://c", incarnation: "0".repeat(16) }, d: { url: "http://d", incarnation: null } };
  const state = { ...withLearner({ lastActiveAt: Number.NEGATIVE_INFINITY }) };
  const known = { ...state, configuration: { ...state.configuration, nodes } };
  const configured = (plan: ReturnType<typeof planChange>) => {
    if ("refused" in plan) throw new Error(plan.refused);
    return { ...known, configuration: plan.configuration };
  };
  const withoutC = configured(planChange(known, { kind: "remove", id: "c" }, NOW));
  expect(withoutC.configuration).toMatchObject({ voters: [["a", "b"]], retired: ["c"] });
  expect(planChange(withoutC, { kind: "addLearner", id: "c", url: "http://c2" }, NOW)).toEqual({
    refused: "c was removed before, and an id is never taken again: start it empty, under a new one",
  });
  const withoutD = configured(planChange(known, { kind: "remove", id: "d" }, NOW));
  expect(planChange(withoutD, { kind: "addLearner", id: "d", url: "http://d2" }, NOW)).toHaveProperty("configuration");
});

test("a read is confirmed by a quorum that echoes its position, not by an earlier one", () => {
  const asked = after(office(), read(office(), { type: "client.read", id: 7, at: NOW }));
  expect(asked.readSeq).toBe(1);
  expect(confirmReads(asked)).toEqual({});
  const echoed = { ...asked, progress: { ...asked.progress, b: { ...asked.progress.b, readSeq: 1 } } } as RaftState;
  expect(confirmReads(echoed).effects).toEqual([{ kind: "readReady", id: 7, index: 4 }]);
});

test("of a log of long entries fewer are kept: all of them lie in memory", () => {
  const logOf = (count: number, bytes: number): LogTail =>
    append(
      emptyLog(),
      Array.from({ length: count }, (_, n) => ({
        index: n + 1,
        term: 1,
        kind: "command",
        data: new Uint8Array(bytes),
      })),
    );
  expect(entriesToKeep(logOf(2000, 100), 1000, 32 << 20)).toBeNull();
  expect(entriesToKeep(logOf(2001, 100), 1000, 32 << 20)).toBe(1000);
  expect(entriesToKeep(logOf(64, 1 << 20), 1000, 32 << 20)).toBeNull();
  expect(entriesToKeep(logOf(65, 1 << 20), 1000, 32 << 20)).toBe(32);
});
