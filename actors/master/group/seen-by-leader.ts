/** The masters as their leader sees them: by what they last confirmed. A silent one is unknown. */

import type { NodeId } from "../../messages/primitives.ts";
import type { ClusterStateAnswer } from "../../messages/questions.ts";
import { membersOf } from "../../rules/raft/quorum.ts";
import type { RaftState } from "../../rules/raft/state.ts";

type MasterInSight = ClusterStateAnswer["masters"][number];

/** @param now on the clock that heard them */
export const seenByLeader = (state: RaftState, urlOf: (id: NodeId) => string | null, now: number): MasterInSight[] =>
  membersOf(state.configuration)
    .sort()
    .map((id) => master(state, id, urlOf(id) ?? "http://unknown", now));

function master(state: RaftState, id: NodeId, url: string, now: number): MasterInSight {
  const { term, commitIndex, appliedIndex, timings } = state;
  if (id === state.id) return { id, url, role: "leader", term, commitIndex, appliedIndex, lag: 0 };
  const progress = state.progress[id];
  const isHeard = progress && now - progress.lastActiveAt < 2 * timings.electionMs;
  const confirmed = Math.min(progress?.match ?? 0, commitIndex);
  return {
    id,
    url,
    role: isHeard ? (state.configuration.learners.includes(id) ? "learner" : "follower") : "unknown",
    term: isHeard ? term : 0,
    commitIndex: confirmed,
    appliedIndex: confirmed,
    lag: isHeard ? commitIndex - confirmed : null,
  };
}
