/** Uploads that outlive connections: open, append at an offset, complete or abort. */
import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/mailbox.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { CONTENT_HEADER_FIELDS } from "../../actors/rules/file-headers.ts";
import { checkPath } from "../../actors/rules/path.ts";
import type { UploadInfo } from "../data-path-api.ts";
import { refuseConditions } from "./conditions.ts";
import type { Gateway } from "./context.ts";
import { BINARY, describe, FROM_CHANGES, FROM_JSON, FROM_MASTERS, IDEMPOTENCY_KEY, NO_QUERY } from "./describe.ts";
import { parseCrc32, refuseDigests } from "./digests.ts";
import { readCondition, readStorageClass, StorageClass } from "./file-attributes.ts";
import { ContentHeaderFields, FileJson, storedResponse } from "./file-json.ts";
import { readJson } from "./json-body.ts";
import { readQuery } from "./query.ts";
import { checkFileHeaders, type FileHeaders, readContentLength, readIdempotencyKey } from "./request-headers.ts";

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

const CompleteUpload = Type.Object(
  {
    size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: "bytes of the whole file" }),
    crc32: Type.Optional(Type.String({ pattern: "^[0-9a-fA-F]{8}$", description: "8 hex digits; checked" })),
  },
  { additionalProperties: false },
);

const UploadJson = Type.Object({
  id: Type.String(),
  path: Type.String(),
  offset: Type.Integer({ description: "bytes kept; the next append starts here" }),
  crc32: Type.String({ description: "of these bytes" }),
  chunks: Type.Integer(),
  chunkSize: Type.Integer(),
  replication: Type.Integer(),
  expiresInMs: Type.Integer({ description: "without a sign of life the upload is thrown away after this" }),
});

const SET_AT_OPENING = "it is set when the upload is opened";
const UPLOAD_ID = { id: "from the answer that opened the upload" };

function uploadResponse(upload: UploadInfo, status = 200): Response {
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

/** What an order to open an upload says of the file. An empty standard header says nothing, as in a PUT. */
function saidIn(order: Static<typeof OpenUpload>): FileHeaders {
  const said = CONTENT_HEADER_FIELDS.flatMap(([field]) => (order[field] ? [[field, order[field]]] : []));
  return {
    contentType: order.contentType,
    contentHeaders: Object.fromEntries(said),
    userMetadata: new Map(Object.entries(order.meta ?? {})),
  };
}

function parseUploadId(text: string): number {
  const uploadId = Number(text);
  if (!/^[1-9]\d{0,15}$/.test(text) || !Number.isSafeInteger(uploadId))
    throw new Refusal("NO_SUCH_UPLOAD", `There is no upload "${text.slice(0, 40)}"`);
  return uploadId;
}

function readOffset(headers: Headers): number {
  const text = headers.get("upload-offset") ?? "";
  const offset = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(offset))
    throw new Refusal(
      "INVALID_HEADER",
      `Upload-Offset is ${text === "" ? "missing" : text.slice(0, 40)}; allowed: a whole number`,
      { header: "Upload-Offset" },
    );
  return offset;
}

export const resumableUpload = (gateway: Gateway) => {
  const { transfers } = gateway.data;
  return new Elysia(SERVER_OPTIONS)
    .post(
      "/uploads",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        const idempotencyKey = readIdempotencyKey(request.headers);
        const order = await readJson(request, OpenUpload);
        const path = checkPath(order.path);
        const storageClass = readStorageClass(order, gateway.config);
        const fileHeaders = checkFileHeaders(saidIn(order), gateway.config.limits.maxUserMetadataBytes);
        const condition = await readCondition(gateway, request.headers, path);
        const upload = await transfers.openUpload({
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
    )
    .get(
      "/uploads/:id",
      async ({ params, request }) => {
        readQuery(request.url, NO_QUERY);
        return uploadResponse(await transfers.uploadStatus(parseUploadId(params.id)));
      },
      {
        detail: describe({
          query: NO_QUERY,
          summary: "Where an upload stands",
          description: "HEAD answers the same without a body.",
          tag: "uploads",
          path: UPLOAD_ID,
          responses: { 200: { description: "Upload-Offset and more", content: { "application/json": UploadJson } } },
          errors: ["NO_SUCH_UPLOAD", ...FROM_MASTERS],
        }),
      },
    )
    .patch(
      "/uploads/:id",
      async ({ params, request }) => {
        readQuery(request.url, NO_QUERY);
        refuseConditions(request.headers, SET_AT_OPENING);
        const offset = readOffset(request.headers);
        const lengthBytes = readContentLength(request.headers);
        refuseDigests(request.headers, "Give the crc32 of the whole file when the upload is completed.");
        return uploadResponse(
          await transfers.appendUpload(parseUploadId(params.id), offset, request.body, { lengthBytes }),
        );
      },
      {
        parse: "none",
        detail: describe({
          query: NO_QUERY,
          summary: "Append bytes",
          description:
            "If the connection breaks, what came is kept: ask where the upload stands, and go on from there.",
          tag: "uploads",
          path: UPLOAD_ID,
          headers: { "Upload-Offset": "required: where these bytes start" },
          body: { "*/*": BINARY },
          responses: { 200: { description: "kept; Upload-Offset", content: { "application/json": UploadJson } } },
          errors: [
            "INVALID_HEADER",
            "BODY_INCOMPLETE",
            "NO_SUCH_UPLOAD",
            "UPLOAD_OFFSET_MISMATCH",
            "UPLOAD_BUSY",
            "GRANT_EXPIRED",
            "NOT_ENOUGH_WORKERS",
            "TOO_FEW_REPLICAS",
            "OVERLOADED",
            ...FROM_CHANGES,
          ],
        }),
      },
    )
    .post(
      "/uploads/:id",
      async ({ params, request }) => {
        readQuery(request.url, NO_QUERY);
        refuseConditions(request.headers, SET_AT_OPENING);
        const uploadId = parseUploadId(params.id);
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
    )
    .delete(
      "/uploads/:id",
      async ({ params, request }) => {
        readQuery(request.url, NO_QUERY);
        refuseConditions(request.headers, SET_AT_OPENING);
        await transfers.abortUpload(parseUploadId(params.id));
        return new Response(null, { status: 204 });
      },
      {
        parse: "none",
        detail: describe({
          query: NO_QUERY,
          summary: "Abort an upload",
          tag: "uploads",
          path: UPLOAD_ID,
          responses: { 204: { description: "thrown away" } },
          errors: ["NO_SUCH_UPLOAD", ...FROM_CHANGES],
        }),
      },
    );
};
