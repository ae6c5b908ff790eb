/** Opens an upload that outlives connections. */
import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../../actors/node/mailbox.ts";
import { CONTENT_HEADER_FIELDS } from "../../../actors/rules/file-headers.ts";
import { checkPath } from "../../../actors/rules/path.ts";
import type { Gateway } from "../context.ts";
import { describe, FROM_CHANGES, FROM_JSON, IDEMPOTENCY_KEY, NO_QUERY } from "../describe.ts";
import { readCondition, readStorageClass, StorageClass } from "../file-attributes.ts";
import { ContentHeaderFields } from "../file-json.ts";
import { readJson } from "../json-body.ts";
import { readQuery } from "../query.ts";
import { checkFileHeaders, type FileHeaders, readIdempotencyKey } from "../request-headers.ts";
import { UploadJson, uploadResponse } from "./upload-json.ts";

const OpenUpload = Type.Object(
  {
    path: Type.String({ description: "not percent-encoded" }),
    contentType: Type.Optional(Type.String({ description: "type/subtype" })),
    ...ContentHeaderFields,
    ...StorageClass,
    overwrite: Type.Optional(Type.Boolean({ description: "default true; false: only if nothing is there" })),
    meta: Type.Optional(Type.Record(Type.String(), Type.String(), { description: "user metadata" })),
  },
  { additionalProperties: false },
);

/** What an order to open an upload says of the file. An empty standard header says nothing, as in a PUT. */
function saidIn(order: Static<typeof OpenUpload>): FileHeaders {
  const said = CONTENT_HEADER_FIELDS.flatMap(([field]) => (order[field] ? [[field, order[field]]] : []));
  return {
    contentType: order.contentType,
    contentHeaders: Object.fromEntries(said),
    userMetadata: new Map(Object.entries(order.meta ?? {})),
  };
}

export const openUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).post(
    "/uploads",
    async ({ request }) => {
      readQuery(request.url, NO_QUERY);
      const idempotencyKey = readIdempotencyKey(request.headers);
      const order = await readJson(request, OpenUpload);
      const path = checkPath(order.path);
      const storageClass = readStorageClass(order, gateway.config);
      const fileHeaders = checkFileHeaders(saidIn(order), gateway.config.limits.maxUserMetadataBytes);
      const condition = await readCondition(gateway, request.headers, path);
      const upload = await gateway.data.transfers.openUpload({
        path,
        ...fileHeaders,
        ...storageClass,
        condition: order.overwrite === false ? { ...condition, ifNoneMatchAny: true } : condition,
        idempotencyKey,
      });
      return uploadResponse(upload, 201);
    },
    {
      parse: "none",
      detail: describe({
        query: NO_QUERY,
        summary: "Open an upload that outlives connections",
        tag: "uploads",
        headers: {
          "If-Match": "see PUT /files/{path}",
          "If-None-Match": "* creates only",
          ...IDEMPOTENCY_KEY,
        },
        body: { "application/json": OpenUpload },
        responses: { 201: { description: "opened", content: { "application/json": UploadJson } } },
        errors: [
          "INVALID_PATH",
          "INVALID_PARAMETER",
          "METADATA_TOO_LARGE",
          "IS_A_DIRECTORY",
          "NOT_A_DIRECTORY",
          "PRECONDITION_FAILED",
          ...FROM_JSON,
          ...FROM_CHANGES,
        ],
      }),
    },
  );
