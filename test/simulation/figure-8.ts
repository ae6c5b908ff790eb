/**
 * Figure 8 of the Raft paper: an entry of an older term gets onto a majority, and is overwritten afterwards by a leader
 * that never saw it. Whoever counts replicas of older terms as committed loses it after acknowledging it.
 */
import { lastIndex, termAt } from "../../actors/rules/raft/log-tail.ts";
import { CALM } from "./knobs.ts";
import { type GroupOptions, RaftGroup } from "./raft-group.ts";
import { World } from "./world.ts";

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
