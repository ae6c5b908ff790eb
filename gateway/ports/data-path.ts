/**
 * What the data path offers to the doors above it (REST, and later others): whole files in and out as streams of bytes,
 * and metadata as calls. Types only. Whatever is refused is thrown as a `Refusal` with its code.
 */
import type { DirectoryInfo, EntryInfo, FileInfo } from "../../actors/messages/commands.ts";
import type { ClusterStateAnswer, ExplainAnswer, ListAnswer } from "../../actors/messages/master.ts";
import type { WorkerMode, WriteCondition } from "../../actors/messages/primitives.ts";
import type { ChunkDescription } from "../../actors/messages/worker.ts";
import type { ContentHeaders } from "../../actors/rules/file-headers.ts";

export type { ClusterStateAnswer, DirectoryInfo, EntryInfo, ExplainAnswer, FileInfo, ListAnswer };
export type Bytes = Uint8Array<ArrayBuffer>;

/** What a client says about a file it writes. Left out = the default of config.json, or none. */
export interface FileRequest {
  /** Checked by `rules/path.ts` already. */
  path: string;
  contentType?: string;
  contentHeaders?: ContentHeaders;
  userMetadata?: ReadonlyMap<string, string>;
  condition?: WriteCondition;
  replicationFactor?: number;
  /** Rounded up to whole blocks. */
  chunkSizeBytes?: number;
  /** The end client's own key: the same key and the same request have one effect and one answer. */
  idempotencyKey?: string;
}

/** Digests of a whole body that can be checked while it passes, named as `Bun.CryptoHasher` names them. */
export type HashName = "md5" | "sha1" | "sha256" | "sha512";

export interface PutRequest extends FileRequest {
  /** Its pieces are taken over: the buffer of one that fills its buffer is freed once it has been read. */
  body: ReadableStream<Uint8Array> | null;
  /** Content-Length if there was one: a body that ends earlier is BODY_INCOMPLETE, a longer one INVALID_BODY. */
  lengthBytes?: number;
  /** Compute SHA-256 and keep it with the file. */
  wantSha256?: boolean;
  /** Hex by algorithm; computed and compared: DIGEST_MISMATCH, and nothing is stored. SHA-256 is kept. */
  expectedHashes?: ReadonlyMap<HashName, string>;
  /** Compared before the commit: DIGEST_MISMATCH, and nothing is stored. */
  expectedCrc32?: number;
  /** The client has gone: stop, and leave nothing. */
  signal?: AbortSignal;
}

export interface PutOutcome {
  file: FileInfo;
  /** false: it replaced an older version. */
  created: boolean;
}

/** An upload that outlives connections. */
export interface UploadInfo {
  uploadId: number;
  path: string;
  /** Bytes kept so far; the next append starts here. */
  offset: number;
  /** CRC-32 of these bytes. */
  crc32: number;
  chunkCount: number;
  chunkSizeBytes: number;
  replicationFactor: number;
  expiresInMs: number;
  /** As the file will have them. Left out: the master that was asked is of an older program. */
  contentType?: string;
  userMetadata?: Record<string, string>;
}

export interface AppendOptions extends Pick<PutRequest, "lengthBytes" | "expectedHashes" | "expectedCrc32" | "signal"> {
  /** The upload may not grow beyond this: INVALID_BODY, and the chunk that would is not kept. */
  endOffset?: number;
}

/** Bytes `[start, endExclusive)` of a file. */
export interface ByteRange {
  start: number;
  endExclusive: number;
}

export interface StreamOptions {
  /**
   * Whoever pulls or cancels has no more use for the piece before: its memory is given back at once. Pulling says in any
   * case that it has been taken; until then it counts as held.
   */
  passing?: boolean;
  /** Closes the client's connection. Called when it takes nothing for long while others wait for memory. */
  cut?: () => void;
}

/** One version of one file, open for reading. */
export interface OpenFile {
  file: FileInfo;
  /** How old what is known of it may be; left out: not at all. */
  ageMs?: number;
  /**
   * The bytes `[start, endExclusive)`, every block of them checked. Pull it and it reads, cancel it and it stops. It
   * errors rather than deliver a wrong byte; after an error the connection must be cut. If the file was replaced and the
   * bytes of this version are gone, the error is a `VersionGone`; OVERLOADED if there was no memory for its first bytes.
   *
   * @throws OVERLOADED above limits.maxDownloads
   */
  stream(start: number, endExclusive: number, options?: StreamOptions): ReadableStream<Uint8Array>;
  /**
   * The same for several ranges, one after another; no piece holds bytes of two. A block that one range ends in and the
   * next begins in is read once.
   */
  streamRanges(ranges: readonly ByteRange[], options?: StreamOptions): ReadableStream<Uint8Array>;
}

/** One upload under way, as its `upload` machine shows it. */
export interface UploadActivity {
  id: string;
  path: string;
  /** State of the machine: opening, writing, sealing, committing, done, failed. */
  state: string;
  chunkIndex: number;
  bytes: number;
  lengthBytes: number | null;
  workers: string[];
  startedAt: number;
}

export interface DownloadActivity {
  path: string;
  start: number;
  endExclusive: number;
  bytes: number;
  startedAt: number;
}

/** For /metrics and /cluster. Counters only grow. */
export interface Activity {
  uploads: UploadActivity[];
  downloads: DownloadActivity[];
  bytesIn: number;
  bytesOut: number;
  uploadsDone: number;
  uploadsFailed: number;
  downloadsDone: number;
  downloadsFailed: number;
  /** Blocks read from another replica because the first was bad, slow or away. */
  readFailovers: number;
  /** Copies dropped from a chunk while it was written. */
  writeFailovers: number;
  /** Held by transfers: blocks, what is read ahead, what clients have not taken yet. */
  bufferBytesInUse: number;
  /** limits.bufferBytes; uploads may exceed it by one block each. */
  bufferBytesLimit: number;
  /** Workers that failed a moment ago and are avoided: id → what happened. */
  avoidedWorkers: Record<string, string>;
}

export interface Transfers {
  /** Stores a whole file: visible at once and whole, or not at all. OVERLOADED above limits.maxUploads. */
  put(request: PutRequest): Promise<PutOutcome>;
  openUpload(request: FileRequest): Promise<UploadInfo>;
  /** @throws NO_SUCH_UPLOAD */
  uploadStatus(uploadId: number): Promise<UploadInfo>;
  /** The same, but a request that is writing to it is ended first, and what came of it is kept. @throws UPLOAD_BUSY */
  settleUpload(uploadId: number): Promise<UploadInfo>;
  /**
   * Appends the body at `offset`. When the body breaks off or falls silent, what came is kept, and the answer says up to
   * where; the next append goes on from there. With digests the body is kept whole or not at all.
   *
   * A newer append to the upload, `settleUpload`, `completeUpload` or `abortUpload` ends an older append. What came of
   * that one is kept, unless the newer one begins where it began. Requests at two gateways do not know of each other:
   * of two that append at one offset, the one that stages its chunk first wins.
   *
   * @throws UPLOAD_OFFSET_MISMATCH with details.offset; UPLOAD_TAKEN_OVER, with details.offset if bytes were kept;
   *   UPLOAD_BUSY if the older request takes long to end; DIGEST_MISMATCH; PAYLOAD_TOO_LARGE if a body with digests has
   *   more chunks than one command holds
   */
  appendUpload(
    uploadId: number,
    offset: number,
    body: ReadableStream<Uint8Array> | null,
    options?: AppendOptions,
  ): Promise<UploadInfo>;
  /** Makes the file visible. @throws UPLOAD_OFFSET_MISMATCH unless exactly `sizeBytes` are there; DIGEST_MISMATCH; TOO_FEW_REPLICAS */
  completeUpload(
    uploadId: number,
    sizeBytes: number,
    options?: { expectedCrc32?: number; idempotencyKey?: string },
  ): Promise<PutOutcome>;
  abortUpload(uploadId: number): Promise<void>;
  /**
   * @param options.etag read this version only (PRECONDITION_FAILED if the file is another at the call)
   * @throws NO_SUCH_FILE, IS_A_DIRECTORY; OVERLOADED above limits.maxDownloads
   */
  openFile(path: string, options?: { etag?: string; consistency?: Consistency }): Promise<OpenFile>;
  /**
   * A worker's own account of its copy of a chunk, for ?explain. Waits a second at most.
   *
   * @throws NO_SUCH_CHUNK if it holds none; PEER_UNREACHABLE or TIMEOUT if it does not say
   */
  describeReplica(workerUrl: string, chunkId: number): Promise<ChunkDescription>;
  activity(): Activity;
}

export interface ChangeOptions {
  condition?: WriteCondition;
  idempotencyKey?: string;
}

/** `eventual`: from any master, as old as it says, up to `raft.maxStaleMs`. */
export type Consistency = "strong" | "eventual";

export interface ListPage {
  prefix: string;
  delimiter: boolean;
  /** The last name of the page before; "": the first page. */
  after: string;
  /** The index of the page before: this one reflects that index or a later one. */
  minIndex?: number;
  limit: number;
  consistency?: Consistency;
}

/** One master, by its own account; null where it did not answer. */
export interface MasterView {
  id: string;
  url: string;
  /** Of the group; `none`: waits to be added. */
  member: "voter" | "learner" | "removed" | "none" | "unknown";
  role: string;
  term: number | null;
  /** Whom it holds for the leader. */
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

/** Metadata, asked of the leader unless told otherwise. */
export interface Masters {
  /** null: nothing there. */
  stat(path: string): Promise<EntryInfo | null>;
  /** The same, with the age of the answer: 0 where the leader gave it. */
  look(path: string, consistency: Consistency): Promise<{ entry: EntryInfo | null; ageMs: number }>;
  list(page: ListPage): Promise<ListAnswer>;
  rename(
    from: string,
    to: string,
    options?: ChangeOptions & { overwrite?: boolean },
  ): Promise<{ entry: EntryInfo; replaced: boolean }>;
  copy(
    from: string,
    to: string,
    options?: ChangeOptions & { overwrite?: boolean },
  ): Promise<{ entry: EntryInfo; replaced: boolean }>;
  delete(path: string, options?: ChangeOptions & { recursive?: boolean }): Promise<{ entry: EntryInfo }>;
  makeDirectory(path: string, options?: { idempotencyKey?: string }): Promise<{ created: boolean }>;
  /** One page of at most 1000 chunks from `fromIndex`; `file` null: no such file. */
  explain(path: string, fromIndex: number, limit: number): Promise<ExplainAnswer>;
  clusterState(patience?: { budgetMs?: number }): Promise<ClusterStateAnswer>;
  /** Every master asked by itself: answers even while nobody leads. */
  view(): Promise<MastersView>;
  /** @throws MASTERS_UNCHANGED, NO_SUCH_MASTER */
  order(order: MastersOrder): Promise<MastersView>;
  /** The whole metadata as it is at some moment of the call, as `databases/metadata/backup.ts` describes it. */
  backup(signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  setWorkerMode(workerId: string, mode: WorkerMode, options?: { idempotencyKey?: string }): Promise<void>;
}

/** What `transfer/data-path.ts` builds from configuration and secret, and the gateway's server passes to its routes. */
export interface DataPath {
  transfers: Transfers;
  masters: Masters;
  /** true once a leader has answered; for /health/ready. */
  ready(): Promise<boolean>;
  /** Gives back unused grants and stops timers. Uploads under way are failed. */
  close(): Promise<void>;
}
