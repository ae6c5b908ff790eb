/** What a caller may say about one call. */
import type { ContentHeaders } from "../../actors/rules/file-headers.ts";

/** Bytes before and while they are sent. A stream can be sent once only, so a write from one is never repeated. */
export type Source = Uint8Array | string | Blob | ReadableStream<Uint8Array>;

/** Conditions under which a change may happen; the gateway checks them in the same instant. */
export interface Condition {
  /** Only if the file has this etag, quotes included: `PRECONDITION_FAILED` otherwise. @default any version, or none */
  ifMatch?: string;
  /** Only if nothing is there: `PRECONDITION_FAILED` otherwise. @default false */
  createOnly?: boolean;
}

export interface CallOptions {
  /** Ends the call: it throws ABORTED. A change may have taken effect all the same. */
  signal?: AbortSignal;
  /** 1 to 255 visible ASCII characters. The same key and the same call have one effect and one answer, for a day. @default a fresh one */
  idempotencyKey?: string;
}

/** `contentEncoding`, `cacheControl` and their like: kept with the file and sent back with it. */
export interface PutOptions extends Condition, CallOptions, ContentHeaders {
  /** @default the `type` of a Blob, else `application/octet-stream` */
  contentType?: string;
  /** Copies to keep of each chunk, 1 to 16. @default replicationFactor of config.json */
  replication?: number;
  /** Bytes at which the file is cut, a multiple of blockSizeBytes. @default chunkSizeBytes of config.json */
  chunkSize?: number;
  /** Kept with the file and given back with it; names in lower case. @default none */
  meta?: Record<string, string>;
  /** Called with the bytes sent so far, also after some have to be sent again. */
  onProgress?: (bytes: number) => void;
}
