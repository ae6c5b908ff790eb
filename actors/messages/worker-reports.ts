/** Reports of workers to the leader: that they are there, how they are, and which chunks they hold. */
import { type Static, Type } from "@sinclair/typebox";
import { SealedChunk } from "./chunk.ts";
import {
  BoundedList,
  ByteCount,
  ChunkId,
  Count,
  LogIndex,
  Milliseconds,
  NodeId,
  Nullable,
  PositiveCount,
  Term,
  Url,
  WorkerCondition,
  WorkerMode,
} from "./primitives.ts";

/**
 * Registers a worker: sent when it starts, when the leader does not know it, and when the leader changed. `incarnation`
 * is made with the data directory: a wiped disk comes back as another incarnation. `epoch` grows at each start.
 */
export const Register = Type.Object({
  type: Type.Literal("REGISTER"),
  workerId: NodeId,
  url: Url,
  zone: Type.String({ maxLength: 64 }),
  incarnation: Type.String({ minLength: 8, maxLength: 64 }),
  epoch: PositiveCount,
  /** The cluster this data belongs to; null for an empty directory. */
  clusterId: Nullable(Type.String({ maxLength: 64 })),
  capacityBytes: ByteCount,
  freeBytes: ByteCount,
});
/** The leader's clock, by which its orders expire. It has no meaning outside the leader's term. */
const LeaderTime = Milliseconds;
export const Registered = Type.Object({
  clusterId: Type.String(),
  term: Term,
  heartbeatMs: Milliseconds,
  mode: WorkerMode,
  leaderTimeMs: LeaderTime,
  /** The ids of the masters, from which alone the worker takes orders. Older leaders leave it out. */
  masters: Type.Optional(Type.Array(NodeId, { maxItems: 64 })),
});

/** Reports every `heartbeatMs` that a worker is alive, how full it is, and which copies it found bad. */
export const Heartbeat = Type.Object({
  type: Type.Literal("HEARTBEAT"),
  workerId: NodeId,
  incarnation: Type.String({ maxLength: 64 }),
  epoch: PositiveCount,
  condition: WorkerCondition,
  capacityBytes: ByteCount,
  freeBytes: ByteCount,
  trashBytes: ByteCount,
  /** The mode that the worker believes the operator wants. */
  mode: WorkerMode,
  /** Chunks sealed on this worker, and chunks being written to it. */
  chunkCount: Count,
  openChunks: Count,
  /** Requests being served, for placement. */
  load: Count,
  /**
   * Chunks that the worker is copying to itself by order. An order that is neither answered nor named here was lost.
   * Older workers leave it out.
   */
  copying: Type.Optional(BoundedList(ChunkId, 64)),
  /** Copies that the scrub or a read found bad. They are in quarantine already, and are named until `acknowledged`. */
  badReplicas: BoundedList(
    Type.Object({ chunkId: ChunkId, state: Type.Union([Type.Literal("corrupt"), Type.Literal("missing")]) }),
    256,
  ),
  /** Chunks that were begun, never sealed, and left untouched for long. The leader answers which of them to discard. */
  idleOpenChunks: BoundedList(ChunkId, 256),
});
export type Heartbeat = Static<typeof Heartbeat>;
export const HeartbeatAck = Type.Object({
  term: Term,
  mode: WorkerMode,
  leaderTimeMs: LeaderTime,
  acknowledged: BoundedList(ChunkId, 256),
  /** Those of `idleOpenChunks` whose grant has ended: the worker throws them away. */
  discard: BoundedList(ChunkId, 256),
});

/**
 * Compares a worker's sealed chunks with ids in [fromId, toId] with the metadata: first by a digest, then, if the
 * digests differ, by a list. The leader counts copies again, has chunks repaired, or names chunks to trash.
 */
export const Reconcile = Type.Object({
  type: Type.Literal("RECONCILE"),
  workerId: NodeId,
  incarnation: Type.String({ maxLength: 64 }),
  epoch: PositiveCount,
  fromId: Count,
  toId: Count,
  count: Count,
  /** Of the chunks of the range, by `rules/redundancy/inventory-digest.ts`. */
  digest: Type.String({ maxLength: 64 }),
  chunks: Nullable(BoundedList(SealedChunk, 4096)),
});
export const Reconciled = Type.Object({
  match: Type.Boolean(),
  /** Chunks that no file holds, or extra copies: move to trash. Only ever filled when `chunks` was sent. */
  trash: BoundedList(ChunkId, 4096),
  /** The log index at which `trash` was decided; see the orders in `worker.ts`. */
  decidedAt: LogIndex,
  adopted: Count,
  missing: Count,
});
