/** PutObject: a whole file from the request's body, streamed. */
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import type { WriteCondition } from "../../actors/messages/primitives.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { BINARY, describe, FILE_PATH, FROM_CHANGES, IDEMPOTENCY_KEY } from "../http/describe.ts";
import { readDigests } from "../http/digests.ts";
import { readQuery } from "../http/query.ts";
import { readContentLength, readFileHeaders, readIdempotencyKey } from "../http/request-headers.ts";
import type { Namespace } from "../ports/namespace.ts";
import { FileLayoutQuery, readCondition, readFileLayout } from "./file-attributes.ts";
import { FileJson, storedResponse } from "./file-json.ts";
import { pathFromUrl } from "./path.ts";

/** Refuses before the body is read. A request with a key is let through: its own first success may be why the condition fails. */
async function refuseEarly(
  namespace: Namespace,
  path: string,
  condition: WriteCondition | undefined,
  idempotencyKey: string | undefined,
): Promise<void> {
  if (!condition || idempotencyKey !== undefined) return;
  const entry = await namespace.stat(path);
  if (condition.ifNoneMatchAny && entry)
    throw new Refusal("PRECONDITION_FAILED", `"${path}" exists`, { path, kind: entry.kind });
  if (condition.ifMatch && (entry?.kind !== "file" || !condition.ifMatch.includes(entry.etag)))
    throw new Refusal("PRECONDITION_FAILED", `"${path}" is not the version that If-Match names`, { path });
}

export const putObject = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).put(
    "/files/*",
    async ({ request }) => {
      const { headers } = request;
      const path = pathFromUrl(request.url);
      if (headers.has("content-range"))
        throw new Refusal("INVALID_HEADER", "A file is put whole, Content-Range has no meaning here", {
          header: "Content-Range",
          hint: "POST /uploads starts an upload in parts",
        });
      const layout = readFileLayout(readQuery(request.url, FileLayoutQuery), gateway.config);
      const idempotencyKey = readIdempotencyKey(headers);
      const { namespace, transfers } = servicesFor(gateway, request);
      const condition = await readCondition(namespace, headers, path);
      const put = {
        path,
        body: request.body,
        lengthBytes: readContentLength(headers),
        ...readFileHeaders(headers, gateway.config.limits.maxUserMetadataBytes),
        condition,
        ...layout,
        idempotencyKey,
        ...readDigests(headers),
        signal: request.signal,
      };
      await refuseEarly(namespace, path, condition, idempotencyKey);
      return storedResponse(await transfers.put(put));
    },
    {
      parse: "none",
      detail: describe({
        query: FileLayoutQuery,
        summary: "Create or replace a file",
        description: "The body is streamed, of any size. The file becomes visible at once and whole, or not at all.",
        tag: "files",
        path: FILE_PATH,
        headers: {
          "If-None-Match": "* creates only",
          "If-Match": 'replaces only the version with this ETag; "*": any, but there must be one',
          "Content-Type": "kept with the file; default application/octet-stream",
          "Content-Encoding":
            "comes back as it was sent; Content-Language, Content-Disposition, Cache-Control and Expires likewise",
          "x-meta-{name}": "user metadata, UTF-8, kept with the file",
          "x-crc32": "8 hex digits; checked",
          "Repr-Digest": "sha-256, sha-512, md5 or sha, as sha-256=:base64:; checked, sha-256 also kept",
          "Content-Digest": "as Repr-Digest",
          "Content-MD5": "base64; checked. Digest (sha-256=base64) likewise",
          "Want-Repr-Digest": "sha-256=1: compute and keep SHA-256",
          ...IDEMPOTENCY_KEY,
        },
        body: { "*/*": BINARY },
        responses: {
          201: { description: "created", content: { "application/json": FileJson } },
          200: { description: "replaced", content: { "application/json": FileJson } },
        },
        errors: [
          "INVALID_PATH",
          "INVALID_PARAMETER",
          "INVALID_HEADER",
          "INVALID_BODY",
          "BODY_INCOMPLETE",
          "DIGEST_MISMATCH",
          "METADATA_TOO_LARGE",
          "IS_A_DIRECTORY",
          "NOT_A_DIRECTORY",
          "PRECONDITION_FAILED",
          "NOT_ENOUGH_WORKERS",
          "TOO_FEW_REPLICAS",
          "OVERLOADED",
          "NO_SPACE",
          ...FROM_CHANGES,
        ],
      }),
    },
  );
