/** The master's mailbox: the messages that gateways, workers and other masters send to a master, and its answers. */
import { type Static, Type } from "@sinclair/typebox";
import { ClientCommand, CommandResult } from "./commands.ts";
import { ByteCount, ChunkId, Count, LogIndex, Milliseconds, NodeId, Nullable, Term, Url } from "./primitives.ts";
import {
  ClusterState,
  ClusterStateAnswer,
  Explain,
  ExplainAnswer,
  List,
  ListAnswer,
  Locate,
  LocateAnswer,
  Stat,
  StatAnswer,
  UploadStatus,
  UploadStatusAnswer,
  WorkerAddress,
} from "./questions.ts";
import { Configuration, Incarnation, RaftBatch, RaftBatchAnswer } from "./raft.ts";
import { Heartbeat, HeartbeatAck, Reconcile, Reconciled, Register, Registered } from "./worker-reports.ts";

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
