/** Throws an upload away. */
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../../actors/node/mailbox.ts";
import { refuseConditions } from "../conditions.ts";
import type { Gateway } from "../context.ts";
import { describe, FROM_CHANGES, NO_QUERY } from "../describe.ts";
import { readQuery } from "../query.ts";
import { parseUploadId, SET_AT_OPENING, UPLOAD_ID } from "./upload-json.ts";

export const abortUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).delete(
    "/uploads/:id",
    async ({ params, request }) => {
      readQuery(request.url, NO_QUERY);
      refuseConditions(request.headers, SET_AT_OPENING);
      await gateway.data.transfers.abortUpload(parseUploadId(params.id));
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
        errors: ["NO_SUCH_UPLOAD", "UPLOAD_BUSY", ...FROM_CHANGES],
      }),
    },
  );
