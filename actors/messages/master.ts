/** The master's mailbox: the messages that gateways, workers and other masters send to a master, and its answers. */
import { type Static, Type } from "@sinclair/typebox";
import { ClientCommand, CommandResult, EntryInfo, FileInfo } from "./commands.ts";
import {
  BoundedList,
  ByteCount,
  ChunkId,
  Count,
  Crc32,
  FilePath,
  LogIndex,
  Milliseconds,
  NodeId,
  Nullable,
  PlacementDecision,
  PositiveCount,
  Term,
  Url,
  WorkerCondition,
  WorkerMode,
} from "./primitives.ts";
import { Configuration, Incarnation, RaftBatch, RaftBatchAnswer } from "./raft.ts";

// ── from gateways ──────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Puts a command into the log. The same `(sessionId, seq)` sent twice takes effect once and gets the same answer;
 * results below `lowestUnacked` are forgotten. `idempotencyKey` is the key that the end client gave.
 */
export const Execute = Type.Object({
  type: Type.Literal("EXECUTE"),
  /** 0 only for OPEN_SESSION. */
  sessionId: Count,
  seq: Count,
  lowestUnacked: Count,
  idempotencyKey: Nullable(Type.String({ minLength: 1, maxLength: 255 })),
  command: ClientCommand,
});
export const Executed = Type.Object({ result: CommandResult, index: LogIndex });

/** A worker as a gateway needs it to reach and judge it. */
export const WorkerAddress = Type.Object({
  id: NodeId,
  url: Url,
  zone: Type.String(),
  state: Type.String({ description: "live, suspect, dead, draining, maintenance, full, readOnly, unknown" }),
});
export type WorkerAddress = Static<typeof WorkerAddress>;

/**
 * Asks for chunk ids and for the workers that shall hold them. The answer, or the refusal with its reason, comes at
 * once.
 */
export const PlaceChunks = Type.Object({
  type: Type.Literal("PLACE_CHUNKS"),
  gatewayId: NodeId,
  count: Type.Integer({ minimum: 1, maximum: 1024 }),
  chunkSizeBytes: ByteCount,
  replicationFactor: Type.Integer({ minimum: 1, maximum: 16 }),
  minReplicas: Type.Integer({ minimum: 1, maximum: 16 }),
  exclude: Type.Array(NodeId, { maxItems: 64, description: "workers that just failed for the caller" }),
});
export const PlacedChunks = Type.Object({
  grantId: ChunkId,
  firstChunkId: ChunkId,
  leaseMs: Milliseconds,
  /** `placements[i]` are the workers of chunk `firstChunkId + i`, best first; never fewer than `minReplicas`. */
  placements: Type.Array(Type.Array(NodeId), { minItems: 1 }),
  workers: Type.Array(WorkerAddress),
});
export type PlacedChunks = Static<typeof PlacedChunks>;

/** Asks for further workers for a chunk that lost some while it was written. */
export const ReplaceWorkers = Type.Object({
  type: Type.Literal("REPLACE_WORKERS"),
  chunkSizeBytes: ByteCount,
  count: Type.Integer({ minimum: 1, maximum: 16 }),
  holders: Type.Array(NodeId, { maxItems: 16, description: "workers that already hold this chunk" }),
  exclude: Type.Array(NodeId, { maxItems: 64 }),
});
export const ReplacementWorkers = Type.Object({ workers: Type.Array(WorkerAddress) });

/** `eventual`: any master may answer, from a state whose age is bounded and part of the answer. */
export const Consistency = Type.Optional(Type.Union([Type.Literal("strong"), Type.Literal("eventual")]));
/**
 * The answer reflects every change acknowledged this long ago. A leader leaves it out: its answer reflects every
 * acknowledged change.
 */
const Age = Type.Optional(Milliseconds);

/** Asks which file or directory is at a path. */
export const Stat = Type.Object({ type: Type.Literal("STAT"), path: FilePath, consistency: Consistency });
export const StatAnswer = Type.Object({ entry: Nullable(EntryInfo), index: LogIndex, ageMs: Age });

/** Asks for some consecutive chunks of a file, each with the workers that hold good copies, best first. */
export const Locate = Type.Object({
  type: Type.Literal("LOCATE"),
  path: FilePath,
  /** Pages of one download stay on one version: the etag of the first page, or null on the first. */
  etag: Nullable(Type.String({ maxLength: 128 })),
  offset: ByteCount,
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  consistency: Consistency,
});
export const LocatedChunk = Type.Object({
  chunkId: ChunkId,
  index: Count,
  offset: ByteCount,
  lengthBytes: ByteCount,
  crc32: Crc32,
  workerIds: Type.Array(NodeId),
});
export type LocatedChunk = Static<typeof LocatedChunk>;
export const LocateAnswer = Type.Object({
  entry: Nullable(EntryInfo),
  chunks: Type.Array(LocatedChunk),
  workers: Type.Array(WorkerAddress),
  index: LogIndex,
  ageMs: Age,
});
export type LocateAnswer = Static<typeof LocateAnswer>;

/**
 * Asks for one page of names in byte order of their whole paths. With `delimiter`, everything below a directory rolls
 * up into its name. `after` is the last name of the page before, `minIndex` the log index that it reflected: a later
 * page never reflects an earlier index.
 */
export const List = Type.Object({
  type: Type.Literal("LIST"),
  prefix: Type.String({ maxLength: 4096 }),
  delimiter: Type.Boolean(),
  after: Type.String({ maxLength: 4097 }),
  minIndex: LogIndex,
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
  consistency: Consistency,
});
export const ListAnswer = Type.Object({
  entries: Type.Array(EntryInfo),
  /** null: that was the last page. */
  next: Nullable(Type.String()),
  index: LogIndex,
  ageMs: Age,
});
export type ListAnswer = Static<typeof ListAnswer>;

/** Asks how many bytes of a resumable upload are kept. */
export const UploadStatus = Type.Object({ type: Type.Literal("UPLOAD_STATUS"), uploadId: LogIndex });
export const UploadStatusAnswer = Type.Object({
  upload: Nullable(
    Type.Object({
      path: FilePath,
      offset: ByteCount,
      /** CRC-32 of the bytes staged so far. */
      crc32: Crc32,
      chunkCount: Type.Integer(),
      chunkSizeBytes: Type.Integer(),
      replicationFactor: Type.Integer(),
      minReplicas: Type.Integer(),
      expiresInMs: Milliseconds,
      /** As the file will have them. Masters of an older program leave them out. */
      contentType: Type.Optional(Type.String()),
      userMetadata: Type.Optional(Type.Record(Type.String(), Type.String())),
    }),
  ),
});

export const ReplicaState = Type.Union([
  Type.Literal("good"),
  Type.Literal("missing"),
  Type.Literal("corrupt"),
  Type.Literal("stale"),
  Type.Literal("trash"),
]);

/** Asks where each chunk of a file is, and why there. `now` is the placement that would be chosen at this moment. */
export const Explain = Type.Object({
  type: Type.Literal("EXPLAIN"),
  path: FilePath,
  fromIndex: Count,
  limit: Type.Integer({ minimum: 1, maximum: 1000 }),
});
export const ExplainAnswer = Type.Object({
  file: Nullable(FileInfo),
  chunks: Type.Array(
    Type.Object({
      chunkId: ChunkId,
      index: Type.Integer(),
      offset: ByteCount,
      lengthBytes: ByteCount,
      crc32: Crc32,
      replicas: Type.Array(
        Type.Object({
          worker: NodeId,
          url: Url,
          zone: Type.String(),
          state: ReplicaState,
          workerState: Type.String(),
          reason: Nullable(Type.String()),
        }),
      ),
      decision: Nullable(PlacementDecision),
      repair: Nullable(Type.String({ description: "state of the repair under way, if any" })),
    }),
  ),
  now: Nullable(PlacementDecision),
  next: Nullable(Type.Integer()),
});
export type ExplainAnswer = Static<typeof ExplainAnswer>;

/**
 * Reports a copy that a reader could not use. The leader has the worker check it, and replaces it if the worker finds
 * it bad.
 */
export const ReportReplica = Type.Object({
  type: Type.Literal("REPORT_REPLICA"),
  chunkId: ChunkId,
  workerId: NodeId,
  problem: Type.Union([Type.Literal("corrupt"), Type.Literal("missing"), Type.Literal("unreachable")]),
  detail: Type.String({ maxLength: 500 }),
});

/** Asks for the state of the cluster: masters, workers, redundancy, repairs, and what is wrong. */
export const ClusterState = Type.Object({ type: Type.Literal("CLUSTER_STATE") });
export const ClusterStateAnswer = Type.Object({
  clusterId: Type.String(),
  leader: Nullable(NodeId),
  term: Term,
  masters: Type.Array(
    Type.Object({
      id: NodeId,
      url: Url,
      role: Type.String(),
      term: Term,
      commitIndex: LogIndex,
      appliedIndex: LogIndex,
      lag: Nullable(
        Type.Integer({
          minimum: 0,
          maximum: Number.MAX_SAFE_INTEGER,
          description: "committed entries that it has not confirmed yet; null: the leader has not heard from it lately",
        }),
      ),
    }),
  ),
  steward: Type.String({ description: "safeMode, steady, repairing, rebalancing or paused" }),
  workers: Type.Array(
    Type.Object({
      id: NodeId,
      url: Url,
      zone: Type.String(),
      state: Type.String(),
      mode: WorkerMode,
      condition: Nullable(WorkerCondition),
      capacityBytes: ByteCount,
      /** Both null: the worker has not reported to this leader yet. */
      freeBytes: Nullable(ByteCount),
      trashBytes: Nullable(ByteCount),
      chunks: Type.Integer({ description: "chunks that the metadata expects on this worker" }),
      lastHeardMs: Nullable(Type.Number({ description: "ms since its last heartbeat; null: not since this leader" })),
      /** Chunks that would fall below `minReplicas` good copies if this worker stopped now. */
      chunksAtRiskIfStopped: Type.Integer(),
      /**
       * Chunks whose risk is unknown, because this leader has not heard other workers that hold them. Both 0: safe to
       * stop.
       */
      chunksUnknownIfStopped: Type.Optional(Type.Integer()),
    }),
  ),
  files: Type.Object({ files: Type.Integer(), directories: Type.Integer(), bytes: ByteCount }),
  /**
   * Counted from chunks, not from tasks. `below[n]`: chunks with exactly n good copies on workers that the leader
   * hears. `unknown`: chunks whose number of copies depends on workers that this leader has not heard.
   */
  redundancy: Type.Object({
    chunks: Type.Integer(),
    full: Type.Integer(),
    below: Type.Record(Type.String(), Type.Integer()),
    unknown: Type.Optional(Type.Integer()),
  }),
  repairs: Type.Array(
    Type.Object({
      chunkId: ChunkId,
      state: Type.String(),
      source: Nullable(NodeId),
      target: Nullable(NodeId),
      goodCopies: Type.Integer(),
      sinceMs: Type.Number(),
      attempts: Type.Integer(),
      reason: Type.String(),
    }),
  ),
  repairQueue: Type.Integer(),
  garbage: Type.Integer({ description: "freed replicas that workers still have to trash" }),
  reasons: Type.Array(
    Type.Object({
      code: Type.String(),
      message: Type.String(),
      severity: Type.String({ description: "info, warning, error" }),
    }),
  ),
});
export type ClusterStateAnswer = Static<typeof ClusterStateAnswer>;

// ── from workers ───────────────────────────────────────────────────────────────────────────────────────────────────

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
  chunks: Nullable(BoundedList(Type.Object({ chunkId: ChunkId, lengthBytes: ByteCount, crc32: Crc32 }), 4096)),
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

// ── about the masters ──────────────────────────────────────────────────────────────────────────────────────────────

/** Asks any master for its id, its place in the log, and the leader that it knows. */
export const MasterStatus = Type.Object({ type: Type.Literal("MASTER_STATUS") });
export const MasterStatusAnswer = Type.Object({
  id: NodeId,
  url: Url,
  /**
   * follower, precandidate, candidate, leader; `founding`: its data directory is new, and it waits for the other
   * masters; `resetting`: its term is being replaced, it waits for the other masters, and `term` is that of its last
   * log entry.
   */
  role: Type.String({ maxLength: 32 }),
  term: Term,
  leader: Nullable(NodeId),
  commitIndex: LogIndex,
  appliedIndex: LogIndex,
  lastIndex: LogIndex,
  /** How old its state is at most; null: unknown, because no leader has confirmed it. */
  stateAgeMs: Nullable(Count),
  incarnation: Nullable(Incarnation),
  /** The members of the group, as far as this master knows; null while founding. */
  configuration: Nullable(Configuration),
  /** ms since it last knew a leader; 0: it knows one. Older masters leave out this field and those below. */
  leaderlessMs: Type.Optional(Milliseconds),
  /** It knows a leader, or has lately heard a majority of the voters, so that an election can end soon. */
  hearsMajority: Type.Optional(Type.Boolean()),
  /** Its program knows PASS_ON. */
  passesOn: Type.Optional(Type.Boolean()),
});
export type MasterStatusAnswer = Static<typeof MasterStatusAnswer>;

/**
 * Adds, promotes or removes a master, one change at a time. The leader promotes a learner by itself once it has caught
 * up.
 */
export const ChangeMasters = Type.Object({
  type: Type.Literal("CHANGE_MASTERS"),
  change: Type.Union([Type.Literal("addLearner"), Type.Literal("promote"), Type.Literal("remove")]),
  id: NodeId,
  url: Nullable(Url),
});
export const MastersChanged = Type.Object({ configuration: Configuration, index: LogIndex });

/** Hands leadership over to a voter that has caught up; commands wait meanwhile. */
export const TransferLeadership = Type.Object({ type: Type.Literal("TRANSFER_LEADERSHIP"), to: NodeId });

/** Asks the leader for the log index that a master must have applied to know every change acknowledged by now. */
export const ReadIndex = Type.Object({ type: Type.Literal("READ_INDEX") });

// ── past a cut link ────────────────────────────────────────────────────────────────────────────────────────────────

/** The messages that a gateway may send to the leader by way of another master. */
const Passed = Type.Union([
  Execute,
  PlaceChunks,
  ReplaceWorkers,
  Stat,
  Locate,
  List,
  UploadStatus,
  Explain,
  ReportReplica,
  ClusterState,
  ChangeMasters,
  TransferLeadership,
]);
export type Passed = Static<typeof Passed>;
/** The answer to the message that was passed on. */
const PassedAnswer = Type.Unknown();

/** Asks a master that does not lead to pass a message on to the leader, which the gateway cannot reach. */
export const PassOn = Type.Object({ type: Type.Literal("PASS_ON"), message: Passed });

/** Carries a gateway's message from another master to the leader. It is passed on no further. */
export const PassedOn = Type.Object({
  type: Type.Literal("PASSED_ON"),
  /** The gateway, whose signature the sending master has verified. */
  gatewayId: NodeId,
  message: Passed,
});

// ── all of them ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Every message that a master's mailbox takes: message schema and answer schema by type. */
export const MasterMailbox = {
  EXECUTE: { message: Execute, answer: Executed },
  PLACE_CHUNKS: { message: PlaceChunks, answer: PlacedChunks },
  REPLACE_WORKERS: { message: ReplaceWorkers, answer: ReplacementWorkers },
  STAT: { message: Stat, answer: StatAnswer },
  LOCATE: { message: Locate, answer: LocateAnswer },
  LIST: { message: List, answer: ListAnswer },
  UPLOAD_STATUS: { message: UploadStatus, answer: UploadStatusAnswer },
  EXPLAIN: { message: Explain, answer: ExplainAnswer },
  REPORT_REPLICA: { message: ReportReplica, answer: Type.Object({ accepted: Type.Boolean() }) },
  CLUSTER_STATE: { message: ClusterState, answer: ClusterStateAnswer },
  REGISTER: { message: Register, answer: Registered },
  HEARTBEAT: { message: Heartbeat, answer: HeartbeatAck },
  RECONCILE: { message: Reconcile, answer: Reconciled },
  MASTER_STATUS: { message: MasterStatus, answer: MasterStatusAnswer },
  CHANGE_MASTERS: { message: ChangeMasters, answer: MastersChanged },
  TRANSFER_LEADERSHIP: { message: TransferLeadership, answer: Type.Object({ leader: Nullable(NodeId) }) },
  READ_INDEX: { message: ReadIndex, answer: Type.Object({ index: LogIndex }) },
  PASS_ON: { message: PassOn, answer: PassedAnswer },
  PASSED_ON: { message: PassedOn, answer: PassedAnswer },
  RAFT: { message: RaftBatch, answer: RaftBatchAnswer },
} as const;
