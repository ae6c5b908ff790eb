/** How far a term may leap, and who is not locked out by it: newcomers, restored masters, workers of an old cluster. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OUTSIDER } from "../../actors/master/group/founding.ts";
import { termAfterReset } from "../../actors/master/group/reset-term.ts";
import { MAX_TERM } from "../../actors/messages/primitives.ts";
import type { Configuration, RaftEntry, RaftMessage } from "../../actors/messages/raft.ts";
import { whyInadmissible } from "../../actors/rules/raft/admission.ts";
import { type RaftState, startingState } from "../../actors/rules/raft/state.ts";
import { highestBelievable, isWithinReach, MOST_TERM_LEAP, TERMS_AHEAD } from "../../actors/rules/term.ts";
import { Fence } from "../../actors/worker/leader/fence.ts";
import { GroupCommit } from "../../actors/worker/store/group-commit.ts";
import { ChunkIndex } from "../../databases/chunk-index.ts";
import { CALM } from "../simulation/knobs.ts";
import { blankDisk, RaftGroup } from "../simulation/raft-group.ts";
import { World } from "../simulation/world.ts";
import { blankRaft } from "../support/blank-raft.ts";

const GROUP: Configuration = { voters: [["a", "b", "c"]], learners: [] };
const master = (term: number, configuration = GROUP): RaftState =>
  startingState(
    { id: "a", timings: { heartbeatMs: 100, electionMs: 1000 }, maxAppendEntries: 64, maxInflight: 8 },
    { ...blankRaft(configuration), term },
  );
const header = (term: number) => ({ from: "b", to: "a", term });
const log = { lastIndex: 9, lastTerm: 1 };
const hint = { hintIndex: 0, hintTerm: 0, prevIndex: 0 };
const offer = { snapshotIndex: 1, snapshotTerm: 1, configuration: GROUP, url: "u", sizeBytes: 1, sha256: "" };
/** One of each kind, of that term. */
const messages = (term: number): RaftMessage[] => [
  { type: "rpc.preVote", ...header(term), ...log },
  { type: "rpc.preVoteReply", ...header(1), forTerm: term, granted: true },
  { type: "rpc.preVoteReply", ...header(term), forTerm: 1, granted: false },
  { type: "rpc.vote", ...header(term), ...log, transfer: true },
  { type: "rpc.voteReply", ...header(term), granted: false },
  { type: "rpc.append", ...header(term), prevIndex: 0, prevTerm: 0, entries: [], commit: 0 },
  { type: "rpc.appendReply", ...header(term), success: false, match: 0, ...hint },
  { type: "rpc.beat", ...header(term), commit: 0, readSeq: 0 },
  { type: "rpc.beatReply", ...header(term), readSeq: 0 },
  { type: "rpc.timeoutNow", ...header(term) },
  { type: "rpc.snapshotOffer", ...header(term), ...offer },
  { type: "rpc.snapshotReply", ...header(term), success: true, match: 0 },
];
const codes = (state: RaftState, term: number) =>
  messages(term).map((message) => [message.type, whyInadmissible(state, message)?.code ?? "taken"]);
const all = (code: string) => messages(0).map(({ type }) => [type, code]);

test("S3. every message between masters is bounded: the last term in reach is taken, the next one is not", () => {
  for (const known of [0, 7, 2 ** 30]) {
    const reach = known + MOST_TERM_LEAP;
    expect(codes(master(known), reach)).toEqual(all("taken"));
    expect(codes(master(known), reach + 1)).toEqual(all("IMPLAUSIBLE_TERM"));
  }
});

test("S3. a master that waits to be added believes the leader that takes it in, and nobody else, once", () => {
  const newcomer = master(0, OUTSIDER);
  const taken = ["rpc.append", "rpc.beat", "rpc.snapshotOffer"];
  for (const [type, code] of codes(newcomer, 2 ** 40))
    expect([type, code]).toEqual([type, taken.includes(type as string) ? "taken" : "IMPLAUSIBLE_TERM"]);
  expect(codes({ ...newcomer, term: 1 }, 2 ** 40)).toEqual(all("IMPLAUSIBLE_TERM"));
});

test("S3. entries follow each other, their terms never fall, and none is later than its leader's", () => {
  const entry = (index: number, term: number): RaftEntry => ({ index, term, kind: "noop", data: new Uint8Array() });
  const judge = (prevTerm: number, ...entries: RaftEntry[]) =>
    whyInadmissible(master(5), {
      ...{ type: "rpc.append", ...header(5), prevIndex: 3, prevTerm, entries, commit: 0 },
    })?.code ?? "taken";
  expect(judge(2, entry(4, 2), entry(5, 5))).toBe("taken");
  expect(judge(5)).toBe("taken");
  for (const entries of [
    [entry(5, 5)],
    [entry(4, 5), entry(4, 5)],
    [entry(4, 1)],
    [entry(4, 5), entry(5, 4)],
    [entry(4, 6)],
  ])
    expect([entries, judge(2, ...entries)]).toEqual([entries, "INVALID_MESSAGE"]);
  expect(judge(6)).toBe("INVALID_MESSAGE");
});

test("S3. a master that was never here joins a group of any term, and votes in it", () => {
  const old = () => ({ ...blankDisk(), term: 2 ** 33 });
  const group = new RaftGroup(
    new World(1),
    { ...CALM, spares: 1, masters: 2 },
    { disks: { m1: old(), m2: old() } },
  ).boot();
  group.until(() => group.leader()?.driver?.isReady === true, 20_000, "a leader");
  const leader = group.leader() as NonNullable<ReturnType<typeof group.leader>>;
  expect(group.change(leader, { kind: "addLearner", id: "m3" })).toBeNull();
  const newcomer = group.master("m3");
  group.until(() => newcomer.running.state.term === leader.running.state.term, 10_000, "the newcomer hears the term");
  group.until(() => group.change(leader, { kind: "promote", id: "m3" }) === null, 10_000, "it has caught up");
  group.run(1000);
  group.elect("m3");
  expect(newcomer.running.state.term).toBeGreaterThan(2 ** 33);
  group.settle();
});

test("S3. the term after a reset is above every log of the majority that resets, and no leap for those who know them", () => {
  expect(termAfterReset(5, [{ term: 9, isResetting: true }])).toBe(9 + TERMS_AHEAD);
  expect(termAfterReset(9, [{ term: 5, isResetting: true }])).toBe(9 + TERMS_AHEAD);
  expect(termAfterReset(5, [{ term: 9 + TERMS_AHEAD + 3, isResetting: false }])).toBe(9 + TERMS_AHEAD + 3);
  expect(isWithinReach(termAfterReset(9, []), 9)).toBe(true);
});

test("S3. what a minority of masters says of terms moves no gateway, and those who know none have no say", () => {
  expect(highestBelievable([5, 6, MAX_TERM])).toBe(6);
  expect(highestBelievable([5, MAX_TERM])).toBe(5);
  expect(highestBelievable([0, 0, 2 ** 30, 2 ** 30 + 1])).toBe(2 ** 30 + 1);
  expect(highestBelievable([7, 7 + MOST_TERM_LEAP, 7])).toBe(7 + MOST_TERM_LEAP);
  expect(highestBelievable([2 ** 30])).toBe(2 ** 30);
  expect(highestBelievable([])).toBe(0);
});

test("S3. a worker's fence: orders reach so far, a first registration any term, --reset-term the next registration's", async () => {
  const folder = mkdtempSync(join(tmpdir(), "dfs-fence-"));
  const open = () => {
    const index = new ChunkIndex(folder);
    index.beginEpoch();
    return index;
  };
  const told = (work: () => Promise<void>): Promise<string> =>
    work().then(
      () => "passed",
      ({ code }) => code,
    );
  const fenceOf = (index: ChunkIndex, relearns = false) =>
    new Fence(index, new GroupCommit(index), undefined, relearns);
  let index = open();
  let fence = fenceOf(index);
  expect(await told(() => fence.pass(MOST_TERM_LEAP + 1))).toBe("IMPLAUSIBLE_TERM");
  for (const none of [MAX_TERM + 1, Number.NaN, 1.5, -1, "9" as unknown as number])
    expect([none, await told(() => fence.follow(none))]).toEqual([none, "IMPLAUSIBLE_TERM"]);
  expect(fence.highestTerm).toBe(0);
  // An old cluster, which this worker has just joined.
  expect(await told(() => fence.follow(2 ** 33))).toBe("passed");
  expect(await told(() => fence.follow(2 ** 33 + MOST_TERM_LEAP + 1))).toBe("IMPLAUSIBLE_TERM");
  expect(await told(() => fence.follow(2 ** 33 - 1))).toBe("STALE_TERM");
  expect(await told(() => fence.passOrder({ term: 2 ** 33 + MOST_TERM_LEAP, expiresAt: 0 }))).toBe("passed");
  index.close();
  index = open();
  fence = fenceOf(index, true);
  // Until a leader has registered it, what is stored counts.
  expect(await told(() => fence.pass(7))).toBe("STALE_TERM");
  expect(await told(() => fence.follow(7))).toBe("passed");
  expect(await told(() => fence.follow(6))).toBe("STALE_TERM");
  index.close();
  index = open();
  expect(fenceOf(index).highestTerm).toBe(7);
  index.close();
  rmSync(folder, { recursive: true });
});
