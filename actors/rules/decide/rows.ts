/**
 * The rows of the metadata as decisions see them: plain objects, whatever the store that keeps them looks like inside.
 * Rows that were read are never changed; a decision changes the state by its writes (`state.ts`).
 */
import type { CommandResult } from "../../messages/commands.ts";
import type { NodeId, WorkerMode, WriteCondition } from "../../messages/primitives.ts";
import type { Scheme } from "../redundancy/scheme.ts";

/** What a client says of a file. */
export interface FileAttributes {
  contentType: string;
  sha256: string | null;
  userMetadata: Record<string, string>;
}

/** A name in a directory. `key` is the name; directories end in `/`, so keys sort as whole paths do. */
export interface EntryRow extends FileAttributes {
  parent: number;
  key: string;
  /** Of the directory or file; chunks and children refer to it, so a rename touches one row. */
  id: number;
  sizeBytes: number;
  crc32: number;
  etag: string;
  replicationFactor: number;
  chunkCount: number;
  createdAt: number;
  modifiedAt: number;
}

/** A committed or staged chunk with the replica set that it belongs to. */
export interface ChunkRow {
  id: number;
  lengthBytes: number;
  crc32: number;
  /** How many files share it. */
  refs: number;
  setId: number;
  scheme: Scheme;
  /** The workers of its set, sorted. */
  workers: NodeId[];
}

export interface FileChunkRow extends ChunkRow {
  fileId: number;
  index: number;
  offset: number;
}

/** All chunks that live on exactly these workers, counted: the cluster's redundancy in a handful of rows. */
export interface ReplicaSetRow {
  id: number;
  scheme: Scheme;
  /** Sorted, each once. */
  workers: NodeId[];
  chunkCount: number;
}

/** Chunk ids `id` to `id + count - 1`, leased to a gateway. */
export interface GrantRow {
  id: number;
  count: number;
  gatewayId: string;
  /** Log time, in ms. */
  expiresAt: number;
  /** False: kept only as the record of why its chunks were placed where they are. */
  isOpen: boolean;
}

export interface UploadRow extends FileAttributes {
  id: number;
  fileId: number;
  path: string;
  condition: WriteCondition;
  replicationFactor: number;
  minReplicas: number;
  chunkSizeBytes: number;
  offset: number;
  crc32: number;
  chunkCount: number;
  /** Log time, in ms. */
  expiresAt: number;
}

export interface WorkerRow {
  id: NodeId;
  url: string;
  zone: string;
  incarnation: string;
  capacityBytes: number;
  liveness: "live" | "dead";
  mode: WorkerMode;
  /** Its disk was wiped when chunk ids stood here: copies of lower ids that it acknowledged before are gone. */
  lostBelow: number;
}

export interface TotalsRow {
  files: number;
  directories: number;
  bytes: number;
  /** Of them, those of tiny files, which lie here. */
  tinyBytes: number;
  nextChunkId: number;
  nextNodeId: number;
}

export interface SessionRow {
  id: number;
  clientId: string;
  /** Commands below this number were acknowledged; their results are forgotten. */
  lowestSeq: number;
  /** Log time, in ms. */
  lastActiveAt: number;
}

/** What a command that may be sent again was answered the first time. */
export interface OutcomeRow {
  result: CommandResult;
}

export interface KeyedOutcomeRow extends OutcomeRow {
  fingerprint: string;
}

/** A chunk of a file that is gone. */
export interface BuriedChunkRow extends Pick<ChunkRow, "id" | "refs" | "setId"> {
  fileId: number;
  offset: number;
}

/** A name that is gone, with contents that are freed in slices. */
export interface BuriedRow {
  id: number;
  kind: "file" | "directory";
}
