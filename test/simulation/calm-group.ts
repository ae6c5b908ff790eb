/** A group of masters in which all is well, for scripts that let one thing go wrong. */
import type { RaftMessage, RaftMessageOf } from "../../actors/messages/raft.ts";
import { CALM, type Knobs } from "./knobs.ts";
import { type GroupOptions, type Master, RaftGroup } from "./raft-group.ts";
import { World } from "./world.ts";

export const QUIET: Knobs = { ...CALM, proposeEveryMs: 0, readEveryMs: 0 };
/** The longest that an election takes to begin: electionMs, doubled at most by the draw. */
export const T = 2 * QUIET.electionMs;
export const TMIN = QUIET.electionMs;

/** Three masters (or more), `m1` leads, nothing under way. */
export function calmGroup(knobs: Partial<Knobs> = {}, options: GroupOptions = {}): RaftGroup {
  const group = new RaftGroup(new World(1), { ...QUIET, ...knobs }, options).boot();
  group.elect("m1");
  group.run(300);
  return group;
}

export const isA =
  <K extends RaftMessage["type"]>(type: K, more: (message: RaftMessageOf<K>) => boolean = () => true) =>
  (message: RaftMessage): boolean =>
    message.type === type && more(message as RaftMessageOf<K>);

export const state = (group: RaftGroup, id: string) => group.master(id).running.state;
export const role = (group: RaftGroup, id: string) => group.master(id).running.role;
export const ready = (group: RaftGroup, but: string[] = []) =>
  group.masters.find(({ id, driver }) => !but.includes(id) && driver?.isReady);
export const isDone = (group: RaftGroup, command: number) => group.checks.isAcknowledged(command);

/** A command that is acknowledged while everything is well. */
export function write(group: RaftGroup, leader: Master): number {
  const command = group.propose(leader);
  group.until(() => isDone(group, command), T, "a command is acknowledged");
  return command;
}
