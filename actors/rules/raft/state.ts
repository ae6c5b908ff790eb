/**
 * What a master knows as a member of the Raft group, what can happen to it, and what it wants done.
 *
 * Handlers are pure: `(state, event) => { patch, effects }`. Names are those of the paper's Figure 2 where it has one.
 * @see Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm", https://raft.github.io/raft.pdf
 */

import type { NodeId } from "../../messages/primitives.ts";
import type { Configuration, RaftEntry, RaftMessage, RaftMessageOf } from "../../messages/raft.ts";
import { declareInvariant, type Invariant } from "../invariant.ts";
import { type LogTail, lastIndex } from "./log-tail.ts";

/** Times in ms; the asserts in `checkTimings` hold between them. */
export interface RaftTimings {
  heartbeatMs: number;
  /** Elections are drawn from [electionMs, 2 × electionMs); also the window of check-quorum and stickiness (Tmin). */
  electionMs: number;
}

/** How the leader feeds one follower. */
export interface Progress {
  /** `probe`: one message at a time, looking for where the logs agree. `replicate`: a window of them. `snapshot`: none. */
  mode: "probe" | "replicate" | "snapshot";
  /** Highest index known to be durable there. */
  match: number;
  /** Next index to send. */
  next: number;
  /** Last index of each append under way, oldest first. */
  inflight: readonly number[];
  /** In probe mode: one is out, wait for its answer or the next beat. */
  isProbing: boolean;
  /** `match` when its window was last taken for lost; -1 after each beat that is answered. Bounds retransmissions. */
  rewoundAt: number;
  /** When it last answered, on the node's own clock. */
  lastActiveAt: number;
  /** Read position that it echoed last, in this term. */
  readSeq: number;
}

export interface WaitingRead {
  id: number;
  /** Confirmed once a quorum echoed this position. */
  position: number;
  /** The commit index when it was asked. */
  index: number;
}

export interface RaftState {
  readonly id: NodeId;
  readonly timings: RaftTimings;
  /** Entries of one append at most. Small in simulations: large batches hide bugs. */
  readonly maxAppendEntries: number;
  readonly maxInflight: number;

  // durable before anything is said of them (P1)
  term: number;
  vote: NodeId | null;
  log: LogTail;

  /** Last index that is on this node's own disk. */
  durableIndex: number;
  commitIndex: number;
  appliedIndex: number;
  configuration: Configuration;
  /** Log index of `configuration`; the ones before it, so that a truncated change can be taken back. */
  configurationIndex: number;
  earlierConfigurations: readonly { index: number; configuration: Configuration }[];

  leaderId: NodeId | null;
  /** When the leader was last heard; -Infinity: not in this term; Infinity: we lead. */
  leaderHeardAt: number;
  /** How long it waits for a leader, or for votes. */
  electionTimeoutMs: number;
  /** When a follower began to wait for its leader, by the time for which its timer is set. */
  waitsSince: number;
  /** When it had reason to wait anew, since its timer was set; null: not since. */
  waitsAnewFrom: number | null;
  /** This campaign was asked for by the leader (TimeoutNow). */
  isTransfer: boolean;
  /** Answers to the (pre-)vote under way. */
  votes: Readonly<Record<NodeId, boolean>>;

  // leader only
  progress: Readonly<Record<NodeId, Progress>>;
  /** Index of this leader's own no-op: until it is applied there are no reads and no configuration changes (R6). */
  termStartIndex: number;
  readSeq: number;
  waitingReads: readonly WaitingRead[];
  transferTo: NodeId | null;
}

/** What a node finds on its disk when it starts. */
export type RecoveredRaft = Pick<
  RaftState,
  "term" | "vote" | "log" | "appliedIndex" | "configuration" | "configurationIndex" | "earlierConfigurations"
>;

/** Of a node that has just started, and has heard of nobody. */
export const startingState = (
  settings: Pick<RaftState, "id" | "timings" | "maxAppendEntries" | "maxInflight">,
  recovered: RecoveredRaft,
): RaftState => ({
  ...settings,
  ...recovered,
  durableIndex: lastIndex(recovered.log),
  commitIndex: recovered.appliedIndex,
  leaderId: null,
  leaderHeardAt: Number.NEGATIVE_INFINITY,
  electionTimeoutMs: 0,
  waitsSince: 0,
  waitsAnewFrom: null,
  isTransfer: false,
  votes: {},
  progress: {},
  termStartIndex: 0,
  readSeq: 0,
  waitingReads: [],
  transferTo: null,
});

/** Every event carries the node's own clock reading. */
interface At {
  at: number;
}
export type RpcEvent = { [T in RaftMessage["type"]]: { type: T; message: RaftMessageOf<T> } & At }[RaftMessage["type"]];
export type RaftEvent =
  | RpcEvent
  | ({
      type: "client.propose";
      entries: { kind: RaftEntry["kind"]; data: Uint8Array; configuration?: Configuration }[];
    } & At)
  | ({ type: "client.read"; id: number } & At)
  /** A flush has ended: everything up to this entry is on disk, if it is still the same entry (P6). */
  | ({ type: "disk.flushed"; lastIndex: number; lastTerm: number } & At)
  | ({ type: "disk.failed"; reason: string } & At)
  | ({ type: "log.compacted"; index: number } & At)
  | ({ type: "snapshot.installed"; index: number; term: number; configuration: Configuration; success: boolean } & At)
  | ({ type: "peer.unreachable"; id: NodeId } & At)
  /** The event loop was late by more than an election: what we believe of the others may be old (R8). */
  | ({ type: "host.late" } & At)
  | ({ type: "admin.transfer"; to: NodeId } & At)
  /** A removed master knows that it is out, or had time enough to hear it. */
  | ({ type: "admin.forget"; id: NodeId } & At);

export type Effect =
  /** Make durable, in this order and atomically (P7): hard state, truncation, entries. */
  | {
      kind: "persist";
      hard?: { term: number; vote: NodeId | null };
      truncateFrom?: number;
      entries?: readonly RaftEntry[];
    }
  /** `afterFlush`: not before everything persisted so far is on disk (P1, P2). */
  | { kind: "send"; message: RaftMessage; afterFlush: boolean }
  /** Apply the entries behind `after`, up to this one. To whoever hears of the state, they are applied. */
  | { kind: "apply"; after: number; upTo: number }
  /** Proposals of one event got these places, or none: this node does not lead. */
  | { kind: "proposed"; firstIndex: number | null; count: number }
  | { kind: "readReady"; id: number; index: number }
  | { kind: "readFailed"; id: number }
  | { kind: "sendSnapshot"; to: NodeId }
  | { kind: "installSnapshot"; offer: RaftMessageOf<"rpc.snapshotOffer"> }
  | { kind: "leaderChanged"; leaderId: NodeId | null; term: number };

export interface Step {
  patch?: Partial<RaftState>;
  effects?: Effect[];
}

const electionsAreRare: Invariant = declareInvariant("raft: electionMs >= 5 * heartbeatMs");

export function checkTimings({ heartbeatMs, electionMs }: RaftTimings): void {
  electionsAreRare.check(electionMs >= 5 * heartbeatMs, { heartbeatMs, electionMs });
}

/** Runs one step on top of another: the second sees what the first changed. */
export function chain(state: RaftState, first: Step, next: (state: RaftState) => Step): Step {
  const second = next({ ...state, ...first.patch });
  return {
    patch: { ...first.patch, ...second.patch },
    effects: [...(first.effects ?? []), ...(second.effects ?? [])],
  };
}
