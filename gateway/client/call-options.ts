/** What a caller may say about one call. */
import type { ContentHeaders } from "../../actors/rules/file-headers.ts";

/** Bytes before and while they are sent. A stream can be sent once only, so a write from one is never repeated. */
export type Source = Uint8Array | string | Blob | ReadableStream<Uint8Array>;

/** Conditions under which a change may happen; the gateway checks them in the same instant. */
export interface Condition {
  /** Only if the file has one of these etags: `PRECONDITION_FAILED` otherwise. */
  ifMatch?: string;
  /** Only if nothing is there: `PRECONDITION_FAILED` otherwise. */
  createOnly?: boolean;
}

export interface CallOptions {
  signal?: AbortSignal;
  /** One effect per key; made afresh for each call unless given. */
  idempotencyKey?: string;
}

/** `contentEncoding`, `cacheControl` and their like: kept with the file and sent back with it. */
export interface PutOptions extends Condition, CallOptions, ContentHeaders {
  contentType?: string;
  /** Copies to keep; the cluster's own number otherwise. */
  replication?: number;
  /** bytes */
  chunkSize?: number;
  /** Kept with the file and given back with it. */
  meta?: Record<string, string>;
  /** Bytes sent so far. */
  onProgress?: (bytes: number) => void;
}
