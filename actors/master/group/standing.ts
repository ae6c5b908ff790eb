/** What a master says of itself and its group: who leads, and if none does, since when, and whether one soon could. */
import type { MasterStatusAnswer } from "../../messages/master.ts";
import type { NodeId } from "../../messages/primitives.ts";
import { lastIndex } from "../../rules/raft/log-tail.ts";
import { hasQuorum } from "../../rules/raft/quorum.ts";
import type { RaftMetadata } from "./raft-metadata.ts";

/** Silence of a voter, in election periods, after which it does not count as heard: each campaign asks all of them. */
const HEARD_WITHIN = 3;

export class Standing {
  #leaderlessSince: number | null = performance.now();

  leaderChanged(leaderId: NodeId | null): void {
    this.#leaderlessSince = leaderId === null ? (this.#leaderlessSince ?? performance.now()) : null;
  }

  /** ms; 0: a leader is known here. */
  get leaderlessMs(): number {
    return this.#leaderlessSince === null ? 0 : Math.max(1, Math.round(performance.now() - this.#leaderlessSince));
  }

  /** @param heardAt when another master was last heard, on this node's own clock */
  status(
    metadata: RaftMetadata,
    url: string,
    stateAgeMs: number | null,
    heardAt: (id: NodeId) => number | null,
  ): MasterStatusAnswer {
    const { state, role } = metadata.raft;
    const { id, term, leaderId, commitIndex, appliedIndex, log, configuration, timings } = state;
    const since = performance.now() - HEARD_WITHIN * timings.electionMs;
    const isHeard = (voter: NodeId) => voter === id || (heardAt(voter) ?? Number.NEGATIVE_INFINITY) > since;
    return {
      id,
      url,
      role,
      term,
      leader: leaderId,
      commitIndex,
      appliedIndex,
      lastIndex: lastIndex(log),
      stateAgeMs,
      incarnation: metadata.incarnation,
      configuration,
      leaderlessMs: this.leaderlessMs,
      hearsMajority: leaderId !== null || hasQuorum(configuration, isHeard),
      passesOn: true,
    };
  }
}
