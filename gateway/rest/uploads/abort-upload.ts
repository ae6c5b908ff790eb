/** Throws an upload away. */
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../../actors/node/http/server-options.ts";
import { refuseConditions } from "../../http/conditions.ts";
import { type Gateway, servicesFor } from "../../http/context.ts";
import { describe, FROM_CHANGES, NO_QUERY } from "../../http/describe.ts";
import { readQuery } from "../../http/query.ts";
import type { Transfers } from "../../ports/transfers.ts";
import { inTus, speaksTus } from "./tus.ts";
import { parseUploadName, SET_AT_OPENING, TUS_RESUMABLE, UPLOAD_ID } from "./upload-json.ts";

export async function abort(transfers: Transfers, name: string): Promise<Response> {
  await transfers.abortUpload(parseUploadName(name).uploadId);
  return new Response(null, { status: 204 });
}

export const abortUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).delete(
    "/uploads/:id",
    async ({ params, request }) => {
      readQuery(request.url, NO_QUERY);
      refuseConditions(request.headers, SET_AT_OPENING);
      const { transfers } = servicesFor(gateway, request);
      return speaksTus(request) ? inTus(() => abort(transfers, params.id)) : abort(transfers, params.id);
    },
    {
      parse: "none",
      detail: describe({
        query: NO_QUERY,
        summary: "Abort an upload",
        tag: "uploads",
        path: UPLOAD_ID,
        headers: TUS_RESUMABLE,
        responses: { 204: { description: "thrown away" } },
        errors: ["NO_SUCH_UPLOAD", "UPLOAD_BUSY", "UNSUPPORTED_TUS_VERSION", ...FROM_CHANGES],
      }),
    },
  );
