/** What the gateway answers, as the client hands it on. */
import type { ClusterStateAnswer } from "../../actors/messages/questions.ts";
import type { ContentHeaders } from "../../actors/rules/file-headers.ts";

/** A stored file, as a write or `stat` answers it, with the standard headers that it was stored with. */
export interface StoredFile extends ContentHeaders {
  path: string;
  /** bytes */
  size: number;
  /** With its quotes, as HTTP wants it. Another version has another one. */
  etag: string;
  /** 8 hex digits, of the whole content. */
  crc32: string;
  contentType: string;
  /** ISO 8601 */
  modified: string;
  meta: Record<string, string>;
  /** Number of chunks; a write answers it, `head` does not. */
  chunks?: number;
  replication?: number;
  /** hex, if the file was stored with it */
  sha256?: string | null;
  created?: string;
}

/** One line of a listing. Directories end in a slash and carry no size. */
export interface ListedEntry {
  path: string;
  kind: "file" | "directory";
  size?: number;
  etag?: string;
  modified?: string;
  contentType?: string;
  crc32?: string;
}

/** Why these workers: kept from the moment of the decision. */
export interface Decision {
  /** ISO 8601 */
  at: string;
  rule: string;
  /** The first workers of the chunk. Absent if many chunks were placed at once, and in old accounts. */
  chosen?: string[];
  /** The best that could take the chunk, then the best that could not; all of them in old accounts. */
  candidates: { worker: string; score: number; rejected?: string }[];
  /** Of all workers, by what was found. Absent in old accounts. */
  counts?: Record<string, number>;
}

export interface ExplainedChunk {
  /** 16 hex digits */
  id: string;
  index: number;
  offset: number;
  length: number;
  crc32: string;
  replicas: {
    worker: string;
    url: string;
    zone: string;
    /** good, missing, corrupt, stale or trash; good means as far as is known */
    state: string;
    workerState: string;
    /** ISO 8601: when the worker last read the copy back and found it right; null: never since it was written, or not known */
    verifiedAt: string | null;
    /** ISO 8601: when it was written there; null: not known. Absent from older gateways. */
    sealedAt?: string | null;
    reason: string | null;
  }[];
  /** null: it is not known any more; accounts are kept for 30 days. */
  decision: Decision | null;
  /** State of the repair under way, if any. */
  repair: string | null;
}

export interface Explanation {
  path: string;
  size: number;
  etag: string;
  replication: number;
  /** Of a tiny file, which lies in the metadata: the masters whose disks hold it. */
  masters?: string[];
  chunks: ExplainedChunk[];
  /** Where a new chunk would go at this moment. */
  now: Decision | null;
}

export interface Cluster extends Omit<ClusterStateAnswer, "repairs"> {
  repairs: (Omit<ClusterStateAnswer["repairs"][number], "chunkId"> & { chunkId: string })[];
  /** The gateway that answered. Its counters only grow. */
  gateway?: { id: string; bytesIn: number; bytesOut: number; uploads: unknown[]; downloads: unknown[] };
}

/** The masters, each by its own account; null where one did not answer. */
export interface MasterGroup {
  leader: string | null;
  term: number;
  masters: {
    id: string;
    url: string;
    /** voter, learner, removed, none (waits to be added) or unknown */
    member: string;
    role: string;
    term: number | null;
    leader: string | null;
    commitIndex: number | null;
    appliedIndex: number | null;
    lastIndex: number | null;
    lag: number | null;
    stateAgeMs: number | null;
  }[];
}
export type MastersOrder = { add: string; url: string } | { remove: string } | { transfer: string };

/** An upload that outlives connections. */
export interface OpenedUpload {
  id: string;
  /** Bytes the cluster keeps already. */
  offset: number;
}
