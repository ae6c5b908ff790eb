/** Changes of who belongs to the group: one at a time, one master at a time, learners first. */

import type { NodeId } from "../../messages/primitives.ts";
import type { Configuration } from "../../messages/raft.ts";
import { hasQuorum, isVoter, majorityOf } from "./quorum.ts";
import type { RaftState } from "./state.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const encodeConfiguration = (configuration: Configuration): Uint8Array =>
  encoder.encode(JSON.stringify(configuration));

export const decodeConfiguration = (data: Uint8Array): Configuration => JSON.parse(decoder.decode(data));

export type MembershipChange =
  | { kind: "addLearner"; id: NodeId }
  | { kind: "promote"; id: NodeId }
  | { kind: "remove"; id: NodeId };

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
  const { id } = change;
  switch (change.kind) {
    case "addLearner":
      if (isVoter(configuration, id) || configuration.learners.includes(id))
        return { refused: `${id} is a member already` };
      return { configuration: { voters: [voters], learners: [...configuration.learners, id] } };
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
        configuration: { voters: [[...voters, id]], learners: configuration.learners.filter((other) => other !== id) },
      };
    }
    case "remove": {
      if (configuration.learners.includes(id))
        return {
          configuration: { voters: [voters], learners: configuration.learners.filter((other) => other !== id) },
        };
      if (!voters.includes(id)) return { refused: `${id} is not a member` };
      if (id === state.id) return { refused: "hand leadership over first" };
      const left = voters.filter((other) => other !== id);
      const answering = (other: NodeId) =>
        other === state.id ||
        at - (state.progress[other]?.lastActiveAt ?? Number.NEGATIVE_INFINITY) < state.timings.electionMs;
      if (left.length === 0 || !hasQuorum({ voters: [left], learners: [] }, answering))
        return { refused: `without ${id}, fewer than ${majorityOf(left.length)} of ${left.length} voters answer` };
      return { configuration: { voters: [left], learners: configuration.learners } };
    }
  }
}
