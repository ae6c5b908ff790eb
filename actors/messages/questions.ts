/** Questions to a master that change nothing: about names, about where chunks are, about the cluster. */
import { type Static, Type } from "@sinclair/typebox";
import { content } from "./chunk.ts";
import { EntryInfo, FileInfo } from "./commands.ts";
import {
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
  Term,
  Url,
  WorkerCondition,
  WorkerMode,
} from "./primitives.ts";

/** A worker as a gateway needs it to reach and judge it. */
export const WorkerAddress = Type.Object({
  id: NodeId,
  url: Url,
  zone: Type.String(),
  state: Type.String({ description: "live, suspect, dead, draining, maintenance, full, readOnly, unknown" }),
});
export type WorkerAddress = Static<typeof WorkerAddress>;

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
  ...content,
  workerIds: Type.Array(NodeId),
});
export type LocatedChunk = Static<typeof LocatedChunk>;
export const LocateAnswer = Type.Object({
  entry: Nullable(EntryInfo),
  chunks: Type.Array(LocatedChunk),
  /** All bytes of a file that lies in the metadata. */
  content: Type.Optional(Type.Uint8Array()),
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
      ...content,
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
  /** The masters whose disks hold the bytes of a file that lies in the metadata. Left out: its bytes are in chunks. */
  masters: Type.Optional(Type.Array(NodeId)),
  now: Nullable(PlacementDecision),
  next: Nullable(Type.Integer()),
});
export type ExplainAnswer = Static<typeof ExplainAnswer>;

/** Asks for the state of the cluster: masters, workers, redundancy, repairs, and what is wrong. */
export const ClusterState = Type.Object({ type: Type.Literal("CLUSTER_STATE") });
export const ClusterStateAnswer = Type.Object({
  clusterId: Type.String(),
  /** The cluster version in force. Masters of an older program leave it out. */
  version: Type.Optional(Count),
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
  files: Type.Object({
    files: Type.Integer(),
    directories: Type.Integer(),
    bytes: ByteCount,
    /** Of them, those of tiny files, which lie in the metadata. */
    tinyBytes: Type.Optional(ByteCount),
  }),
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
