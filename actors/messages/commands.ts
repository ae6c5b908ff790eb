/**
 * Commands: every change of metadata. The log puts them in one order, and `rules/decide/` says what each one does. A
 * command holds everything that its decision needs (no clock, no chance, no view of the cluster), so a replay gives the
 * same state.
 */
import { type Static, Type } from "@sinclair/typebox";
import { StoredChunk } from "./chunk.ts";
import {
  BoundedList,
  ByteCount,
  ChunkId,
  Count,
  Crc32,
  FilePath,
  LogIndex,
  MAX_TINY_BYTES,
  Milliseconds,
  NodeId,
  Nullable,
  PlacementDecision,
  PositiveCount,
  Term,
  Url,
  WorkerMode,
  WriteCondition,
} from "./primitives.ts";

const FileAttributes = {
  contentType: Type.String({ maxLength: 255 }),
  /** Hex SHA-256 of the content, when the client asked for one or sent one. */
  sha256: Nullable(Type.String({ pattern: "^[0-9a-f]{64}$" })),
  /**
   * The client's metadata and the standard headers that come back with the file, as `rules/file-headers.ts` lays them
   * out.
   */
  userMetadata: Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 2048 })),
};

/** Opens a client's session: the log index of this command becomes the session id, which is never reused. */
export const OpenSession = Type.Object({ type: Type.Literal("OPEN_SESSION"), clientId: NodeId });

/**
 * Hands a gateway the chunk ids `[first, first + count)`, placed ahead of need. Until the grant ends, chunks with these
 * ids belong to an upload under way and are not garbage.
 */
export const GrantChunks = Type.Object({
  type: Type.Literal("GRANT_CHUNKS"),
  gatewayId: NodeId,
  count: Type.Integer({ minimum: 1, maximum: 1024 }),
  leaseMs: Milliseconds,
  decision: PlacementDecision,
  /** The workers of its chunk, if it is for one. Older leaders leave it out. */
  chosen: Type.Optional(Type.Array(NodeId, { maxItems: 16 })),
});

/** Prolongs grants whose chunks are still being written. */
export const RenewGrants = Type.Object({
  type: Type.Literal("RENEW_GRANTS"),
  grantIds: BoundedList(ChunkId),
  leaseMs: Milliseconds,
});

/** Ends grants early, because the gateway has no more use for their ids. */
export const CloseGrants = Type.Object({ type: Type.Literal("CLOSE_GRANTS"), grantIds: BoundedList(ChunkId) });

/** What the leader knew when it took a tiny file: `decide` judges by it whether the metadata takes the bytes. */
const Room = Type.Object({
  /** That vote: as many copies there will be. */
  masters: Count,
  /** `tinyTotalBytes` of the leader's config.json. */
  totalBytes: ByteCount,
});

/**
 * Makes a whole file visible, or replaces one, in one step. Used for every file whose chunks fit one command. A tiny file
 * has no chunks: its bytes are in the command.
 */
export const PutFile = Type.Object({
  type: Type.Literal("PUT_FILE"),
  path: FilePath,
  chunks: BoundedList(StoredChunk),
  /** Sent from cluster version 4 on. */
  content: Type.Optional(Type.Uint8Array({ minByteLength: 1, maxByteLength: MAX_TINY_BYTES })),
  /** Put in by the leader, with `content`. */
  room: Type.Optional(Room),
  sizeBytes: ByteCount,
  crc32: Crc32,
  replicationFactor: Type.Integer({ minimum: 1, maximum: 16 }),
  minReplicas: Type.Integer({ minimum: 1, maximum: 16 }),
  condition: WriteCondition,
  ...FileAttributes,
});

/** Opens an upload that outlives connections: its chunks are staged as they are sealed, then committed together. */
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

/**
 * Adds sealed chunks at the end of an upload and prolongs its lease. Refused if `offset` is not where the upload
 * stands.
 */
export const StageChunks = Type.Object({
  type: Type.Literal("STAGE_CHUNKS"),
  uploadId: LogIndex,
  offset: ByteCount,
  chunks: BoundedList(StoredChunk),
  leaseMs: Milliseconds,
});

/** Makes an upload the file at its path, whole and in one step. */
export const CommitUpload = Type.Object({
  type: Type.Literal("COMMIT_UPLOAD"),
  uploadId: LogIndex,
  sizeBytes: ByteCount,
  /** null: the writer gave no checksum. */
  crc32: Nullable(Crc32),
  sha256: Nullable(Type.String({ pattern: "^[0-9a-f]{64}$" })),
});

/** Throws an upload away. */
export const AbortUpload = Type.Object({ type: Type.Literal("ABORT_UPLOAD"), uploadId: LogIndex });

/** Deletes a file or a directory in one step. */
export const DeletePath = Type.Object({
  type: Type.Literal("DELETE_PATH"),
  path: FilePath,
  recursive: Type.Boolean(),
  condition: WriteCondition,
});

/**
 * Moves a file or a whole directory in one step. With `overwrite` a file may replace a file; `condition` is on the
 * source.
 */
export const RenamePath = Type.Object({
  type: Type.Literal("RENAME_PATH"),
  from: FilePath,
  to: FilePath,
  overwrite: Type.Boolean(),
  condition: WriteCondition,
});

/** Gives the same chunks a second name: no byte moves. A directory may have up to 1000 entries. */
export const CopyPath = Type.Object({
  type: Type.Literal("COPY_PATH"),
  from: FilePath,
  to: FilePath,
  overwrite: Type.Boolean(),
  condition: WriteCondition,
});

/** Makes a directory, and the directories above it that are missing. */
export const MakeDirectory = Type.Object({ type: Type.Literal("MAKE_DIRECTORY"), path: FilePath });

/**
 * Records that a worker joined, moved, or came back with an empty disk (a new `incarnation`: its old copies are gone).
 */
export const RegisterWorker = Type.Object({
  type: Type.Literal("REGISTER_WORKER"),
  workerId: NodeId,
  url: Url,
  zone: Type.String({ maxLength: 64 }),
  incarnation: Type.String({ maxLength: 64 }),
  capacityBytes: ByteCount,
});

/** Records that the leader declared a worker live or dead. Heartbeats never enter the log, only these transitions. */
export const SetWorkerLiveness = Type.Object({
  type: Type.Literal("SET_WORKER_LIVENESS"),
  workerId: NodeId,
  liveness: Type.Union([Type.Literal("live"), Type.Literal("dead")]),
});

/** Records what an operator wants of a worker: active, draining, in maintenance, removed. */
export const SetWorkerMode = Type.Object({
  type: Type.Literal("SET_WORKER_MODE"),
  workerId: NodeId,
  mode: WorkerMode,
});

/** Records replicas that a repair made, or that a returned worker turned out to hold. */
export const AddReplicas = Type.Object({
  type: Type.Literal("ADD_REPLICAS"),
  replicas: BoundedList(Type.Object({ chunkId: ChunkId, workerId: NodeId, reason: Type.String({ maxLength: 200 }) })),
});

/**
 * Records that copies turned out to be bad: they no longer count. `corrupt` and `missing` say why, for people and for
 * repair.
 */
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
 * Takes an extra copy out of the metadata; only afterwards may the worker be ordered to trash it. `keep` names the
 * other copies that the leader of `term` has fresh proof of. `decide` counts them again and refuses if the chunk would
 * fall below its factor, or if the entry is of another term: the proof is worth nothing without the leader that has it.
 */
export const DropReplica = Type.Object({
  type: Type.Literal("DROP_REPLICA"),
  term: Term,
  chunkId: ChunkId,
  workerId: NodeId,
  keep: Type.Array(NodeId, { maxItems: 16 }),
});

/** Forgets freed chunks that their workers have trashed, or no longer hold. */
export const ForgetGarbage = Type.Object({
  type: Type.Literal("FORGET_GARBAGE"),
  items: BoundedList(Type.Object({ chunkId: ChunkId, workerId: NodeId })),
});

/** Ends, in bounded steps, everything that has run out by log time: grants, uploads, sessions, idempotency keys. */
export const Expire = Type.Object({ type: Type.Literal("EXPIRE"), sessionIdleMs: Milliseconds });

/** Frees, in bounded steps, the contents of directories that were deleted in one step. */
export const ReapDeleted = Type.Object({ type: Type.Literal("REAP_DELETED") });

/** Opens a leader's term, so that every entry before it is known to be applied. */
export const Noop = Type.Object({ type: Type.Literal("NOOP") });

/**
 * Raises the cluster version: all masters know its commands, so the log may hold them from here on. It is never
 * lowered.
 */
export const SetClusterVersion = Type.Object({
  type: Type.Literal("SET_CLUSTER_VERSION"),
  version: PositiveCount,
});

/**
 * Compares states: a master whose hash at the CHECK_STATE in entry `index` differs stops, the others note their present
 * hash.
 */
export const CheckState = Type.Object({
  type: Type.Literal("CHECK_STATE"),
  /** 0: no hash of a majority is known, so the masters only note their own. */
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

/** The commands that a gateway may send; the leader alone proposes the others. */
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

/** The outcome of a command. A refusal is a result too, and is stored and replayed like any other. */
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
