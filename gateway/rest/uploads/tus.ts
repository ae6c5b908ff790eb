/**
 * tus 1.0, in which a client names the file's length when it opens an upload, and the upload is complete when the last
 * byte is there. Its requests carry `Tus-Resumable`; those that do not are of the form that /openapi describes.
 *
 * @see https://tus.io/protocols/resumable-upload
 */
import { Elysia } from "elysia";
import { Refusal } from "../../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../../actors/node/http/server-options.ts";
import { httpDate } from "../../http/conditions.ts";
import { describe, NO_QUERY } from "../../http/describe.ts";
import { RefusalWithHeaders } from "../../http/problem.ts";
import type { FileInfo } from "../../ports/namespace.ts";
import type { Transfers, UploadInfo } from "../../ports/transfers.ts";
import { CHECKSUM_ALGORITHMS } from "./upload-checksum.ts";
import { uploadMetadata } from "./upload-metadata.ts";

const VERSION = "1.0.0";
const MAX_BYTES = Number.MAX_SAFE_INTEGER;
export const TUS_BODY = "application/offset+octet-stream";
const SPOKEN = { "tus-resumable": VERSION };

/** @throws UNSUPPORTED_TUS_VERSION */
export function speaksTus({ headers }: Request): boolean {
  const version = headers.get("tus-resumable");
  if (version === null || version === VERSION) return version !== null;
  throw new RefusalWithHeaders(
    "UNSUPPORTED_TUS_VERSION",
    `Tus-Resumable is ${version.slice(0, 40)}; spoken: ${VERSION}`,
    { header: "Tus-Resumable" },
    { ...SPOKEN, "tus-version": VERSION },
  );
}

/** Answers in tus, refusals too. */
export async function inTus(answer: () => Promise<Response>): Promise<Response> {
  try {
    const response = await answer();
    response.headers.set("tus-resumable", VERSION);
    return response;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw RefusalWithHeaders.adding(error, SPOKEN);
  }
}

/** @throws INVALID_HEADER, PAYLOAD_TOO_LARGE */
export function readUploadLength(headers: Headers): number {
  const text = headers.get("upload-length");
  if (text === null || !/^\d+$/.test(text)) {
    const shown = text === null ? "missing, and cannot be given later" : text.slice(0, 40);
    throw new Refusal("INVALID_HEADER", `Upload-Length is ${shown}; allowed: a whole number`, {
      header: "Upload-Length",
    });
  }
  if (Number(text) > MAX_BYTES)
    throw new Refusal("PAYLOAD_TOO_LARGE", `Upload-Length is ${text.slice(0, 40)}; allowed: at most ${MAX_BYTES}`);
  return Number(text);
}

export const hasTusBody = (headers: Headers): boolean =>
  headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase() === TUS_BODY;

/** @throws UNSUPPORTED_MEDIA_TYPE */
export function requireTusBody(headers: Headers): void {
  if (!hasTusBody(headers))
    throw new Refusal(
      "UNSUPPORTED_MEDIA_TYPE",
      `Content-Type is ${headers.get("content-type")?.slice(0, 100) ?? "missing"}; allowed: ${TUS_BODY}`,
    );
}

/** @param lengthBytes null: the client gave no length when it opened the upload */
export function tusHeaders(upload: UploadInfo, lengthBytes: number | null): Record<string, string> {
  return {
    "upload-offset": String(upload.offset),
    "cache-control": "no-store",
    ...(lengthBytes === null ? { "upload-defer-length": "1" } : { "upload-length": String(lengthBytes) }),
    ...(upload.userMetadata ? { "upload-metadata": uploadMetadata(upload) } : {}),
    "upload-expires": httpDate(Date.now() + upload.expiresInMs),
  };
}

export const completedHeaders = (file: FileInfo): Record<string, string> => ({
  "upload-offset": String(file.sizeBytes),
  "upload-length": String(file.sizeBytes),
  "upload-metadata": uploadMetadata(file),
  "cache-control": "no-store",
});

/**
 * Makes the file of an upload whose bytes are all there. A client that missed the answer asks again and, for a day, gets the
 * same one. The key has a space, which no client's own key can have.
 *
 * @throws NO_SUCH_UPLOAD if it was aborted or has expired, and what the commit is refused with
 */
export async function complete(transfers: Transfers, uploadId: number, lengthBytes: number): Promise<FileInfo> {
  const idempotencyKey = `tus ${uploadId}`;
  return (await transfers.completeUpload(uploadId, lengthBytes, { idempotencyKey })).file;
}

const capabilities = () =>
  new Response(null, {
    status: 204,
    headers: {
      ...SPOKEN,
      "tus-version": VERSION,
      "tus-extension": "creation,creation-with-upload,termination,checksum,expiration",
      "tus-max-size": String(MAX_BYTES),
      "tus-checksum-algorithm": [...CHECKSUM_ALGORITHMS.keys()].join(","),
    },
  });

const options = (path: Record<string, string>) => ({
  detail: describe({
    query: NO_QUERY,
    summary: "What is spoken of tus",
    description: "Tus-Version, Tus-Extension, Tus-Max-Size and Tus-Checksum-Algorithm.",
    tag: "uploads",
    path,
    responses: { 204: { description: "in the headers" } },
    errors: [],
  }),
});

export const tusCapabilities = () =>
  new Elysia(SERVER_OPTIONS)
    .options("/uploads", capabilities, options({}))
    .options("/uploads/:id", capabilities, options({ id: "of any upload" }));
