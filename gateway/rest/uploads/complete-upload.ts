/** Makes a file of an upload. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../../actors/node/mailbox.ts";
import { refuseConditions } from "../conditions.ts";
import type { Gateway } from "../context.ts";
import { describe, FROM_CHANGES, FROM_JSON, IDEMPOTENCY_KEY, NO_QUERY } from "../describe.ts";
import { parseCrc32 } from "../digests.ts";
import { FileJson, storedResponse } from "../file-json.ts";
import { readJson } from "../json-body.ts";
import { readQuery } from "../query.ts";
import { readIdempotencyKey } from "../request-headers.ts";
import { parseUploadId, SET_AT_OPENING, UPLOAD_ID } from "./upload-json.ts";

const CompleteUpload = Type.Object(
  {
    size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: "bytes of the whole file" }),
    crc32: Type.Optional(Type.String({ pattern: "^[0-9a-fA-F]{8}$", description: "8 hex digits; checked" })),
  },
  { additionalProperties: false },
);

export const completeUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).post(
    "/uploads/:id",
    async ({ params, request }) => {
      readQuery(request.url, NO_QUERY);
      refuseConditions(request.headers, SET_AT_OPENING);
      const uploadId = parseUploadId(params.id);
      const idempotencyKey = readIdempotencyKey(request.headers);
      const { size, crc32 } = await readJson(request, CompleteUpload);
      const expectedCrc32 = crc32 === undefined ? undefined : parseCrc32(crc32, "crc32");
      return storedResponse(
        await gateway.data.transfers.completeUpload(uploadId, size, { expectedCrc32, idempotencyKey }),
      );
    },
    {
      parse: "none",
      detail: describe({
        query: NO_QUERY,
        summary: "Complete an upload",
        description: "The file becomes visible at once and whole.",
        tag: "uploads",
        path: UPLOAD_ID,
        headers: IDEMPOTENCY_KEY,
        body: { "application/json": CompleteUpload },
        responses: {
          201: { description: "created", content: { "application/json": FileJson } },
          200: { description: "replaced", content: { "application/json": FileJson } },
        },
        errors: [
          "NO_SUCH_UPLOAD",
          "UPLOAD_BUSY",
          "UPLOAD_OFFSET_MISMATCH",
          "TOO_FEW_REPLICAS",
          "PRECONDITION_FAILED",
          "IS_A_DIRECTORY",
          "NOT_A_DIRECTORY",
          ...FROM_JSON,
          ...FROM_CHANGES,
        ],
      }),
    },
  );
