/**
 * Commands: every change of metadata. The log puts them in one order, `rules/decide` says what each one does.
 * A command holds all it needs (no clock, no chance, no cluster view), so replaying the log gives the same state.
 */
import { type Static, Type } from "@sinclair/typebox";
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
  StoredChunk,
  Term,
  Url,
  WorkerMode,
  WriteCondition,
} from "./primitives.ts";

const FileAttributes = {
  contentType: Type.String({ maxLength: 255 }),
  /** Hex SHA-256 of the content, when the client asked for one or sent one. */
  sha256: Nullable(Type.String({ pattern: "^[0-9a-f]{64}$" })),
  /** The client's metadata and the standard headers that come back with the file, as `rules/file-headers.ts` lays them out. */
  userMetadata: Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 2048 })),
};

/** First contact of a client: its log index becomes the session id, never reused. */
export const OpenSession = Type.Object({ type: Type.Literal("OPEN_SESSION"), clientId: NodeId });

/**
 * Hands a gateway the chunk ids `[first, first + count)`, placed ahead of need. Until the grant ends, chunks with these
 * ids are somebody's upload and not garbage.
 */
export const GrantChunks = Type.Object({
  type: Type.Literal("GRANT_CHUNKS"),
  gatewayId: NodeId,
  count: Type.Integer({ minimum: 1, maximum: 1024 }),
  leaseMs: Milliseconds,
  decision: PlacementDecision,
});

export const RenewGrants = Type.Object({
  type: Type.Literal("RENEW_GRANTS"),
  grantIds: BoundedList(ChunkId),
  leaseMs: Milliseconds,
});

/** Ends grants early: the gateway has no more use for their ids. */
export const CloseGrants = Type.Object({ type: Type.Literal("CLOSE_GRANTS"), grantIds: BoundedList(ChunkId) });

/** Makes a whole file visible (or replaces it) in one step: small files and all that fit one command. */
export const PutFile = Type.Object({
  type: Type.Literal("PUT_FILE"),
  path: FilePath,
  chunks: BoundedList(StoredChunk),
  sizeBytes: ByteCount,
  crc32: Crc32,
  replicationFactor: Type.Integer({ minimum: 1, maximum: 16 }),
  minReplicas: Type.Integer({ minimum: 1, maximum: 16 }),
  condition: WriteCondition,
  ...FileAttributes,
});

/** Starts an upload that outlives connections: chunks are staged as they are sealed, then committed at once. */
export const OpenUpload = Type.Object({
  type: Type.Literal("OPEN_UPLOAD"),
  path: FilePath,
  replicationFactor: Type.Integer({ minimum: 1, maximum: 16 }),
  minReplicas: Type.Integer({ minimum: 1, maximum: 16 }),
  chunkSizeBytes: PositiveCount,
  leaseMs: Milliseconds,
  condition: WriteCondition,
  ...FileAttributes,
});

/** Adds sealed chunks at the upload's end; prolongs its lease. Refused if `offset` is not where the upload stands. */
export const StageChunks = Type.Object({
  type: Type.Literal("STAGE_CHUNKS"),
  uploadId: LogIndex,
  offset: ByteCount,
  chunks: BoundedList(StoredChunk),
  leaseMs: Milliseconds,
});

export const CommitUpload = Type.Object({
  type: Type.Literal("COMMIT_UPLOAD"),
  uploadId: LogIndex,
  sizeBytes: ByteCount,
  /** null: the writer names none. */
  crc32: Nullable(Crc32),
  sha256: Nullable(Type.String({ pattern: "^[0-9a-f]{64}$" })),
});

export const AbortUpload = Type.Object({ type: Type.Literal("ABORT_UPLOAD"), uploadId: LogIndex });

export const DeletePath = Type.Object({
  type: Type.Literal("DELETE_PATH"),
  path: FilePath,
  recursive: Type.Boolean(),
  condition: WriteCondition,
});

/** Moves a file or a whole directory in one step. A file may replace a file if `overwrite`; `condition` is on what moves. */
export const RenamePath = Type.Object({
  type: Type.Literal("RENAME_PATH"),
  from: FilePath,
  to: FilePath,
  overwrite: Type.Boolean(),
  condition: WriteCondition,
});

/** A second name for the same chunks: no byte moves. Directories up to 1000 entries. */
export const CopyPath = Type.Object({
  type: Type.Literal("COPY_PATH"),
  from: FilePath,
  to: FilePath,
  overwrite: Type.Boolean(),
  condition: WriteCondition,
});

export const MakeDirectory = Type.Object({ type: Type.Literal("MAKE_DIRECTORY"), path: FilePath });

/** A worker joined, moved, or came back with an empty disk (`incarnation` changed: all its old copies are gone). */
export const RegisterWorker = Type.Object({
  type: Type.Literal("REGISTER_WORKER"),
  workerId: NodeId,
  url: Url,
  zone: Type.String({ maxLength: 64 }),
  incarnation: Type.String({ maxLength: 64 }),
  capacityBytes: ByteCount,
});

/** The leader's liveness verdict. Heartbeats never enter the log, only the transitions that they cause. */
export const SetWorkerLiveness = Type.Object({
  type: Type.Literal("SET_WORKER_LIVENESS"),
  workerId: NodeId,
  liveness: Type.Union([Type.Literal("live"), Type.Literal("dead")]),
});

export const SetWorkerMode = Type.Object({
  type: Type.Literal("SET_WORKER_MODE"),
  workerId: NodeId,
  mode: WorkerMode,
});

/** Replicas that a repair made, or that a returned worker turned out to hold. */
export const AddReplicas = Type.Object({
  type: Type.Literal("ADD_REPLICAS"),
  replicas: BoundedList(Type.Object({ chunkId: ChunkId, workerId: NodeId, reason: Type.String({ maxLength: 200 }) })),
});

/** Copies that turned out bad: they no longer count. `corrupt` and `missing` say why, for people and for repair. */
export const MarkReplicas = Type.Object({
  type: Type.Literal("MARK_REPLICAS"),
  replicas: BoundedList(
    Type.Object({
      chunkId: ChunkId,
      workerId: NodeId,
      state: Type.Union([Type.Literal("corrupt"), Type.Literal("missing")]),
    }),
  ),
});

/**
 * Takes an extra copy off the books; only then may the worker be told to trash it. `keep` names the other copies that
 * the leader of `term` has fresh proof of; `decide` counts them again and refuses if the chunk would fall below its
 * factor, or if the entry is of another term: proof does not outlast the leader who has it.
 */
export const DropReplica = Type.Object({
  type: Type.Literal("DROP_REPLICA"),
  term: Term,
  chunkId: ChunkId,
  workerId: NodeId,
  keep: Type.Array(NodeId, { maxItems: 16 }),
});

/** Workers have trashed these freed chunks (or no longer hold them): forget them. */
export const ForgetGarbage = Type.Object({
  type: Type.Literal("FORGET_GARBAGE"),
  items: BoundedList(Type.Object({ chunkId: ChunkId, workerId: NodeId })),
});

/** Ends, in bounded steps, what has run out by log time: grants, uploads, sessions, idempotency keys. */
export const Expire = Type.Object({ type: Type.Literal("EXPIRE"), sessionIdleMs: Milliseconds });

/** Frees, in bounded steps, the contents of directories that were deleted in one step. */
export const ReapDeleted = Type.Object({ type: Type.Literal("REAP_DELETED") });

/** Opens a leader's term, so that everything before it is known to be applied. */
export const Noop = Type.Object({ type: Type.Literal("NOOP") });

/** All masters know the commands of this version; from here on the log may hold them. It is never lowered. */
export const SetClusterVersion = Type.Object({
  type: Type.Literal("SET_CLUSTER_VERSION"),
  version: PositiveCount,
});

/** A master whose state had another hash at the CHECK_STATE in entry `index` stops; the others note their hash for the next. */
export const CheckState = Type.Object({
  type: Type.Literal("CHECK_STATE"),
  /** 0: nothing is known of a majority; only a new mark is made. */
  index: LogIndex,
  hash: Count,
});

export const Command = Type.Union([
  OpenSession,
  GrantChunks,
  RenewGrants,
  CloseGrants,
  PutFile,
  OpenUpload,
  StageChunks,
  CommitUpload,
  AbortUpload,
  DeletePath,
  RenamePath,
  CopyPath,
  MakeDirectory,
  RegisterWorker,
  SetWorkerLiveness,
  SetWorkerMode,
  AddReplicas,
  MarkReplicas,
  DropReplica,
  ForgetGarbage,
  Expire,
  ReapDeleted,
  Noop,
  SetClusterVersion,
  CheckState,
]);
export type Command = Static<typeof Command>;
export type CommandOf<T extends Command["type"]> = Extract<Command, { type: T }>;

/** The commands that a gateway may propose; the rest are the leader's own. */
export const ClientCommand = Type.Union([
  OpenSession,
  RenewGrants,
  CloseGrants,
  PutFile,
  OpenUpload,
  StageChunks,
  CommitUpload,
  AbortUpload,
  DeletePath,
  RenamePath,
  CopyPath,
  MakeDirectory,
  SetWorkerMode,
]);
export type ClientCommand = Static<typeof ClientCommand>;

/** A file as commands and queries answer it. */
export const FileInfo = Type.Object({
  kind: Type.Literal("file"),
  path: Type.String(),
  sizeBytes: ByteCount,
  etag: Type.String({ description: "without quotes" }),
  crc32: Crc32,
  chunkCount: Count,
  replicationFactor: Type.Integer(),
  createdAt: Milliseconds,
  modifiedAt: Milliseconds,
  ...FileAttributes,
});
export type FileInfo = Static<typeof FileInfo>;

export const DirectoryInfo = Type.Object({
  kind: Type.Literal("directory"),
  path: Type.String(),
  createdAt: Milliseconds,
});
export type DirectoryInfo = Static<typeof DirectoryInfo>;

export const EntryInfo = Type.Union([FileInfo, DirectoryInfo]);
export type EntryInfo = Static<typeof EntryInfo>;

/** What a command did. A refusal is a result too: it is stored and replayed like any other. */
export const CommandResult = Type.Union([
  Type.Object({ ok: Type.Literal(true), value: Type.Unknown() }),
  Type.Object({
    ok: Type.Literal(false),
    code: Type.String({ maxLength: 64 }),
    message: Type.String(),
    details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  }),
]);
export type CommandResult = Static<typeof CommandResult>;

/** `value` of each accepted command; commands not listed answer `null`. */
export interface CommandValues {
  OPEN_SESSION: { sessionId: number };
  GRANT_CHUNKS: { grantId: number; firstChunkId: number; count: number };
  PUT_FILE: { file: FileInfo; created: boolean };
  OPEN_UPLOAD: { uploadId: number };
  STAGE_CHUNKS: { offset: number };
  COMMIT_UPLOAD: { file: FileInfo; created: boolean };
  DELETE_PATH: { entry: EntryInfo };
  RENAME_PATH: { entry: EntryInfo; replaced: boolean };
  COPY_PATH: { entry: EntryInfo; replaced: boolean };
  MAKE_DIRECTORY: { created: boolean };
  ADD_REPLICAS: { added: number };
  MARK_REPLICAS: { marked: number };
  DROP_REPLICA: { dropped: boolean };
  EXPIRE: { more: boolean };
  REAP_DELETED: { more: boolean };
}
export type ValueOf<T extends Command["type"]> = T extends keyof CommandValues ? CommandValues[T] : null;
