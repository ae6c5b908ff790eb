/** Completes an upload: the file becomes visible. */

import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../../actors/node/http/server-options.ts";
import { refuseConditions } from "../../http/conditions.ts";
import { type Gateway, servicesFor } from "../../http/context.ts";
import { describe, FROM_CHANGES, FROM_JSON, IDEMPOTENCY_KEY, NO_QUERY } from "../../http/describe.ts";
import { parseCrc32 } from "../../http/digests.ts";
import { readJson } from "../../http/json-body.ts";
import { readQuery } from "../../http/query.ts";
import { readIdempotencyKey } from "../../http/request-headers.ts";
import type { Transfers } from "../../ports/transfers.ts";
import { FileJson, storedResponse } from "../file-json.ts";
import { abort } from "./abort-upload.ts";
import { appendInTus } from "./append-to-upload.ts";
import { inTus, speaksTus } from "./tus.ts";
import { parseUploadName, SET_AT_OPENING, TUS_RESUMABLE, UPLOAD_ID } from "./upload-json.ts";

const CompleteUpload = Type.Object(
  {
    size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: "bytes of the whole file" }),
    crc32: Type.Optional(Type.String({ pattern: "^[0-9a-fA-F]{8}$", description: "8 hex digits; checked" })),
  },
  { additionalProperties: false },
);

/** Some networks let no PATCH and no DELETE through: a tus client behind one sends a POST and says what it means. */
function overridden(transfers: Transfers, request: Request, name: string, method: string): Promise<Response> {
  if (method === "PATCH") return appendInTus(transfers, request, parseUploadName(name));
  refuseConditions(request.headers, SET_AT_OPENING);
  if (method === "DELETE") return abort(transfers, name);
  throw new Refusal("INVALID_HEADER", `X-HTTP-Method-Override is ${method.slice(0, 40)}; allowed: PATCH, DELETE`, {
    header: "X-HTTP-Method-Override",
  });
}

export const completeUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).post(
    "/uploads/:id",
    async ({ params, request }) => {
      const { transfers } = servicesFor(gateway, request);
      const meant = speaksTus(request) ? request.headers.get("x-http-method-override") : null;
      if (meant !== null) return inTus(() => overridden(transfers, request, params.id, meant));
      readQuery(request.url, NO_QUERY);
      refuseConditions(request.headers, SET_AT_OPENING);
      const { uploadId } = parseUploadName(params.id);
      const idempotencyKey = readIdempotencyKey(request.headers);
      const { size, crc32 } = await readJson(request, CompleteUpload);
      const expectedCrc32 = crc32 === undefined ? undefined : parseCrc32(crc32, "crc32");
      return storedResponse(await transfers.completeUpload(uploadId, size, { expectedCrc32, idempotencyKey }));
    },
    {
      parse: "none",
      detail: describe({
        query: NO_QUERY,
        summary: "Complete an upload",
        description:
          "The file becomes visible at once and whole. An upload in tus completes itself; there " +
          "X-HTTP-Method-Override makes a PATCH or a DELETE of a POST.",
        tag: "uploads",
        path: UPLOAD_ID,
        headers: { ...IDEMPOTENCY_KEY, ...TUS_RESUMABLE, "X-HTTP-Method-Override": "PATCH or DELETE, in tus" },
        body: { "application/json": CompleteUpload },
        responses: {
          201: { description: "created", content: { "application/json": FileJson } },
          200: { description: "replaced", content: { "application/json": FileJson } },
        },
        errors: [
          "NO_SUCH_UPLOAD",
          "UPLOAD_BUSY",
          "UNSUPPORTED_TUS_VERSION",
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
