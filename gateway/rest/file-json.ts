/** A file as JSON and as headers: the same in every answer about it. */
import { type Static, Type } from "@sinclair/typebox";
import { Nullable } from "../../actors/messages/primitives.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import {
  CONTENT_HEADERS,
  type ContentHeaders,
  headerName,
  headerValue,
  META_PREFIX,
  saidHeaders,
} from "../../actors/rules/file-headers.ts";
import { urlOfFile } from "../../actors/rules/file-url.ts";
import { httpDate } from "../http/conditions.ts";
import { reprDigest } from "../http/digests.ts";
import type { FileInfo } from "../ports/namespace.ts";
import type { PutOutcome } from "../ports/transfers.ts";

export const IsoTime = Type.String({ format: "date-time" });

const Said = Type.Optional(Type.String({ description: "only if it was said" }));
/** The standard headers in JSON: as a file is described, and as an upload is opened. */
export const ContentHeaderFields = {
  cacheControl: Said,
  contentDisposition: Said,
  contentEncoding: Said,
  contentLanguage: Said,
  expires: Said,
} satisfies Record<keyof ContentHeaders, typeof Said>;

export const FileJson = Type.Object({
  path: Type.String(),
  size: Type.Integer({ description: "bytes" }),
  etag: Type.String({ description: "with its quotes, as in the ETag header" }),
  crc32: Type.String({ description: "of the whole content, 8 hex digits" }),
  chunks: Type.Integer(),
  sha256: Nullable(Type.String({ description: "hex; only if it was asked for or sent" })),
  contentType: Type.String(),
  ...ContentHeaderFields,
  replication: Type.Integer({ description: "copies of each chunk" }),
  created: IsoTime,
  modified: IsoTime,
  meta: Type.Record(Type.String(), Type.String()),
});
export type FileJson = Static<typeof FileJson>;

const quoted = (etag: string): string => `"${etag}"`;
const iso = (ms: number): string => new Date(ms).toISOString();

export function fileJson(file: FileInfo): FileJson {
  const { headers, metadata } = saidHeaders(file.userMetadata);
  return {
    path: file.path,
    size: file.sizeBytes,
    etag: quoted(file.etag),
    crc32: formatCrc32(file.crc32),
    chunks: file.chunkCount,
    sha256: file.sha256,
    contentType: file.contentType,
    ...headers,
    replication: file.replicationFactor,
    created: iso(file.createdAt),
    modified: iso(file.modifiedAt),
    meta: Object.fromEntries(metadata),
  };
}

/** Headers that identify this version of the file, and its metadata: on every answer about it. */
export function fileHeaders(file: FileInfo): Headers {
  const headers = new Headers({
    etag: quoted(file.etag),
    "last-modified": httpDate(file.modifiedAt),
    "x-crc32": formatCrc32(file.crc32),
  });
  if (file.sha256 !== null) headers.set("repr-digest", reprDigest(file.sha256));
  for (const [name, value] of saidHeaders(file.userMetadata).metadata)
    headers.set(`${META_PREFIX}${headerName(name)}`, headerValue(value));
  return headers;
}

/** The standard headers that the file was stored with: only for an answer that is its content. */
export const contentHeaders = (file: FileInfo): [name: string, value: string][] =>
  Object.entries(saidHeaders(file.userMetadata).headers).map(([field, value]) => [
    CONTENT_HEADERS[field as keyof ContentHeaders],
    headerValue(value),
  ]);

/** The answer to a write: 201 for a new file, 200 for a new version. */
export function storedResponse({ file, created }: PutOutcome): Response {
  const headers = fileHeaders(file);
  if (created) headers.set("location", urlOfFile(file.path));
  return Response.json(fileJson(file), { status: created ? 201 : 200, headers });
}
