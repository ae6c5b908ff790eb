/** DeleteObject: a file, an empty directory, or with `?recursive=true` a whole directory. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { type Gateway, servicesFor } from "../http/context.ts";

import { describe, FILE_PATH, FROM_CHANGES, IDEMPOTENCY_KEY } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";
import { readIdempotencyKey } from "../http/request-headers.ts";
import type { Namespace } from "../ports/namespace.ts";
import { readCondition } from "./file-attributes.ts";
import { pathFromUrl } from "./path.ts";

const Query = Type.Object(
  {
    recursive: Type.Optional(
      Type.Union([Type.Literal("true"), Type.Literal("false")], { description: "true or false" }),
    ),
  },
  { additionalProperties: false },
);

export const deleteObject = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).delete(
    "/files/*",
    async ({ request }) => {
      const path = pathFromUrl(request.url);
      const query = readQuery(request.url, Query);
      const idempotencyKey = readIdempotencyKey(request.headers);
      const { namespace } = servicesFor(gateway, request);
      const condition = await readCondition(namespace, request.headers, path);
      if (condition?.ifNoneMatchAny) throw await nothingToDelete(namespace, path);
      await namespace.delete(path, { recursive: query.recursive === "true", condition, idempotencyKey });
      return new Response(null, { status: 204 });
    },
    {
      parse: "none",
      detail: describe({
        query: Query,
        summary: "Delete a file or a directory",
        description: "One step for a whole directory. The bytes stay in the workers' trash for a while.",
        tag: "files",
        path: FILE_PATH,
        headers: { "If-Match": "deletes only the version with this ETag", ...IDEMPOTENCY_KEY },
        responses: { 204: { description: "deleted" } },
        errors: [
          "INVALID_PATH",
          "INVALID_PARAMETER",
          "INVALID_HEADER",
          "NO_SUCH_FILE",
          "IS_A_DIRECTORY",
          "DIRECTORY_NOT_EMPTY",
          "PRECONDITION_FAILED",
          ...FROM_CHANGES,
        ],
      }),
    },
  );

/** A delete with `If-None-Match: *` cannot succeed: an entry is there, or there is nothing to delete. */
async function nothingToDelete(namespace: Namespace, path: string): Promise<Refusal> {
  const entry = await namespace.stat(path);
  if (entry) return new Refusal("PRECONDITION_FAILED", `"${path}" exists`, { path, kind: entry.kind });
  return new Refusal("NO_SUCH_FILE", `There is no file "${path}"`, { path });
}
