/** What the gateway answers, as the client hands it on. */
import type { ClusterStateAnswer } from "../../actors/messages/master.ts";
import type { PlacementDecision } from "../../actors/messages/primitives.ts";

/** A stored file, as a write or `stat` answers it. */
export interface StoredFile {
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
  /** Number of chunks; a write tells it, `head` does not. */
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
    state: string;
    workerState?: string;
    reason?: string | null;
  }[];
  /** Why these workers: kept from the moment the chunk was placed. */
  decision: (Partial<PlacementDecision> & { rule: string }) | null;
  repair?: string | null;
}

export interface Explanation {
  path: string;
  size: number;
  etag: string;
  chunks: ExplainedChunk[];
}

export type Cluster = ClusterStateAnswer;

/** An upload that outlives connections. */
export interface OpenedUpload {
  id: string;
  /** Bytes the cluster keeps already. */
  offset: number;
}
