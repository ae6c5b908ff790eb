/** Each invariant of Raft's state is able to break, and a step that breaks one leaves nothing behind. */
import { expect, test } from "bun:test";
import { handle, raftMachine } from "../../actors/master/group/raft.machine.ts";
import { RaftDriver } from "../../actors/master/group/raft-driver.ts";
import type { RaftEntry, RaftMessage } from "../../actors/messages/raft.ts";
import { declaredInvariants, InvariantBroken } from "../../actors/rules/invariant.ts";
import { checkStep } from "../../actors/rules/raft/invariants.ts";
import { append, compact, emptyLog, type LogTail, truncate } from "../../actors/rules/raft/log-tail.ts";
import { encodeConfiguration } from "../../actors/rules/raft/membership.ts";
import { followAppend, followBeat, noteAppendReply } from "../../actors/rules/raft/replication.ts";
import { checkTimings, type Progress, type RaftState, startingState } from "../../actors/rules/raft/state.ts";
import { blankRaft, stillPorts } from "../support/blank-raft.ts";
import { ManualClock } from "../support/manual-clock.ts";

const THREE = { voters: [["a", "b", "c"]], learners: [] };
const entry = (index: number, term: number, kind: RaftEntry["kind"] = "command"): RaftEntry => ({
  ...{ index, term, kind },
  data: kind === "configuration" ? encodeConfiguration(THREE) : new Uint8Array([index]),
});
const log = (...terms: number[]): LogTail =>
  append(
    emptyLog(),
    terms.map((term, n) => entry(n + 1, term)),
  );

const state = (of: Partial<RaftState> = {}): RaftState => ({
  ...startingState(
    { id: "a", timings: { heartbeatMs: 100, electionMs: 1000 }, maxAppendEntries: 64, maxInflight: 2 },
    { ...blankRaft(THREE), term: 5, vote: "b", log: log(1, 2, 5, 5), appliedIndex: 2 },
  ),
  ...of,
});
const follower = (of: Partial<Progress>): { progress: RaftState["progress"] } => ({
  progress: {
    b: {
      ...{ mode: "replicate", match: 1, next: 4, inflight: [2, 3], isProbing: false },
      ...{ rewoundAt: -1, lastActiveAt: 0, readSeq: 0, ...of },
    },
  },
});
const leading = state({ leaderHeardAt: Number.POSITIVE_INFINITY, leaderId: "a" });
const step = (patch: Partial<RaftState>, before = state()) => checkStep(before, patch);
const appended = (from: string, prevIndex: number, prevTerm: number, entries: RaftEntry[]) => ({
  ...{ type: "rpc.append" as const, at: 0 },
  message: { type: "rpc.append" as const, from, to: "a", term: 5, prevIndex, prevTerm, entries, commit: 0 },
});

const PLANTED: Record<string, () => unknown> = {
  "raft: term never falls": () => step({ term: 4 }),
  "raft: one vote a term": () => step({ vote: "c" }),
  "raft: commit never falls": () => step({ commitIndex: 1, appliedIndex: 1 }),
  "raft: applied never falls": () => step({ appliedIndex: 1 }),
  "raft: applied <= commit": () => step({ appliedIndex: 3 }),
  "raft: commit <= last index": () => step({ commitIndex: 5 }),
  "raft: durable <= last index": () => step({ durableIndex: 5 }),
  "raft: base <= applied": () => step({ log: compact(state().log, 3) }),
  "raft: configuration index <= last index": () => step({ configurationIndex: 5 }),
  "raft: last term <= term": () => step({ log: log(1, 2, 5, 6) }),
  "raft: a leader's log never shrinks": () => step({ log: truncate(leading.log, 4), durableIndex: 3 }, leading),
  "raft: match < next": () => step(follower({ match: 4, next: 4, inflight: [] })),
  "raft: next <= last index + 1": () => step(follower({ next: 6 })),
  "raft: match < inflight, rising, < next": () => step(follower({ inflight: [3, 2] })),
  "raft: inflight fits its window": () => step(follower({ match: 0, inflight: [1, 2, 3] })),
  "raft: electionMs >= 5 * heartbeatMs": () => checkTimings({ heartbeatMs: 100, electionMs: 499 }),
  "raft: one leader a term": () =>
    followBeat(state({ leaderId: "c" }), {
      ...{ type: "rpc.beat", at: 0 },
      message: { type: "rpc.beat", from: "b", to: "a", term: 5, commit: 0, readSeq: 0 },
    }),
  "raft: a follower matches no more than the leader's log": () =>
    noteAppendReply(state(follower({})), {
      ...{ type: "rpc.appendReply", at: 0 },
      message: {
        ...{ type: "rpc.appendReply", from: "b", to: "a", term: 5, success: true, match: 5 },
        ...{ hintIndex: 0, hintTerm: 0, prevIndex: 4 },
      },
    }),
  "raft: a committed entry is never cut off": () => followAppend(state(), appended("b", 1, 1, [entry(2, 3)])),
  "raft: the configuration before a truncated one is known": () =>
    followAppend(state({ configurationIndex: 3 }), appended("b", 2, 2, [entry(3, 4)])),
};

/** The claim that it breaks. */
function broken(plant: (() => unknown) | undefined): string {
  try {
    plant?.();
  } catch (error) {
    if (error instanceof InvariantBroken) return error.claim;
    throw error;
  }
  return "none";
}

const claims = [...declaredInvariants().keys()].filter((claim) => claim.startsWith("raft: "));

test("what holds, holds: none breaks by a step that changes nothing", () => {
  step({});
  step(follower({}), leading);
  step(follower({ inflight: [], next: 5, match: 4 }), leading);
});

for (const claim of claims)
  test(`a planted mistake breaks "${claim}", and no other claim before it`, () => {
    expect(broken(PLANTED[claim])).toBe(claim);
  });

test("of a step that breaks an invariant, and of what waited for its flush, nothing is sent, stored or applied", () => {
  const left: string[] = [];
  const failures: unknown[] = [];
  const deferred: (() => void)[] = [];
  /** Commits what it does not hold, and wants all of it known. */
  const careless = raftMachine.provide({
    actions: {
      followBeat: handle((before) => ({
        patch: { commitIndex: 7 },
        effects: [
          { kind: "persist", hard: { term: before.term, vote: "c" } },
          { kind: "send", afterFlush: false, message: beat("a", "b") },
          { kind: "apply", after: 0, upTo: 7 },
          { kind: "leaderChanged", leaderId: "c", term: before.term },
        ],
      })),
    },
  });
  const driver = new RaftDriver(
    "a",
    blankRaft(THREE),
    { heartbeatMs: 100, electionMs: 1000 },
    stillPorts({
      clock: new ManualClock(),
      send: ({ type }) => left.push(`sent ${type}`),
      flush: (_, done) => {
        left.push("stored");
        done();
      },
      defer: (callback) => deferred.push(callback),
      apply: () => left.push("applied"),
      leaderChanged: (leaderId) => left.push(`leader ${leaderId}`),
      failed: (cause) => failures.push(cause),
    }),
    { machine: careless },
  );
  driver.start();
  // A vote that waits for the flush of this turn: the step after it breaks an invariant.
  driver.receive({ type: "rpc.vote", from: "b", to: "a", term: 1, lastIndex: 0, lastTerm: 0, transfer: false });
  expect([deferred.length, left]).toEqual([1, ["leader null"]]);
  driver.receive(beat("c", "a"));
  for (const flush of deferred) flush();
  expect(left).toEqual(["leader null"]);
  expect(failures).toEqual([expect.objectContaining({ claim: "raft: commit <= last index" })]);
  expect(failures[0]).toBeInstanceOf(InvariantBroken);
  driver.receive(beat("c", "a"));
  expect(left).toEqual(["leader null"]);
});

const beat = (from: string, to: string): RaftMessage => ({
  type: "rpc.beat",
  from,
  to,
  term: 1,
  commit: 7,
  readSeq: 1,
});
