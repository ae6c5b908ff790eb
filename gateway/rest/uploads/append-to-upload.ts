/** Appends bytes at an offset. */
import { Elysia } from "elysia";
import { Refusal } from "../../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../../actors/node/mailbox.ts";
import { refuseConditions } from "../conditions.ts";
import type { Gateway } from "../context.ts";
import { BINARY, describe, FROM_CHANGES, NO_QUERY } from "../describe.ts";
import { refuseDigests } from "../digests.ts";
import { readQuery } from "../query.ts";
import { readContentLength } from "../request-headers.ts";
import { parseUploadId, SET_AT_OPENING, UPLOAD_ID, UploadJson, uploadResponse } from "./upload-json.ts";

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

export const appendToUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).patch(
    "/uploads/:id",
    async ({ params, request }) => {
      readQuery(request.url, NO_QUERY);
      refuseConditions(request.headers, SET_AT_OPENING);
      const offset = readOffset(request.headers);
      const lengthBytes = readContentLength(request.headers);
      refuseDigests(request.headers, "Give the crc32 of the whole file when the upload is completed.");
      return uploadResponse(
        await gateway.data.transfers.appendUpload(parseUploadId(params.id), offset, request.body, { lengthBytes }),
      );
    },
    {
      parse: "none",
      detail: describe({
        query: NO_QUERY,
        summary: "Append bytes",
        description:
          "If the connection breaks or falls silent, what came is kept: ask where the upload stands, and go on from there. " +
          "A newer request to the upload ends an older one.",
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
          "UPLOAD_TAKEN_OVER",
          "GRANT_EXPIRED",
          "NOT_ENOUGH_WORKERS",
          "TOO_FEW_REPLICAS",
          "OVERLOADED",
          ...FROM_CHANGES,
        ],
      }),
    },
  );
