/** A file as JSON and as headers: the same facts wherever it is answered. */
import { type Static, Type } from "@sinclair/typebox";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import type { FileInfo, PutOutcome } from "../data-path-api.ts";
import { httpDate } from "./conditions.ts";
import { urlOfFile } from "./path.ts";
import { metadataHeaders, reprDigest } from "./request-headers.ts";

const IsoTime = Type.String({ format: "date-time" });
const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) => Type.Union([schema, Type.Null()]);

export const FileJson = Type.Object({
  path: Type.String(),
  size: Type.Integer({ description: "bytes" }),
  etag: Type.String({ description: "with its quotes, as in the ETag header" }),
  crc32: Type.String({ description: "of the whole content, 8 hex digits" }),
  chunks: Type.Integer(),
  sha256: Nullable(Type.String({ description: "hex; only if it was asked for or sent" })),
  contentType: Type.String(),
  replication: Type.Integer({ description: "copies of each chunk" }),
  created: IsoTime,
  modified: IsoTime,
  meta: Type.Record(Type.String(), Type.String()),
});
export type FileJson = Static<typeof FileJson>;

export const quoted = (etag: string): string => `"${etag}"`;
const iso = (ms: number): string => new Date(ms).toISOString();

export const fileJson = (file: FileInfo): FileJson => ({
  path: file.path,
  size: file.sizeBytes,
  etag: quoted(file.etag),
  crc32: formatCrc32(file.crc32),
  chunks: file.chunkCount,
  sha256: file.sha256,
  contentType: file.contentType,
  replication: file.replicationFactor,
  created: iso(file.createdAt),
  modified: iso(file.modifiedAt),
  meta: file.userMetadata,
});

/** The headers that describe this version of the file, whatever part of it is sent. */
export function fileHeaders(file: FileInfo): Headers {
  const headers = new Headers({
    etag: quoted(file.etag),
    "last-modified": httpDate(file.modifiedAt),
    "x-crc32": formatCrc32(file.crc32),
  });
  if (file.sha256 !== null) headers.set("repr-digest", reprDigest(file.sha256));
  for (const [name, value] of metadataHeaders(file.userMetadata)) headers.set(name, value);
  return headers;
}

/** The answer to a write: 201 for a new file, 200 for a new version. */
export function storedResponse({ file, created }: PutOutcome): Response {
  const headers = fileHeaders(file);
  if (created) headers.set("location", urlOfFile(file.path));
  return Response.json(fileJson(file), { status: created ? 201 : 200, headers });
}
