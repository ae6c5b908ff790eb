/**
 * What `decide` may ask of the metadata and what it may change. It names reads and writes and never sees SQL:
 * `databases/metadata/sqlite-metadata.ts` holds a statement for each name. A decision reads first, then returns its writes, so a refusal
 * has nothing to undo.
 */
import type { CommandResult } from "../../messages/commands.ts";
import type { ErrorCode } from "../../messages/errors.ts";

/** A name in a directory. `key` is the name; directories end in `/`, so keys sort as whole paths do. */
export interface EntryRow {
  parent: number;
  key: string;
  /** Of the directory or file; chunks and children refer to it, so a rename touches one row. */
  id: number;
  size: number;
  crc32: number;
  etag: string;
  content_type: string;
  sha256: string | null;
  /** JSON of the user metadata. */
  meta: string;
  replication: number;
  chunk_count: number;
  created: number;
  modified: number;
}

/** A committed or staged chunk with the replica set that it belongs to. `workers` is comma-separated and sorted. */
export interface ChunkRow {
  id: number;
  length: number;
  crc32: number;
  /** How many files share it. */
  refs: number;
  set_id: number;
  target: number;
  workers: string;
}

export interface FileChunkRow extends ChunkRow {
  file_id: number;
  idx: number;
  offset: number;
}

/** All chunks that live on exactly these workers, counted: the cluster's redundancy in a handful of rows. */
export interface ReplicaSetRow {
  id: number;
  target: number;
  workers: string;
  chunk_count: number;
}

export interface GrantRow {
  id: number;
  count: number;
  gateway: string;
  expires: number;
  open: number;
}

export interface UploadRow {
  id: number;
  file_id: number;
  path: string;
  /** JSON of the write condition. */
  condition: string;
  /** JSON of content type, SHA-256 and user metadata. */
  attributes: string;
  replication: number;
  min_replicas: number;
  chunk_size: number;
  offset: number;
  crc32: number;
  chunk_count: number;
  expires: number;
}

export interface WorkerRow {
  id: string;
  url: string;
  zone: string;
  incarnation: string;
  capacity: number;
  liveness: "live" | "dead";
  mode: "active" | "draining" | "maintenance" | "removed";
  /** Its disk was wiped when chunk ids stood here: copies of lower ids that it acknowledged before are gone. */
  lost_below: number;
}

export interface TotalsRow {
  files: number;
  directories: number;
  bytes: number;
  next_chunk_id: number;
  next_node_id: number;
}

/** Reads by name: parameters and row. */
export interface Reads {
  entry: [params: [parent: number, key: string], row: EntryRow];
  anyChild: [params: [parent: number], row: { key: string }];
  children: [params: [parent: number, limit: number], row: EntryRow];
  fileChunks: [params: [fileId: number, limit: number], row: FileChunkRow];
  chunk: [params: [chunkId: number], row: ChunkRow];
  grantOf: [params: [chunkId: number], row: GrantRow];
  grant: [params: [grantId: number], row: GrantRow];
  expiredGrants: [params: [logTime: number, limit: number], row: GrantRow];
  anyChunkIn: [params: [first: number, last: number], row: { id: number }];
  upload: [params: [uploadId: number], row: UploadRow];
  expiredUploads: [params: [logTime: number, limit: number], row: UploadRow];
  worker: [params: [workerId: string], row: WorkerRow];
  workers: [params: [], row: WorkerRow];
  replicaSets: [params: [], row: ReplicaSetRow];
  garbage: [params: [workerId: string, chunkId: number], row: { chunk_id: number }];
  faults: [params: [chunkId: number], row: { worker_id: string }];
  /** The first chunk of a file that lies on fewer workers than that. */
  shortChunk: [params: [fileId: number, minReplicas: number], row: { id: number; workers: string }];
  totals: [params: [], row: TotalsRow];
  session: [params: [sessionId: number], row: { id: number; client: string; lowest: number; last_active: number }];
  outcome: [params: [sessionId: number, seq: number], row: { result: string }];
  keyedOutcome: [params: [key: string], row: { fingerprint: string; result: string }];
  idleSessions: [params: [before: number, limit: number], row: { id: number }];
  mark: [params: [], row: { idx: number; hash: number }];
  graveyard: [params: [], row: { id: number; kind: "file" | "directory" }];
}

/** Writes by name: parameters. */
export interface Writes {
  putEntry: [
    parent: number,
    key: string,
    id: number,
    size: number,
    crc32: number,
    etag: string,
    contentType: string,
    sha256: string | null,
    meta: string,
    replication: number,
    chunkCount: number,
    created: number,
    modified: number,
  ];
  moveEntry: [toParent: number, toKey: string, fromParent: number, fromKey: string];
  dropEntry: [parent: number, key: string];
  /** Adds to the counts of files, directories and bytes. */
  addTotals: [files: number, directories: number, bytes: number];
  takeNodeIds: [count: number];
  takeChunkIds: [count: number];
  growSet: [target: number, workers: string, target2: number, workers2: string];
  addToSet: [target: number, workers: string];
  shrinkSet: [setId: number];
  renameSet: [workers: string, setId: number];
  dropEmptySets: [];
  putChunk: [id: number, length: number, crc32: number, target: number, workers: string];
  moveChunkToSet: [target: number, workers: string, chunkId: number];
  dropChunk: [chunkId: number];
  addRef: [delta: number, chunkId: number];
  addRefs: [fileId: number];
  putFileChunk: [fileId: number, offset: number, idx: number, chunkId: number];
  copyFileChunks: [toFileId: number, fromFileId: number];
  dropFileChunk: [fileId: number, offset: number];
  putGrant: [id: number, count: number, gateway: string, expires: number, decision: string];
  renewGrant: [expires: number, grantId: number];
  closeGrant: [grantId: number];
  dropGrant: [grantId: number];
  putUpload: [
    id: number,
    fileId: number,
    path: string,
    condition: string,
    attributes: string,
    replication: number,
    minReplicas: number,
    chunkSize: number,
    expires: number,
  ];
  advanceUpload: [offset: number, crc32: number, chunkCount: number, expires: number, uploadId: number];
  dropUpload: [uploadId: number];
  bury: [id: number, kind: "file" | "directory"];
  unbury: [id: number];
  putWorker: [
    id: string,
    url: string,
    zone: string,
    incarnation: string,
    capacity: number,
    liveness: string,
    mode: string,
    lostBelow: number,
  ];
  setLiveness: [liveness: string, workerId: string];
  setMode: [mode: string, workerId: string];
  dropGarbageOfWorker: [workerId: string];
  dropFaultsOfWorker: [workerId: string];
  putFault: [chunkId: number, workerId: string, state: string, since: number];
  dropFault: [chunkId: number, workerId: string];
  dropFaults: [chunkId: number];
  /** Of chunks in this range of ids that were never stored. */
  dropFaultsOfUnused: [first: number, last: number, first2: number, last2: number];
  putReason: [chunkId: number, workerId: string, reason: string];
  dropReasons: [chunkId: number];
  putGarbage: [workerId: string, chunkId: number, freedAt: number];
  dropGarbage: [workerId: string, chunkId: number];
  putSession: [id: number, client: string, lastActive: number];
  touchSession: [lastActive: number, lowest: number, sessionId: number];
  dropSession: [sessionId: number];
  putOutcome: [sessionId: number, seq: number, result: string];
  dropOutcomes: [sessionId: number, belowSeq: number];
  putKeyedOutcome: [key: string, fingerprint: string, result: string, expires: number];
  dropKeyedOutcomes: [logTime: number];
  setVersion: [version: number];
  setMark: [index: number, stateHash: number];
}

export type Read = { [K in keyof Reads]: readonly [K, ...Reads[K][0]] }[keyof Reads];
export type Write = { [K in keyof Writes]: readonly [K, ...Writes[K]] }[keyof Writes];

export interface Decision {
  result: CommandResult;
  writes: Write[];
}

/** The only circumstances that a decision knows: its place in the log. */
export interface Environment {
  index: number;
  term: number;
  /** ms; advances only under a leader. Leases end by it. */
  logTime: number;
  /** ms since the epoch as the leader's clock said; shown to people, never decided by. */
  wallTime: number;
  /** The cluster version in force here. Whatever is decided in another way than before, depends on it. */
  version: number;
  /** Of all decisions before this one. */
  stateHash: number;
}

/** What an entry says of itself; the rest of its environment is what was applied before it. */
export type EntryEnvironment = Omit<Environment, "version" | "stateHash">;

export type Deciding<T> = Generator<Read, T, unknown[]>;

/** Asks the state for rows. */
export function* read<K extends keyof Reads>(name: K, ...params: Reads[K][0]): Deciding<Reads[K][1][]> {
  return (yield [name, ...params] as unknown as Read) as Reads[K][1][];
}

/** Asks for at most one row. */
export function* readOne<K extends keyof Reads>(name: K, ...params: Reads[K][0]): Deciding<Reads[K][1] | undefined> {
  return (yield* read(name, ...params))[0];
}

export const accepted = (value: unknown, writes: Write[]): Decision => ({ result: { ok: true, value }, writes });

export const refused = (code: ErrorCode, message: string, details?: Record<string, unknown>): Decision => ({
  result: details ? { ok: false, code, message, details } : { ok: false, code, message },
  writes: [],
});

/** Thrown inside a decision to refuse from any depth; `decide` turns it into a result. */
export class RefusedCommand extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details?: Record<string, unknown>,
  ) {
    super(message);
  }
}

/** The log holds what this master cannot go along with. It must stop, and the others go on. */
export class CannotApply extends Error {
  override name = "CannotApply";
  constructor(
    readonly why: "unknownCommand" | "diverged",
    message: string,
  ) {
    super(message);
  }
}

export const splitWorkers = (workers: string): string[] => (workers === "" ? [] : workers.split(","));
export const joinWorkers = (workerIds: Iterable<string>): string => [...new Set(workerIds)].sort().join(",");
