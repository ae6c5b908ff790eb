/**
 * Transfers of bytes, as the doors ask for them: whole files in and out as streams, and uploads that outlive
 * connections. Types only. A refusal is thrown as a `Refusal` with its code.
 */
import type { WriteCondition } from "../../actors/messages/primitives.ts";
import type { ContentHeaders } from "../../actors/rules/file-headers.ts";
import type { Consistency, FileInfo } from "./namespace.ts";

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
   * true: the buffer of the previous piece may be detached when the next is pulled, or when the stream is cancelled. A
   * piece counts as held until the next is pulled, in either case.
   */
  passing?: boolean;
  /** Closes the client's connection. Called when the client takes nothing for long while others wait for memory. */
  cut?: () => void;
}

/** One version of one file, open for reading. */
export interface OpenFile {
  file: FileInfo;
  /** How old what is known of it may be; left out: not at all. */
  ageMs?: number;
  /**
   * What `streamRanges` reads, whole, for ranges of few bytes: it costs less.
   *
   * @param signal the client has left: the reading ends, and what comes is of no use
   * @throws OVERLOADED above limits.maxDownloads; what the stream would error with
   */
  bytes(ranges: readonly ByteRange[], signal: AbortSignal): Promise<Bytes>;
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
  /** Name of the principal whose request it is. */
  by: string;
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
  /** Name of the principal whose request it is. */
  by: string;
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
  activity(): Activity;
}
