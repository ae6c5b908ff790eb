/**
 * What must hold of a master's Raft state after every step, whatever the others say. Checked before anything of the step
 * is kept, sent or stored, in production too.
 *
 * @see etcd-io/raft `tracker/progress.go`: 0 <= Match < Next
 */
import { declareInvariant, type Invariant } from "../invariant.ts";
import { lastIndex, lastTerm } from "./log-tail.ts";
import type { Progress, RaftState } from "./state.ts";

const termNeverFalls: Invariant = declareInvariant("raft: term never falls");
const voteIsKept: Invariant = declareInvariant("raft: one vote a term");
const commitNeverFalls: Invariant = declareInvariant("raft: commit never falls");
const appliedNeverFalls: Invariant = declareInvariant("raft: applied never falls");
const appliedIsCommitted: Invariant = declareInvariant("raft: applied <= commit");
const commitIsInLog: Invariant = declareInvariant("raft: commit <= last index");
const durableIsInLog: Invariant = declareInvariant("raft: durable <= last index");
const baseIsApplied: Invariant = declareInvariant("raft: base <= applied");
const configurationIsInLog: Invariant = declareInvariant("raft: configuration index <= last index");
const logIsOfTerm: Invariant = declareInvariant("raft: last term <= term");
const leaderOnlyAppends: Invariant = declareInvariant("raft: a leader's log never shrinks");
const matchIsBeforeNext: Invariant = declareInvariant("raft: match < next");
const nextIsInLog: Invariant = declareInvariant("raft: next <= last index + 1");
const inflightRises: Invariant = declareInvariant("raft: match < inflight, rising, < next");
const windowIsBounded: Invariant = declareInvariant("raft: inflight fits its window");

/** @throws InvariantBroken if `patch` must not be made to `before` */
export function checkStep(before: RaftState, patch: Partial<RaftState>): void {
  const { term = before.term, vote = before.vote, log = before.log } = patch;
  const { commitIndex = before.commitIndex, appliedIndex = before.appliedIndex } = patch;
  const { durableIndex = before.durableIndex, configurationIndex = before.configurationIndex } = patch;
  const last = lastIndex(log);
  const figures = {
    term,
    termBefore: before.term,
    vote,
    voteBefore: before.vote,
    commitIndex,
    commitBefore: before.commitIndex,
    appliedIndex,
    appliedBefore: before.appliedIndex,
    durableIndex,
    configurationIndex,
    baseIndex: log.baseIndex,
    last,
    lastBefore: lastIndex(before.log),
    lastTerm: lastTerm(log),
  };
  termNeverFalls.check(term >= before.term, figures);
  voteIsKept.check(term > before.term || before.vote === null || vote === before.vote, figures);
  commitNeverFalls.check(commitIndex >= before.commitIndex, figures);
  appliedNeverFalls.check(appliedIndex >= before.appliedIndex, figures);
  appliedIsCommitted.check(appliedIndex <= commitIndex, figures);
  commitIsInLog.check(commitIndex <= last, figures);
  durableIsInLog.check(durableIndex <= last, figures);
  baseIsApplied.check(log.baseIndex <= appliedIndex, figures);
  configurationIsInLog.check(configurationIndex <= last, figures);
  logIsOfTerm.check(figures.lastTerm <= term, figures);
  leaderOnlyAppends.check(last >= figures.lastBefore || !leadsOn(before, patch), figures);
  const { progress = before.progress, maxInflight = before.maxInflight } = patch;
  for (const id in progress) {
    const follower = progress[id] as Progress;
    if (follower !== before.progress[id]) checkProgress(follower, last, maxInflight);
  }
}

const leadsOn = (before: RaftState, { leaderHeardAt = before.leaderHeardAt }: Partial<RaftState>): boolean =>
  before.leaderHeardAt === Number.POSITIVE_INFINITY && leaderHeardAt === Number.POSITIVE_INFINITY;

function checkProgress(follower: Progress, last: number, maxInflight: number): void {
  const { match, next, inflight } = follower;
  const figures = { match, next, inflight, last, maxInflight };
  matchIsBeforeNext.check(match < next, figures);
  nextIsInLog.check(next <= last + 1, figures);
  windowIsBounded.check(inflight.length <= maxInflight, figures);
  let below = match;
  let rises = true;
  for (const index of inflight) {
    rises &&= index > below;
    below = index;
  }
  inflightRises.check(rises && below < next, figures);
}
