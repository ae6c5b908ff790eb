/** Opens an upload that outlives connections. */
import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { isOutcomeUnknown, Refusal } from "../../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../../actors/node/http/server-options.ts";
import { CONTENT_HEADER_FIELDS } from "../../../actors/rules/file-headers.ts";
import { checkPath } from "../../../actors/rules/path.ts";
import { type Gateway, servicesFor } from "../../http/context.ts";
import { BINARY, describe, FROM_CHANGES, FROM_JSON, IDEMPOTENCY_KEY, NO_QUERY } from "../../http/describe.ts";
import { refuseDigests } from "../../http/digests.ts";
import { readJson } from "../../http/json-body.ts";
import { readQuery } from "../../http/query.ts";
import {
  checkFileHeaders,
  type FileHeaders,
  readContentLength,
  readIdempotencyKey,
} from "../../http/request-headers.ts";
import { FileLayout, readCondition, readFileLayout } from "../file-attributes.ts";
import { ContentHeaderFields } from "../file-json.ts";
import {
  complete,
  completedHeaders,
  hasTusBody,
  inTus,
  readUploadLength,
  requireTusBody,
  speaksTus,
  TUS_BODY,
  tusHeaders,
} from "./tus.ts";
import { asChecksumRefusal, readUploadChecksum } from "./upload-checksum.ts";
import { TUS_RESUMABLE, UploadJson, uploadResponse, uploadUrl } from "./upload-json.ts";
import { readUploadMetadata } from "./upload-metadata.ts";

const OpenUpload = Type.Object(
  {
    path: Type.String({ description: "not percent-encoded" }),
    contentType: Type.Optional(Type.String({ description: "type/subtype" })),
    ...ContentHeaderFields,
    ...FileLayout,
    overwrite: Type.Optional(Type.Boolean({ description: "default true; false: only if nothing is there" })),
    meta: Type.Optional(Type.Record(Type.String(), Type.String(), { description: "user metadata" })),
  },
  { additionalProperties: false },
);

/** The headers of the file in an order to open an upload. An empty standard header counts as absent, as in a PUT. */
function saidIn(order: Static<typeof OpenUpload>): FileHeaders {
  const said = CONTENT_HEADER_FIELDS.flatMap(([field]) => (order[field] ? [[field, order[field]]] : []));
  return {
    contentType: order.contentType,
    contentHeaders: Object.fromEntries(said),
    userMetadata: new Map(Object.entries(order.meta ?? {})),
  };
}

/** Opens an upload and takes its first bytes, if the request brings some. If they are all, the file is made at once. */
async function openInTus(gateway: Gateway, request: Request): Promise<Response> {
  const { namespace, transfers } = servicesFor(gateway, request);
  const { headers } = request;
  const lengthBytes = readUploadLength(headers);
  const { path, ...fileHeaders } = readUploadMetadata(headers, gateway.config.limits.maxUserMetadataBytes);
  const bringsBytes = hasTusBody(headers);
  if (!bringsBytes && (readContentLength(headers) ?? 0) > 0) requireTusBody(headers);
  const checksum = readUploadChecksum(headers);
  const bodyBytes = readContentLength(headers);
  refuseDigests(headers, "Send Upload-Checksum.");
  if ((bodyBytes ?? 0) > lengthBytes)
    throw new Refusal("PAYLOAD_TOO_LARGE", `${bodyBytes} bytes go beyond the ${lengthBytes} of Upload-Length`);
  const condition = await readCondition(namespace, headers, path);
  const idempotencyKey = readIdempotencyKey(headers);
  const opened = await transfers.openUpload({ path, ...fileHeaders, condition, idempotencyKey });
  const { uploadId } = opened;
  try {
    const options = { lengthBytes: bodyBytes, endOffset: lengthBytes, ...checksum };
    const upload = bringsBytes ? await transfers.appendUpload(uploadId, 0, request.body, options) : opened;
    const isWhole = upload.offset === lengthBytes;
    const told = isWhole
      ? completedHeaders(await complete(transfers, uploadId, lengthBytes))
      : tusHeaders(upload, lengthBytes);
    return new Response(null, { status: 201, headers: { ...told, location: uploadUrl(uploadId, lengthBytes) } });
  } catch (error) {
    // The client does not know the upload's URL, so it cannot go on with it.
    if (!isOutcomeUnknown(error)) transfers.abortUpload(uploadId).catch(() => {});
    throw asChecksumRefusal(error);
  }
}

export const openUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).post(
    "/uploads",
    async ({ request }) => {
      readQuery(request.url, NO_QUERY);
      if (speaksTus(request)) return inTus(() => openInTus(gateway, request));
      const idempotencyKey = readIdempotencyKey(request.headers);
      const order = await readJson(request, OpenUpload);
      const path = checkPath(order.path);
      const layout = readFileLayout(order, gateway.config);
      const fileHeaders = checkFileHeaders(saidIn(order), gateway.config.limits.maxUserMetadataBytes);
      const { namespace, transfers } = servicesFor(gateway, request);
      const condition = await readCondition(namespace, request.headers, path);
      const upload = await transfers.openUpload({
        path,
        ...fileHeaders,
        ...layout,
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
          ...TUS_RESUMABLE,
          "Upload-Length": "in tus, required: bytes of the whole file",
          "Upload-Metadata":
            "in tus: path or filename, filetype, cacheControl and its like, and metadata, each a name and base64",
        },
        description: "In tus 1.0 with or without the first bytes; the file is there when its last byte is.",
        body: { "application/json": OpenUpload, [TUS_BODY]: BINARY },
        responses: {
          201: { description: "opened; Location. In tus without a body", content: { "application/json": UploadJson } },
        },
        errors: [
          "INVALID_PATH",
          "INVALID_PARAMETER",
          "METADATA_TOO_LARGE",
          "IS_A_DIRECTORY",
          "NOT_A_DIRECTORY",
          "PRECONDITION_FAILED",
          "UNSUPPORTED_TUS_VERSION",
          "UPLOAD_CHECKSUM_MISMATCH",
          "NOT_ENOUGH_WORKERS",
          "TOO_FEW_REPLICAS",
          "OVERLOADED",
          ...FROM_JSON,
          ...FROM_CHANGES,
        ],
      }),
    },
  );
