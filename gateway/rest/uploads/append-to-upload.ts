/** Appends bytes at an offset. */
import { Elysia } from "elysia";
import { Refusal } from "../../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../../actors/node/http/server-options.ts";
import { refuseConditions } from "../../http/conditions.ts";
import { type Gateway, servicesFor } from "../../http/context.ts";
import { BINARY, describe, FROM_CHANGES, NO_QUERY } from "../../http/describe.ts";
import { refuseDigests } from "../../http/digests.ts";
import { readQuery } from "../../http/query.ts";
import { readContentLength } from "../../http/request-headers.ts";
import type { Transfers, UploadInfo } from "../../ports/transfers.ts";
import { complete, completedHeaders, inTus, requireTusBody, speaksTus, tusHeaders } from "./tus.ts";
import { asChecksumRefusal, readUploadChecksum } from "./upload-checksum.ts";
import {
  parseUploadName,
  SET_AT_OPENING,
  TUS_RESUMABLE,
  UPLOAD_ID,
  UploadJson,
  type UploadName,
  uploadResponse,
} from "./upload-json.ts";

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

async function append(
  transfers: Transfers,
  request: Request,
  { uploadId, lengthBytes }: UploadName,
): Promise<UploadInfo> {
  const { headers, body } = request;
  readQuery(request.url, NO_QUERY);
  refuseConditions(headers, SET_AT_OPENING);
  refuseDigests(headers, "Send Upload-Checksum, or give the crc32 of the whole file when the upload is completed.");
  const offset = readOffset(headers);
  const bodyBytes = readContentLength(headers);
  if (lengthBytes !== null && offset + (bodyBytes ?? 0) > lengthBytes)
    throw new Refusal("PAYLOAD_TOO_LARGE", `${bodyBytes} bytes at ${offset} go beyond the ${lengthBytes} announced`);
  const options = { lengthBytes: bodyBytes, endOffset: lengthBytes ?? undefined, ...readUploadChecksum(headers) };
  try {
    return await transfers.appendUpload(uploadId, offset, body, options);
  } catch (error) {
    throw asChecksumRefusal(error);
  }
}

/** The last byte completes the upload. */
export async function appendInTus(transfers: Transfers, request: Request, name: UploadName): Promise<Response> {
  requireTusBody(request.headers);
  const upload = await append(transfers, request, name);
  const isWhole = upload.offset === name.lengthBytes;
  const headers = isWhole
    ? completedHeaders(await complete(transfers, name.uploadId, upload.offset))
    : tusHeaders(upload, name.lengthBytes);
  return new Response(null, { status: 204, headers });
}

export const appendToUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).patch(
    "/uploads/:id",
    async ({ params, request }) => {
      const name = parseUploadName(params.id);
      const { transfers } = servicesFor(gateway, request);
      if (speaksTus(request)) return inTus(() => appendInTus(transfers, request, name));
      return uploadResponse(await append(transfers, request, name));
    },
    {
      parse: "none",
      detail: describe({
        query: NO_QUERY,
        summary: "Append bytes",
        description:
          "If the connection breaks or falls silent, what came is kept: ask where the upload stands, and go on from there. " +
          "A newer request to the upload ends an older one. In tus the body is application/offset+octet-stream.",
        tag: "uploads",
        path: UPLOAD_ID,
        headers: {
          "Upload-Offset": "required: where these bytes start",
          "Upload-Checksum":
            "sha1, sha256, sha512, md5 or crc32, a space, base64; checked: all of these bytes are kept, or none",
          ...TUS_RESUMABLE,
        },
        body: { "*/*": BINARY },
        responses: {
          200: { description: "kept; Upload-Offset", content: { "application/json": UploadJson } },
          204: { description: "the same in tus; if these were the last bytes, the file is there" },
        },
        errors: [
          "INVALID_HEADER",
          "BODY_INCOMPLETE",
          "NO_SUCH_UPLOAD",
          "UPLOAD_OFFSET_MISMATCH",
          "UPLOAD_BUSY",
          "UPLOAD_TAKEN_OVER",
          "UPLOAD_CHECKSUM_MISMATCH",
          "UNSUPPORTED_TUS_VERSION",
          "UNSUPPORTED_MEDIA_TYPE",
          "PAYLOAD_TOO_LARGE",
          "PRECONDITION_FAILED",
          "IS_A_DIRECTORY",
          "NOT_A_DIRECTORY",
          "INVALID_BODY",
          "GRANT_EXPIRED",
          "NOT_ENOUGH_WORKERS",
          "TOO_FEW_REPLICAS",
          "OVERLOADED",
          ...FROM_CHANGES,
        ],
      }),
    },
  );
