/**
 * What `decide` may ask of the metadata and what it may change, by name. A decision reads first, then returns its writes,
 * so a refusal has nothing to undo. How a store answers and obeys is the store's: `databases/metadata/` has one statement
 * for each name.
 */
import type { CommandResult } from "../../messages/commands.ts";
import type { NodeId, PlacementDecision, WorkerMode, WriteCondition } from "../../messages/primitives.ts";
import type { Scheme } from "../redundancy/scheme.ts";
import type {
  BuriedChunkRow,
  BuriedRow,
  ChunkRow,
  EntryRow,
  FileAttributes,
  FileChunkRow,
  GrantRow,
  KeyedOutcomeRow,
  OutcomeRow,
  ReplicaSetRow,
  SessionRow,
  TotalsRow,
  UploadRow,
  WorkerRow,
} from "./rows.ts";

/** Nothing is asked of a table that is read whole. */
type Everything = Record<string, never>;

/** Reads by name: what is asked for, and the rows that answer. Several rows come in a total order. */
export interface Reads {
  entry: [where: { parent: number; key: string }, row: EntryRow];
  anyChild: [where: { parent: number }, row: { key: string }];
  children: [where: { parent: number; limit: number }, row: EntryRow];
  fileChunks: [where: { fileId: number; limit: number }, row: FileChunkRow];
  chunk: [where: { chunkId: number }, row: ChunkRow];
  /** The grant with the highest id that is not above the chunk's: the chunk's own, if it has one. */
  grantOf: [where: { chunkId: number }, row: GrantRow];
  grant: [where: { grantId: number }, row: GrantRow];
  expiredGrants: [where: { logTime: number; limit: number }, row: GrantRow];
  /** Grants that ended, whose leases ran out at `before` or earlier, by rising time. */
  agedGrants: [where: { before: number; limit: number }, row: GrantRow];
  /** Among the last few accounts, one that says exactly this and was made at `since` or later. */
  sameAccount: [where: { decision: PlacementDecision; since: number }, row: { id: number }];
  /** Of the first `limit` accounts, those made at `before` or earlier, by rising id. */
  agedAccounts: [where: { before: number; limit: number }, row: { id: number }];
  anyChunkIn: [where: { first: number; last: number }, row: { id: number }];
  upload: [where: { uploadId: number }, row: UploadRow];
  expiredUploads: [where: { logTime: number; limit: number }, row: UploadRow];
  worker: [where: { workerId: string }, row: WorkerRow];
  workers: [where: Everything, row: WorkerRow];
  replicaSets: [where: Everything, row: ReplicaSetRow];
  replicaSet: [where: { setId: number }, row: ReplicaSetRow];
  garbage: [where: { workerId: string; chunkId: number }, row: { chunkId: number }];
  faults: [where: { chunkId: number }, row: { workerId: NodeId }];
  /** The first chunk of a file that lies on fewer workers than that. */
  shortChunk: [where: { fileId: number; minReplicas: number }, row: { id: number; workers: NodeId[] }];
  totals: [where: Everything, row: TotalsRow];
  session: [where: { sessionId: number }, row: SessionRow];
  outcome: [where: { sessionId: number; seq: number }, row: OutcomeRow];
  keyedOutcome: [where: { key: string }, row: KeyedOutcomeRow];
  idleSessions: [where: { before: number; limit: number }, row: { id: number }];
  mark: [where: Everything, row: { index: number; hash: number }];
  graveyard: [where: Everything, row: BuriedRow];
  /** Files at the beginning of the graveyard, before its first directory. */
  buriedFiles: [where: { limit: number }, row: BuriedRow];
  /** By file and offset. */
  chunksOfFiles: [where: { fileIds: readonly number[]; limit: number }, row: BuriedChunkRow];
}

/** A replica set, named by what it is. */
interface SetName {
  scheme: Scheme;
  /** Sorted, each once. */
  workers: readonly NodeId[];
}

/** Writes by name. */
export interface Writes {
  putEntry: EntryRow;
  moveEntry: { parent: number; key: string; fromParent: number; fromKey: string };
  dropEntry: { parent: number; key: string };
  /** Adds to the counts of files, directories and bytes. */
  addTotals: { files: number; directories: number; bytes: number };
  /** Adds to the bytes of tiny files. */
  addTinyBytes: { bytes: number };
  /** The state's hash knows the bytes by the CRC-32 in the file's entry. */
  putContent: { fileId: number; bytes: Uint8Array };
  copyContent: { fromFileId: number; toFileId: number };
  dropContent: { fileId: number };
  takeNodeIds: { count: number };
  takeChunkIds: { count: number };
  /** Makes a set of no chunks, if there is none. */
  growSet: SetName;
  /** Counts one chunk more in a set. */
  addToSet: SetName;
  /** Counts one chunk less. */
  shrinkSet: { setId: number };
  /** Counts so many less. */
  shrinkSetBy: { setId: number; count: number };
  renameSet: { setId: number; workers: readonly NodeId[] };
  dropEmptySets: Everything;
  /** A chunk that one file holds, in a set that is there. */
  putChunk: SetName & { id: number; lengthBytes: number; crc32: number };
  moveChunkToSet: SetName & { chunkId: number };
  dropChunk: { chunkId: number };
  dropChunks: { chunkIds: readonly number[] };
  dropFaultsOfChunks: { chunkIds: readonly number[] };
  dropReasonsOfChunks: { chunkIds: readonly number[] };
  addRef: { chunkId: number; delta: number };
  /** One more file holds each chunk of this one. */
  addRefs: { fileId: number };
  putFileChunk: { fileId: number; offset: number; index: number; chunkId: number };
  copyFileChunks: { fromFileId: number; toFileId: number };
  dropFileChunk: { fileId: number; offset: number };
  dropFileChunks: { fileIds: readonly number[] };
  putGrant: { id: number; count: number; gatewayId: string; expiresAt: number; decision: PlacementDecision };
  /** As `putGrant`, with an account that other grants may share. */
  putPlacedGrant: {
    id: number;
    count: number;
    gatewayId: string;
    expiresAt: number;
    accountId: number;
    /** None: many chunks were placed at once. */
    chosen: readonly NodeId[];
  };
  /** Why chunks were placed where they are. */
  putAccount: { id: number; madeAt: number; decision: PlacementDecision };
  dropAccount: { id: number };
  renewGrant: { grantId: number; expiresAt: number };
  closeGrant: { grantId: number };
  dropGrant: { grantId: number };
  putUpload: FileAttributes & {
    id: number;
    fileId: number;
    path: string;
    condition: WriteCondition;
    replicationFactor: number;
    minReplicas: number;
    chunkSizeBytes: number;
    expiresAt: number;
  };
  advanceUpload: { uploadId: number; offset: number; crc32: number; chunkCount: number; expiresAt: number };
  dropUpload: { uploadId: number };
  bury: BuriedRow;
  unbury: { id: number };
  unburyAll: { ids: readonly number[] };
  putWorker: WorkerRow;
  setLiveness: { workerId: string; liveness: "live" | "dead" };
  setMode: { workerId: string; mode: WorkerMode };
  dropGarbageOfWorker: { workerId: string };
  dropFaultsOfWorker: { workerId: string };
  putFault: { chunkId: number; workerId: string; state: "corrupt" | "missing"; since: number };
  dropFault: { chunkId: number; workerId: string };
  dropFaults: { chunkId: number };
  /** Of chunks in this range of ids that were never stored. */
  dropFaultsOfUnused: { first: number; last: number };
  putReason: { chunkId: number; workerId: string; reason: string };
  dropReasons: { chunkId: number };
  putGarbage: { workerId: string; chunkId: number; freedAt: number };
  /** Each chunk on each worker. */
  putGarbageOf: { workerIds: readonly NodeId[]; chunkIds: readonly number[]; freedAt: number };
  dropGarbage: { workerId: string; chunkId: number };
  dropGarbageOf: { workerId: string; chunkIds: readonly number[] };
  putSession: { id: number; clientId: string; lastActiveAt: number };
  touchSession: { sessionId: number; lastActiveAt: number; lowestSeq: number };
  dropSession: { sessionId: number };
  putOutcome: { sessionId: number; seq: number; result: CommandResult };
  dropOutcomes: { sessionId: number; belowSeq: number };
  putKeyedOutcome: { key: string; fingerprint: string; result: CommandResult; expiresAt: number };
  dropKeyedOutcomes: { logTime: number };
  setVersion: { version: number };
  setMark: { index: number; hash: number };
}

export type Read = { [K in keyof Reads]: readonly [name: K, where: Reads[K][0]] }[keyof Reads];
export type Write = { [K in keyof Writes]: readonly [name: K, what: Writes[K]] }[keyof Writes];

/** Workers as a set is named by them: sorted, each once. */
export const asSet = (workerIds: Iterable<NodeId>): NodeId[] => [...new Set(workerIds)].sort();
