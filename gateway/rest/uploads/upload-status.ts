/** Says where an upload stands. */
import { Elysia } from "elysia";
import { Refusal } from "../../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../../actors/node/http/server-options.ts";
import { type Gateway, servicesFor } from "../../http/context.ts";
import { describe, FROM_MASTERS, NO_QUERY } from "../../http/describe.ts";
import { readQuery } from "../../http/query.ts";
import type { Transfers, UploadInfo } from "../../ports/transfers.ts";
import { complete, completedHeaders, inTus, speaksTus, tusHeaders } from "./tus.ts";
import {
  parseUploadName,
  TUS_RESUMABLE,
  UPLOAD_ID,
  UploadJson,
  type UploadName,
  uploadResponse,
} from "./upload-json.ts";

/** If the request with the last bytes was cut off, all bytes are there but no file: then the file is made now. */
async function statusInTus(transfers: Transfers, { uploadId, lengthBytes }: UploadName): Promise<Response> {
  const answer = (headers: Record<string, string>) => new Response(null, { status: 200, headers });
  let upload: UploadInfo;
  try {
    upload = await transfers.settleUpload(uploadId);
  } catch (error) {
    if (lengthBytes === null || !(error instanceof Refusal) || error.code !== "NO_SUCH_UPLOAD") throw error;
    return answer(completedHeaders(await complete(transfers, uploadId, lengthBytes)));
  }
  if (upload.offset === lengthBytes) return answer(completedHeaders(await complete(transfers, uploadId, lengthBytes)));
  return answer(tusHeaders(upload, lengthBytes));
}

export const uploadStatus = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).get(
    "/uploads/:id",
    async ({ params, request }) => {
      readQuery(request.url, NO_QUERY);
      const name = parseUploadName(params.id);
      const { transfers } = servicesFor(gateway, request);
      if (speaksTus(request)) return inTus(() => statusInTus(transfers, name));
      const { uploadId } = name;
      const isHead = request.method === "HEAD";
      return uploadResponse(await (isHead ? transfers.settleUpload(uploadId) : transfers.uploadStatus(uploadId)));
    },
    {
      detail: describe({
        query: NO_QUERY,
        summary: "Where an upload stands",
        description:
          "HEAD answers the same without a body, and first ends a request that is still appending: what came of it is kept. " +
          "In tus it is without a body and in headers: Upload-Offset, Upload-Length, Upload-Metadata, Upload-Expires.",
        tag: "uploads",
        path: UPLOAD_ID,
        headers: TUS_RESUMABLE,
        responses: { 200: { description: "Upload-Offset and more", content: { "application/json": UploadJson } } },
        errors: ["NO_SUCH_UPLOAD", "UPLOAD_BUSY", "UNSUPPORTED_TUS_VERSION", ...FROM_MASTERS],
      }),
    },
  );
