/** Scripts that scenarios run on the shipped machine, and canaries on machines with a bug that chance finds too rarely. */
import { lastIndex, termAt } from "../../actors/rules/raft/log-tail.ts";
import { CALM } from "./knobs.ts";
import { type GroupOptions, type Master, RaftGroup } from "./raft-group.ts";
import { World } from "./world.ts";

/**
 * Figure 8 of the Raft paper: an entry of an older term gets onto a majority, and is overwritten afterwards by a leader
 * that never saw it. Whoever counts replicas of older terms as committed loses it after acknowledging it.
 */
export function figure8(options: GroupOptions = {}): { group: RaftGroup; command: number; onMajority: boolean } {
  const knobs = { ...CALM, masters: 5, proposeEveryMs: 0, readEveryMs: 0, maxAppendEntries: 1 };
  const group = new RaftGroup(new World(8), knobs, options).boot();
  const s1 = group.elect("m1");
  const s5 = group.master("m5");
  group.run(300);

  // (a) S1 gets an entry onto S2 alone.
  const index = lastIndex(s1.running.state.log) + 1;
  group.hold = (message) => message.type === "rpc.append" && message.to !== "m2";
  const command = group.propose(s1);
  group.run(20);
  group.crash(s1, true);
  group.held.length = 0;

  // (b) S5 is elected by S3 and S4, takes an entry of its own for the same place, and fails.
  group.hold = (message) => message.from === "m5" && message.type === "rpc.append";
  for (let tries = 0; tries < 10 && s5.running.role !== "leader"; tries++) {
    group.campaign(s5);
    group.run(20);
  }
  group.run(20);
  group.crash(s5, true);
  group.held.length = 0;

  // (c) S1 is back, leads, and gets its old entry onto a majority; nothing of its own term gets anywhere.
  group.start(s1);
  group.hold = (message) =>
    (message.type === "rpc.preVote" && message.from !== "m1") ||
    (message.type === "rpc.append" &&
      message.entries.some((entry) => entry.index > index) &&
      termAt(group.master(message.to).disk.log, message.prevIndex) === message.prevTerm);
  group.until(() => s1.running.role === "leader", 20_000, "S1 leads again");
  group.run(500);
  const term = termAt(s1.disk.log, index);
  const onMajority = group.masters.filter(({ disk }) => termAt(disk.log, index) === term).length >= 3;

  // (d) S1 fails before anything of its own term is on a majority; S5 is back with the newer log.
  group.crash(s1, true);
  group.held.length = 0;
  group.hold = () => false;
  group.start(s5);
  group.elect("m5");
  group.run(300);
  return { group, command, onMajority };
}

const calm = (options: GroupOptions): RaftGroup => {
  const group = new RaftGroup(new World(1), { ...CALM, proposeEveryMs: 0, readEveryMs: 0 }, options).boot();
  group.elect("m1");
  group.run(300);
  return group;
};

/**
 * The only two masters left are a term apart, and the one behind has the better log: it refuses the other, and has to
 * learn the other's term to be elected itself.
 * @throws Violation if there is no leader in time
 */
export function aTermApart(options: GroupOptions = {}): RaftGroup {
  const group = calm(options);
  const [m1, m2, m3] = ["m1", "m2", "m3"].map((id) => group.master(id)) as [Master, Master, Master];
  group.crash(m3);
  group.hold = ({ type }) => type === "rpc.append";
  group.propose(m1);
  group.run(50);
  group.isolate("m1");
  group.held.length = 0;
  group.hold = () => false;
  group.campaign(m2);
  group.until(() => [m1, m2].every(({ running }) => running.role === "precandidate"), 10_000, "both ask");
  group.heal();
  group.until(() => group.leader()?.running.isReady === true, 6_000, "a leader");
  return group;
}

/** An old leader is asked for a read after a new one has taken a command, and then gets answers from before all that. */
export function lateAnswers(options: GroupOptions = {}): { group: RaftGroup; answers: (number | null)[] } {
  const group = calm(options);
  const old = group.master("m1");
  group.hold = ({ type }) => type === "rpc.beatReply";
  group.run(150);
  const late = [...group.held];
  group.isolate("m1");
  const command = group.propose(group.elect("m2"));
  group.until(() => group.checks.isAcknowledged(command), 1000, "the new leader takes a command");
  const answers: (number | null)[] = [];
  group.read(old, (index) => answers.push(index));
  group.heal();
  for (const { deliver } of [...late, ...late]) deliver();
  group.check();
  return { group, answers };
}

/**
 * Two leaders, one after the other, change the same four voters by one each: the first adds m5, which only m5 hears of;
 * the second, before anything of its own term is committed, would take m1 out. Both at once leave majorities that share
 * nobody: m1, m4 and m5 of five, m2 and m3 of three.
 * @param isAllowed makes the second change whatever the rule says
 * @returns why the rule refuses the second change
 * @see Ongaro's correction of 2015, https://groups.google.com/g/raft-dev/c/t4xj6dJTP6E
 */
export function changeRace(isAllowed = false): { group: RaftGroup; refused: string | null } {
  const knobs = { ...CALM, masters: 4, spares: 1, proposeEveryMs: 0, readEveryMs: 0 };
  const group = new RaftGroup(new World(17), knobs).boot();
  const [m1, m2] = [group.elect("m1"), group.master("m2")];
  group.run(300);
  group.change(m1, { kind: "addLearner", id: "m5" });
  group.run(300);
  group.hold = ({ type, to }) => type === "rpc.append" && to !== "m5";
  const unheard = group.change(m1, { kind: "promote", id: "m5" });
  if (unheard !== null) throw new Error(unheard);
  group.run(20);
  group.crash(m1, true);
  group.crash(group.master("m5"), true);
  group.held.length = 0;

  const { configuration } = m2.running.state;
  group.hold = ({ type }) => type === "rpc.append";
  for (let tries = 0; tries < 10 && m2.running.role !== "leader"; tries++) {
    group.campaign(m2);
    group.run(20);
  }
  const refused = group.change(m2, { kind: "remove", id: "m1" });
  if (!isAllowed) return { group, refused };
  const [voters = []] = configuration.voters;
  const removed = group.configure(m2, { ...configuration, voters: [voters.filter((id) => id !== "m1")], learners: [] });
  group.hold = ({ type, to }) => type === "rpc.append" && to !== "m3";
  group.release(({ to }) => to === "m3");
  group.until(() => group.checks.isAcknowledged(removed), 1000, "the second change is committed by m2 and m3");

  group.crash(m2, true);
  group.crash(group.master("m3"), true);
  group.held.length = 0;
  group.hold = () => false;
  group.start(m1);
  group.start(group.master("m5"));
  group.elect("m1");
  return { group, refused };
}
