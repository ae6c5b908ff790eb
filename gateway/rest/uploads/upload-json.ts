/** An upload as its URL names it and as every answer about it describes it. */
import { type Static, Type } from "@sinclair/typebox";
import { Refusal } from "../../../actors/messages/errors.ts";
import { formatCrc32 } from "../../../actors/rules/crc32.ts";
import type { UploadInfo } from "../../data-path-api.ts";

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

export function parseUploadId(text: string): number {
  const uploadId = Number(text);
  if (!/^[1-9]\d{0,15}$/.test(text) || !Number.isSafeInteger(uploadId))
    throw new Refusal("NO_SUCH_UPLOAD", `There is no upload "${text.slice(0, 40)}"`);
  return uploadId;
}
