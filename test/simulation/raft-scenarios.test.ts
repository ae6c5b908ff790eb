import { expect, test } from "bun:test";
import type { RaftEntry, RaftMessage, RaftMessageOf } from "../../actors/messages/raft.ts";
import { append, emptyLog, lastIndex, termAt } from "../../actors/rules/raft/log-tail.ts";
import { calmGroup, isA, isDone, QUIET, ready, role, state, T, TMIN, write } from "./calm-group.ts";
import { blankDisk, type Master, RaftGroup } from "./raft-group.ts";
import { aTermApart, changeRace, figure8, lateAnswers } from "./raft-scripts.ts";
import { World } from "./world.ts";

test("1. an entry of an older term on a majority is not committed by counting, and may vanish", () => {
  const { group, command, onMajority } = figure8();
  expect(onMajority).toBe(true);
  expect(isDone(group, command)).toBe(false);
  group.settle();
  expect(isDone(group, command)).toBe(false);
});

test("2. a master that was cut off for an hour comes back without raising the term or moving the leader", () => {
  const group = calmGroup({ heartbeatMs: 1000, electionMs: 10_000 });
  const { term } = state(group, "m1");
  group.isolate("m3");
  group.run(3_600_000);
  group.heal();
  group.run(60_000);
  expect(group.masters.map(({ driver }) => driver?.state.term)).toEqual([term, term, term]);
  expect(role(group, "m1")).toBe("leader");
  expect(group.checks.elections).toBe(1);
});

test("3. a master stuck at a higher term with a shorter log makes the leader learn the term; a better one is elected", () => {
  const group = calmGroup();
  group.isolate("m3");
  for (let n = 0; n < 5; n++) {
    group.campaign(group.master("m3"));
    group.run(50);
  }
  for (let n = 0; n < 10; n++) write(group, group.master("m1"));
  const higher = state(group, "m3").term;
  expect(higher).toBeGreaterThan(state(group, "m1").term);
  group.heal();
  group.until(() => (ready(group)?.running.state.term ?? 0) >= higher, 3 * T, "a leader of a higher term");
  expect(ready(group)?.id).not.toBe("m3");
  group.settle();
});

test("3b. a master with the best log, one term behind the only other one left, learns the term and is elected", () => {
  const group = aTermApart();
  expect(group.leader()?.id).toBe("m1");
});

test("4. a leader that is heard but hears nobody steps down, and the others elect one", () => {
  const group = calmGroup();
  group.cut.add("m2→m1").add("m3→m1");
  group.until(() => role(group, "m1") !== "leader", 2 * TMIN, "the deaf leader steps down");
  group.until(() => ready(group, ["m1"]) !== undefined, 2 * T, "another leader");
  group.settle();
});

test("4b. a leader that goes deaf between two looks steps down one election time later, not two", () => {
  for (let offset = 0; offset < TMIN; offset += 110) {
    const group = calmGroup();
    group.run(offset);
    group.cut.add("m2→m1").add("m3→m1");
    group.until(() => role(group, "m1") !== "leader", TMIN + 5, "the deaf leader steps down");
  }
});

test("a candidate that is refused does not put off the elections of others, whatever its term", () => {
  const group = calmGroup();
  for (let n = 0; n < 5; n++) write(group, group.master("m1"));
  group.crash(group.master("m1"));
  group.crash(group.master("m3"));
  const { term } = state(group, "m2");
  const started: number[] = [];
  group.onSend = (message) => {
    if (message.type === "rpc.preVote" && message.from === "m2") started.push(group.world.now);
  };
  const begun = group.world.now;
  for (let n = 1; started.length === 0 && group.world.now < begun + 2 * T; n++) {
    group.deliver({
      type: "rpc.vote",
      from: "m3",
      to: "m2",
      term: term + n,
      lastIndex: 1,
      lastTerm: 1,
      transfer: false,
    });
    group.run(50);
  }
  expect(started[0]).toBeLessThanOrEqual(begun + T);
});

test("5. two masters that cannot hear each other, but both the third, keep one leader", () => {
  for (const [a, b] of [
    ["m1", "m2"],
    ["m2", "m3"],
  ]) {
    const group = calmGroup();
    group.cut.add(`${a}→${b}`).add(`${b}→${a}`);
    group.run(60_000);
    expect(group.checks.elections).toBe(1);
    expect(role(group, "m1")).toBe("leader");
    write(group, group.master("m1"));
  }
});

test("6. a leader that stepped down while the last other master trusts it can be elected again", () => {
  const group = calmGroup();
  group.crash(group.master("m3"));
  group.hold = isA("rpc.beat");
  group.run(150);
  const [beat] = group.held.map(({ message }) => message);
  group.hold = () => false;
  group.held.length = 0;
  group.master("m1").running.send({ type: "host.late" });
  // Late beats of the old leader keep m2 trusting it, so m2 never campaigns and refuses everyone else.
  for (let n = 0; n < 40 && role(group, "m1") !== "leader"; n++) {
    group.deliver({ ...(beat as RaftMessageOf<"rpc.beat">), to: "m2" });
    expect(role(group, "m2")).toBe("follower");
    group.run(50);
  }
  expect(role(group, "m1")).toBe("leader");
});

test("7. a leader whose disk hangs makes way, and is not elected while it hangs", () => {
  const group = calmGroup();
  const stuck = group.master("m1");
  group.breakDisk(stuck, "stuck");
  group.propose(stuck);
  group.until(() => ready(group, ["m1"]) !== undefined, TMIN + T + 500, "another leader");
  for (let n = 0; n < 5; n++) write(group, ready(group, ["m1"]) as Master);
  group.crash(group.leader() as Master);
  group.run(3 * T);
  expect(ready(group)).toBeUndefined();
  group.mendDisk(stuck);
  group.until(() => ready(group) !== undefined, 2 * T, "a leader once the disk goes on");
  group.settle();
});

test("8. a leader that stood still for 30 s answers no stale read and is demoted by the first message", () => {
  const group = calmGroup();
  const paused = group.master("m1");
  write(group, paused);
  group.pause(paused);
  group.until(() => ready(group, ["m1"]) !== undefined, 3 * T, "another leader");
  for (let n = 0; n < 5; n++) write(group, ready(group, ["m1"]) as Master);
  const answers: (number | null)[] = [];
  group.read(paused, (index) => answers.push(index));
  group.run(30_000);
  group.resume(paused);
  group.read(paused, (index) => answers.push(index));
  group.until(() => role(group, "m1") === "follower", 100, "m1 is demoted");
  group.until(() => answers.length === 2, T, "both reads are answered");
  expect(answers).toEqual([null, null]);
});

test("9. a read at a new leader is refused until the first entry of its term is applied", () => {
  const group = calmGroup();
  write(group, group.master("m1"));
  group.crash(group.master("m1"));
  group.hold = isA("rpc.appendReply");
  group.until(() => group.leader() !== undefined, 2 * T, "a new leader");
  const leader = group.leader() as Master;
  const answers: (number | null)[] = [];
  group.read(leader, (index) => answers.push(index));
  group.run(500);
  expect(answers).toEqual([null]);
  expect(leader.running.isReady).toBe(false);
  group.hold = () => false;
  group.release();
  group.until(() => leader.running.isReady, T, "the term's first entry is applied");
  group.read(leader, (index) => answers.push(index));
  group.run(100);
  expect(answers[1]).toBeGreaterThanOrEqual(group.checks.highestAcknowledged);
});

test("10. late and doubled answers to beats confirm no read that was asked after them", () => {
  const group = calmGroup();
  const old = group.master("m1");
  group.hold = isA("rpc.beatReply");
  const first: (number | null)[] = [];
  group.read(old, (index) => first.push(index));
  group.run(350);
  expect(first).toEqual([]);
  const answers = [...group.held];
  expect(answers.length).toBeGreaterThan(2);
  group.isolate("m1");
  group.hold = () => false;
  group.until(() => ready(group, ["m1"]) !== undefined, 2 * T, "another leader");
  write(group, ready(group, ["m1"]) as Master);
  // Still within the old leader's own window, or again: it takes the answers of its own term.
  group.heal();
  const second: (number | null)[] = [];
  if (old.running.role === "leader") group.read(old, (index) => second.push(index));
  for (const { deliver } of [...answers, ...answers]) deliver();
  group.run(1);
  expect(second.filter((index) => index !== null)).toEqual([]);
  group.settle();
});

test("10b. an old leader that still believes in itself confirms nothing by answers from before the read", () => {
  const { group, answers } = lateAnswers();
  expect(role(group, "m1")).toBe("leader");
  expect(answers).toEqual([]);
  group.run(2 * T);
  expect(answers).toEqual([null]);
});

test("11. a read during a transfer is refused or fresh, with the voter restarted meanwhile (there are no lease reads)", () => {
  for (let delay = 0; delay < 40; delay += 2) {
    const group = calmGroup({ maxDelayMs: 10 });
    const old = group.master("m1");
    write(group, old);
    group.transfer(old, "m2");
    group.crash(group.master("m3"));
    group.start(group.master("m3"));
    group.run(delay);
    const answers: (number | null)[] = [];
    group.read(old, (index) => answers.push(index));
    group.until(() => group.master("m2").running.isReady, T, "m2 leads");
    write(group, group.master("m2"));
    group.read(old, (index) => answers.push(index));
    group.until(() => answers.length === 2, 2 * T, "reads are answered");
    expect(answers[1]).toBeNull();
  }
});

for (const flushed of [false, true])
  test(`12. a vote is never given twice in a term, with a crash ${flushed ? "after" : "before"} its flush`, () => {
    const group = calmGroup({ maxFlushMs: 20 });
    const voter = group.master("m3");
    group.hold = isA("rpc.vote", ({ to }) => to === "m3");
    const grants: RaftMessage[] = [];
    group.onSend = (message) => {
      if (message.type === "rpc.voteReply" && message.from === "m3" && message.granted) grants.push(message);
    };
    group.cut.add("m1→m2").add("m2→m1");
    group.campaign(group.master("m2"));
    group.until(() => group.held.some(({ message }) => message.from === "m2"), 100, "m2 asks");
    const { term } = state(group, "m2");
    const [fromM2] = group.held.splice(0);
    const fromM1 = { ...(fromM2?.message as RaftMessageOf<"rpc.vote">), from: "m1" };
    fromM2?.deliver();
    group.until(() => voter.writing !== null, 50, "m3 writes its vote");
    expect(grants).toEqual([]);
    group.crash(voter, flushed);
    expect(voter.disk).toMatchObject(flushed ? { term, vote: "m2" } : {});
    group.start(voter);
    group.deliver(fromM1);
    group.run(100);
    expect(grants.filter((grant) => grant.term === term).map(({ to }) => to)).toEqual(flushed ? [] : ["m1"]);
    expect(voter.disk.term).toBeGreaterThanOrEqual(term);
  });

test("13. an append that is sent again while its entries are being flushed is not confirmed before they are", () => {
  const group = calmGroup();
  const leader = group.master("m1");
  const follower = group.master("m2");
  group.crash(group.master("m3"));
  group.breakDisk(follower, "stuck");
  const appends: RaftMessage[] = [];
  const confirmed: number[] = [];
  group.onSend = (message) => {
    if (message.type === "rpc.append" && message.to === "m2" && message.entries.length > 0) appends.push(message);
    if (message.type === "rpc.appendReply" && message.success) confirmed.push(message.match);
  };
  const command = group.propose(leader);
  group.until(() => follower.writing !== null, 100, "the entries are being flushed");
  for (let n = 0; n < 3; n++) group.deliver(appends[0] as RaftMessage);
  group.run(300);
  expect(confirmed).toEqual([]);
  group.crash(follower, false);
  expect(isDone(group, command)).toBe(false);
  expect(leader.running.state.commitIndex).toBeLessThan(lastIndex(leader.running.state.log));
  group.settle();
});

test("14. a flush that ends after its entries were overwritten says nothing about those there now", () => {
  const group = calmGroup();
  const follower = group.master("m3");
  write(group, group.master("m1"));
  group.cut.add("m1→m2");
  group.breakDisk(follower, "stuck");
  const lost = group.propose(group.master("m1"));
  group.until(() => follower.writing?.isDue === true, 100, "the old entry is being flushed");
  const index = lastIndex(state(group, "m3").log);
  const oldTerm = termAt(state(group, "m3").log, index);
  // The leader loses the entry with its disk's last write, so m2's log is as good as its own; m3's vote hangs.
  group.crash(group.master("m1"));
  group.master("m1").disk.log = { ...group.master("m2").disk.log };
  group.cut.clear();
  group.start(group.master("m1"));
  group.hold = isA("rpc.preVote", ({ from }) => from === "m1");
  group.until(() => role(group, "m2") === "leader", 3 * T, "m2 leads");
  group.until(() => termAt(state(group, "m3").log, index) !== oldTerm, 500, "the entry is overwritten in memory");
  const { writing } = follower;
  expect(writing?.isDue).toBe(true);
  expect(state(group, "m3").durableIndex).toBeLessThan(index);
  follower.diskTrouble = null;
  writing?.end();
  group.breakDisk(follower, "stuck");
  expect(termAt(follower.disk.log, index)).toBe(oldTerm);
  expect(state(group, "m3").durableIndex).toBeLessThan(index);
  group.settle();
  expect(isDone(group, lost)).toBe(false);
  expect(termAt(follower.disk.log, index)).not.toBe(oldTerm);
});

test("15. a shorter append that comes after a longer one cuts nothing off", () => {
  const group = calmGroup({ maxAppendEntries: 4 });
  const appends: RaftMessageOf<"rpc.append">[] = [];
  group.onSend = (message) => {
    if (message.type === "rpc.append" && message.to === "m2") appends.push(message);
  };
  for (let n = 0; n < 12; n++) write(group, group.master("m1"));
  const end = lastIndex(state(group, "m2").log);
  const follower = group.master("m2");
  for (const message of appends) {
    group.deliver(message);
    if (message.entries.length > 1) group.deliver({ ...message, entries: message.entries.slice(0, 1) });
    group.deliver({ ...message, entries: [] });
    expect(lastIndex(follower.running.state.log)).toBe(end);
  }
  group.run(100);
  expect(lastIndex(follower.disk.log)).toBe(end);
});

test("16. logs that differ over a thousand terms are brought together with at most one probe a term", () => {
  const TERMS = 1000;
  const command = (index: number, term: number): RaftEntry => ({
    index,
    term,
    kind: "command",
    data: new Uint8Array([term & 255]),
  });
  const common = Array.from({ length: 10 }, (_, n) => command(n + 1, 1));
  const tail = (first: number) => Array.from({ length: TERMS }, (_, n) => command(11 + n, first + 2 * n));
  const disk = (first: number) => ({
    ...blankDisk(),
    term: 2 * TERMS + 5,
    log: append(emptyLog(), [...common, ...tail(first)]),
  });
  const group = new RaftGroup(
    new World(1),
    { ...QUIET, maxAppendEntries: 512, maxInflight: 64 },
    { disks: { m1: disk(3), m2: disk(3), m3: disk(2) } },
  ).boot();
  const refused: number[] = [];
  group.onSend = (message) => {
    if (message.type === "rpc.appendReply" && !message.success && message.from === "m3")
      refused.push(message.prevIndex);
  };
  group.elect("m1");
  group.until(() => lastIndex(state(group, "m3").log) === lastIndex(state(group, "m1").log), 30_000, "m3's log agrees");
  expect(refused.length).toBeGreaterThan(0);
  expect(new Set(refused).size).toBeLessThanOrEqual(TERMS);
  // A probe is sent again with a beat, in case it was lost; that may happen once in a while, not for each.
  expect(refused.length).toBeLessThanOrEqual(1.1 * TERMS);
  group.settle();
});

test("17. of two leaders' changes to the same group the second is refused until an entry of its own term is committed", () => {
  const { group, refused } = changeRace();
  expect(refused).toBe("this leader has not yet committed an entry of its own term");
  group.hold = () => false;
  group.release();
  const m2 = group.master("m2");
  group.until(() => m2.running.isReady, T, "the term's first entry is applied");
  expect(group.change(m2, { kind: "remove", id: "m1" })).toBeNull();
  expect(group.change(m2, { kind: "addLearner", id: "m5" })).toBe("another change is not committed yet");
  group.settle();
  expect(group.leader()?.running.state.configuration).toMatchObject({ voters: [["m2", "m3", "m4"]], retired: ["m1"] });
});

test("18. a learner that is dead leaves the voters' quorum as it was", () => {
  const group = calmGroup({ spares: 1 });
  const leader = group.master("m1");
  group.crash(group.master("m4"));
  expect(group.change(leader, { kind: "addLearner", id: "m4" })).toBeNull();
  write(group, leader);
  group.crash(group.master("m3"));
  write(group, leader);
  group.run(3 * TMIN);
  expect(group.change(leader, { kind: "promote", id: "m4" })).toBe("m4 has not caught up yet");
  expect(group.checks.elections).toBe(1);
});

test("19. a leader does not take itself out: it hands over, and is removed by its successor and goes quiet", () => {
  const group = calmGroup();
  expect(group.change(group.master("m1"), { kind: "remove", id: "m1" })).toBe("hand leadership over first");
  group.transfer(group.master("m1"), "m2");
  group.until(() => group.master("m2").running.isReady, 300, "m2 leads");
  group.run(300);
  expect(group.change(group.master("m2"), { kind: "remove", id: "m1" })).toBeNull();
  group.run(300);
  group.master("m2").running.send({ type: "admin.forget", id: "m1" });
  const { term } = state(group, "m2");
  group.run(60_000);
  expect([role(group, "m1"), role(group, "m2"), state(group, "m1").term]).toEqual(["follower", "leader", term]);
  write(group, group.master("m2"));
});

test("19c. a removed master that never heard of its removal campaigns for ever, and the others ignore it", () => {
  const group = calmGroup();
  group.isolate("m3");
  const leader = group.master("m1");
  expect(group.change(leader, { kind: "remove", id: "m3" })).toBeNull();
  group.run(300);
  leader.running.send({ type: "admin.forget", id: "m3" });
  group.run(3 * T);
  const { term } = state(group, "m1");
  let asked = 0;
  group.onSend = ({ type, from }) => {
    if (type === "rpc.preVote" && from === "m3") asked++;
  };
  group.heal();
  for (let n = 0; n < 20; n++) {
    group.run(3_000);
    write(group, leader);
  }
  expect(asked).toBeGreaterThan(20);
  expect([role(group, "m1"), state(group, "m1").term, group.checks.elections]).toEqual(["leader", term, 1]);
});

test("21. when the target of a transfer lags or dies, the leader takes proposals again after one election time", () => {
  for (const kind of ["lags", "dies"]) {
    const group = calmGroup();
    const leader = group.master("m1");
    if (kind === "lags") group.cut.add("m1→m2");
    else group.crash(group.master("m2"));
    write(group, leader);
    group.transfer(leader, "m2");
    const refused = group.propose(leader);
    group.run(TMIN - 50);
    expect(isDone(group, refused)).toBe(false);
    group.run(100);
    write(group, leader);
    expect(isDone(group, refused)).toBe(false);
    expect(group.checks.elections).toBe(1);
  }
});

test("21b. a transfer moves the leader without an election timeout and loses no command", () => {
  const group = calmGroup();
  const commands = Array.from({ length: 20 }, () => group.propose(group.master("m1")));
  group.transfer(group.master("m1"), "m3");
  group.until(() => group.master("m3").running.isReady, 200, "m3 leads");
  write(group, group.master("m3"));
  expect(group.leader()?.id).toBe("m3");
  group.settle();
  group.checks.checkAcknowledged();
  expect(commands.every((command) => isDone(group, command))).toBe(true);
});
