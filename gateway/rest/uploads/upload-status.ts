/** Says where an upload stands. */
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../../actors/node/mailbox.ts";
import type { Gateway } from "../context.ts";
import { describe, FROM_MASTERS, NO_QUERY } from "../describe.ts";
import { readQuery } from "../query.ts";
import { parseUploadId, UPLOAD_ID, UploadJson, uploadResponse } from "./upload-json.ts";

export const uploadStatus = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).get(
    "/uploads/:id",
    async ({ params, request }) => {
      readQuery(request.url, NO_QUERY);
      const { transfers } = gateway.data;
      const uploadId = parseUploadId(params.id);
      const isHead = request.method === "HEAD";
      return uploadResponse(await (isHead ? transfers.settleUpload(uploadId) : transfers.uploadStatus(uploadId)));
    },
    {
      detail: describe({
        query: NO_QUERY,
        summary: "Where an upload stands",
        description:
          "HEAD answers the same without a body, and first ends a request that is still appending: what came of it is kept.",
        tag: "uploads",
        path: UPLOAD_ID,
        responses: { 200: { description: "Upload-Offset and more", content: { "application/json": UploadJson } } },
        errors: ["NO_SUCH_UPLOAD", "UPLOAD_BUSY", ...FROM_MASTERS],
      }),
    },
  );
