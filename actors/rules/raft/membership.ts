/** Changes of who belongs to the group: one at a time, one master at a time, learners first. */

import type { NodeId } from "../../messages/primitives.ts";
import type { Configuration } from "../../messages/raft.ts";
import { lastIndex } from "./log-tail.ts";
import { hasQuorum, isVoter, majorityOf, membersOf } from "./quorum.ts";
import type { RaftState, Step } from "./state.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const encodeConfiguration = (configuration: Configuration): Uint8Array =>
  encoder.encode(JSON.stringify(configuration));

export const decodeConfiguration = (data: Uint8Array): Configuration => JSON.parse(decoder.decode(data));

export type MembershipChange =
  | { kind: "addLearner"; id: NodeId; url?: string }
  | { kind: "promote"; id: NodeId }
  | { kind: "remove"; id: NodeId }
  /** The voters stay as they are; where members are and what they know is written down. */
  | { kind: "identify"; nodes: NonNullable<Configuration["nodes"]> };

/** @returns the configuration after the change, or why it must not be made now */
export function planChange(
  state: RaftState,
  change: MembershipChange,
  at: number,
): { configuration: Configuration } | { refused: string } {
  if (state.appliedIndex < state.termStartIndex)
    return { refused: "this leader has not yet committed an entry of its own term" };
  if (state.configurationIndex > state.commitIndex) return { refused: "another change is not committed yet" };
  const { configuration } = state;
  const [voters = []] = configuration.voters;
  const { nodes = {}, retired = [] } = configuration;
  if (change.kind === "identify") return { configuration: { ...configuration, nodes: { ...nodes, ...change.nodes } } };
  const { id } = change;
  switch (change.kind) {
    case "addLearner":
      if (isVoter(configuration, id) || configuration.learners.includes(id))
        return { refused: `${id} is a member already` };
      if (retired.includes(id))
        return { refused: `${id} was removed before, and an id is never taken again: start it empty, under a new one` };
      return {
        configuration: {
          ...configuration,
          learners: [...configuration.learners, id],
          ...(change.url ? { nodes: { ...nodes, [id]: { url: change.url, incarnation: null } } } : {}),
        },
      };
    case "promote": {
      if (!configuration.learners.includes(id)) return { refused: `${id} is not a learner` };
      const learner = state.progress[id];
      if (
        !learner ||
        state.commitIndex - learner.match > state.maxAppendEntries ||
        at - learner.lastActiveAt > state.timings.electionMs
      )
        return { refused: `${id} has not caught up yet` };
      return {
        configuration: {
          ...configuration,
          voters: [[...voters, id]],
          learners: configuration.learners.filter((other) => other !== id),
        },
      };
    }
    case "remove": {
      const { [id]: _, ...others } = nodes;
      // One that was never heard took part in nothing: its id may be tried again, with another url.
      const isUnheard = configuration.learners.includes(id) && nodes[id]?.incarnation === null;
      const without = { ...configuration, nodes: others, retired: isUnheard ? retired : [...retired, id] };
      if (configuration.learners.includes(id))
        return { configuration: { ...without, learners: configuration.learners.filter((other) => other !== id) } };
      if (!voters.includes(id)) return { refused: `${id} is not a member` };
      if (id === state.id) return { refused: "hand leadership over first" };
      const left = voters.filter((other) => other !== id);
      const answering = (other: NodeId) =>
        other === state.id ||
        at - (state.progress[other]?.lastActiveAt ?? Number.NEGATIVE_INFINITY) < state.timings.electionMs;
      if (left.length === 0 || !hasQuorum({ voters: [left], learners: [] }, answering))
        return { refused: `without ${id}, fewer than ${majorityOf(left.length)} of ${left.length} voters answer` };
      return { configuration: { ...without, voters: [left] } };
    }
  }
}

/** How a learner gets on. A round brings it what the log held when the round began. @see dissertation §4.2.1 */
export interface LearnerWatch {
  since: number;
  /** Rounds that took longer than an election. */
  slowRounds: number;
  target: number;
  roundSince: number;
}

export interface LearnerPatience {
  silentMs: number;
  roundMs: number;
  slowRounds: number;
}

export const beginWatch = (state: RaftState, at: number): LearnerWatch => ({
  since: at,
  slowRounds: 0,
  target: lastIndex(state.log),
  roundSince: at,
});

/** @returns how it gets on, or why it is no use to wait for it any longer */
export function watchLearner(
  state: RaftState,
  id: NodeId,
  watch: LearnerWatch,
  at: number,
  { silentMs, roundMs, slowRounds }: LearnerPatience,
): LearnerWatch | { givenUp: string } {
  const learner = state.progress[id];
  const heardAt = Math.max(watch.since, learner?.lastActiveAt ?? watch.since);
  if (at - heardAt > silentMs) return { givenUp: `it has not answered for ${Math.round(silentMs / 1000)} s` };
  if ((learner?.match ?? 0) < watch.target)
    return at - watch.roundSince > roundMs
      ? { givenUp: `in ${Math.round(roundMs / 60_000)} min it did not get as far as the log was then` }
      : watch;
  const wasSlow = at - watch.roundSince > state.timings.electionMs;
  const slow = wasSlow ? watch.slowRounds + 1 : 0;
  if (slow >= slowRounds)
    return { givenUp: `the log grows faster than it follows: ${slowRounds} rounds were all too slow` };
  return { ...watch, slowRounds: slow, target: lastIndex(state.log), roundSince: at };
}

/** The configuration in force at an index that the log still holds, or at its base. */
export function configurationAt(state: RaftState, index: number): Configuration {
  if (state.configurationIndex <= index) return state.configuration;
  const earlier = state.earlierConfigurations.findLast((known) => known.index <= index);
  return (earlier ?? state.earlierConfigurations[0] ?? state).configuration;
}

/** Removed masters are fed until they know it, so that they go quiet; then the leader forgets them. */
export function removedMembers(state: RaftState): NodeId[] {
  const members = membersOf(state.configuration);
  return Object.keys(state.progress).filter((id) => !members.includes(id));
}

export function forgetMember(state: RaftState, id: NodeId): Step {
  if (membersOf(state.configuration).includes(id)) return {};
  const { [id]: _, ...progress } = state.progress;
  return { patch: { progress } };
}
