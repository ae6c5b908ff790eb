/** The control plane, as the doors ask for it: the state of the cluster, and what an operator may order. Types only. */

import type { WorkerMode } from "../../actors/messages/primitives.ts";
import type { ClusterStateAnswer, ExplainAnswer } from "../../actors/messages/questions.ts";
import type { ChunkDescription } from "../../actors/messages/worker.ts";

export type { ClusterStateAnswer, ExplainAnswer };

/** One master, by its own account; null where it did not answer. */
export interface MasterView {
  id: string;
  url: string;
  /** Of the group; `none`: waits to be added. */
  member: "voter" | "learner" | "removed" | "none" | "unknown";
  role: string;
  term: number | null;
  /** The leader, as this master sees it. */
  leader: string | null;
  commitIndex: number | null;
  appliedIndex: number | null;
  lastIndex: number | null;
  /** Committed entries that it has not applied yet. */
  lag: number | null;
  /** How old its state is at most. */
  stateAgeMs: number | null;
}
export interface MastersView {
  leader: string | null;
  term: number;
  masters: MasterView[];
}

/** What an operator asks of the group of masters. */
export type MastersOrder = { add: string; url: string } | { remove: string } | { transfer: string };

export interface Operations {
  /** One page of at most 1000 chunks from `fromIndex`; `file` null: no such file. */
  explain(path: string, fromIndex: number, limit: number): Promise<ExplainAnswer>;
  /**
   * A worker's own account of its copy of a chunk, for ?explain. Waits a second at most.
   *
   * @throws NO_SUCH_CHUNK if it holds none; PEER_UNREACHABLE or TIMEOUT if it does not say
   */
  describeReplica(workerUrl: string, chunkId: number): Promise<ChunkDescription>;
  clusterState(patience?: { budgetMs?: number }): Promise<ClusterStateAnswer>;
  /** Asks every master by itself, so it answers even while no master leads. */
  viewMasters(): Promise<MastersView>;
  /** @throws MASTERS_UNCHANGED, NO_SUCH_MASTER */
  orderMasters(order: MastersOrder): Promise<MastersView>;
  /** The whole metadata as it is at some moment of the call, as `databases/metadata/backup.ts` describes it. */
  backup(signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  setWorkerMode(workerId: string, mode: WorkerMode, options?: { idempotencyKey?: string }): Promise<void>;
}
