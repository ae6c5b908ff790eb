/** An upload as its URL names it and as every answer about it describes it. */
import { type Static, Type } from "@sinclair/typebox";
import { Refusal } from "../../../actors/messages/errors.ts";
import { formatCrc32 } from "../../../actors/rules/crc32.ts";
import type { UploadInfo } from "../../ports/transfers.ts";

export const UploadJson = Type.Object({
  id: Type.String(),
  path: Type.String(),
  offset: Type.Integer({ description: "bytes kept; the next append starts here" }),
  crc32: Type.String({ description: "of these bytes" }),
  chunks: Type.Integer(),
  chunkSize: Type.Integer(),
  replication: Type.Integer(),
  expiresInMs: Type.Integer({ description: "without a sign of life the upload is thrown away after this" }),
});

export const SET_AT_OPENING = "it is set when the upload is opened";
export const UPLOAD_ID = { id: "from the answer that opened the upload" };

export const TUS_RESUMABLE = { "Tus-Resumable": "1.0.0, of clients that speak tus" };

export function uploadResponse(upload: UploadInfo, status = 200): Response {
  const id = String(upload.uploadId);
  const json: Static<typeof UploadJson> = {
    id,
    path: upload.path,
    offset: upload.offset,
    crc32: formatCrc32(upload.crc32),
    chunks: upload.chunkCount,
    chunkSize: upload.chunkSizeBytes,
    replication: upload.replicationFactor,
    expiresInMs: upload.expiresInMs,
  };
  return Response.json(json, {
    status,
    headers: {
      "upload-offset": String(upload.offset),
      "cache-control": "no-store",
      ...(status === 201 ? { location: `/uploads/${id}` } : {}),
    },
  });
}

/** What the URL of an upload says. An upload that was opened in tus has its length in its URL, so that any gateway knows it. */
export interface UploadName {
  uploadId: number;
  /** null: the client gave no length when it opened the upload. */
  lengthBytes: number | null;
}

export const uploadUrl = (uploadId: number, lengthBytes: number): string => `/uploads/${uploadId}-${lengthBytes}`;

/** @throws NO_SUCH_UPLOAD */
export function parseUploadName(text: string): UploadName {
  const [, id, length] = /^([1-9]\d{0,15})(?:-(0|[1-9]\d{0,15}))?$/.exec(text) ?? [];
  const uploadId = Number(id);
  const lengthBytes = length === undefined ? null : Number(length);
  if (!Number.isSafeInteger(uploadId) || !Number.isSafeInteger(lengthBytes ?? 0))
    throw new Refusal("NO_SUCH_UPLOAD", `There is no upload "${text.slice(0, 40)}"`);
  return { uploadId, lengthBytes };
}
