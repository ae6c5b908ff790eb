/** Rename, copy and mkdir: changes of names that move no byte. */
import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { urlOfFile } from "../../actors/rules/file-url.ts";
import { checkPath } from "../../actors/rules/path.ts";
import { refuseConditions } from "../http/conditions.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { describe, FILE_PATH, FROM_CHANGES, FROM_JSON, IDEMPOTENCY_KEY, NO_QUERY } from "../http/describe.ts";
import { readJson } from "../http/json-body.ts";
import { readQuery } from "../http/query.ts";
import { readIdempotencyKey } from "../http/request-headers.ts";
import { readCondition } from "./file-attributes.ts";
import { EntryJson, entryJson } from "./list-objects.ts";
import { pathFromUrl } from "./path.ts";

const Move = Type.Object(
  {
    rename: Type.Optional(Type.String({ description: "new path, not percent-encoded" })),
    copy: Type.Optional(Type.String({ description: "path of the copy, not percent-encoded" })),
    mkdir: Type.Optional(Type.Literal(true, { description: "make a directory; its parents come by themselves" })),
    overwrite: Type.Optional(Type.Boolean({ description: "an existing file at the new path may be replaced" })),
  },
  { additionalProperties: false, description: "exactly one of rename, copy and mkdir" },
);

export const moveObject = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).post(
    "/files/*",
    async ({ request }) => {
      const { namespace } = servicesFor(gateway, request);
      const path = pathFromUrl(request.url);
      readQuery(request.url, NO_QUERY);
      const idempotencyKey = readIdempotencyKey(request.headers);
      const order = await readJson(request, Move);
      checkOneVerb(order);
      if (request.headers.has("if-none-match"))
        throw new Refusal(
          "INVALID_HEADER",
          'If-None-Match has no meaning here; "overwrite" says what may be replaced',
          {
            header: "If-None-Match",
          },
        );
      if (order.mkdir) {
        refuseConditions(request.headers, "a directory has no versions");
        const { created } = await namespace.makeDirectory(path, { idempotencyKey });
        return Response.json(
          { path: `${path}/`, kind: "directory" },
          { status: created ? 201 : 200, ...(created ? { headers: { location: urlOfFile(path) } } : {}) },
        );
      }
      const to = checkPath((order.rename ?? order.copy) as string);
      const options = {
        overwrite: order.overwrite ?? false,
        condition: await readCondition(namespace, request.headers, path),
        idempotencyKey,
      };
      const { entry, replaced } =
        order.rename === undefined
          ? await namespace.copy(path, to, options)
          : await namespace.rename(path, to, options);
      return Response.json(
        { ...entryJson(entry), replaced },
        { status: replaced || to === path ? 200 : 201, headers: { location: urlOfFile(to) } },
      );
    },
    {
      parse: "none",
      detail: describe({
        query: NO_QUERY,
        summary: "Rename or copy a file or directory, or make a directory",
        description:
          "Each is one atomic step. A copy shares the chunks of the original. A rename onto itself changes nothing and is 200; a copy onto itself is ALREADY_EXISTS, also with overwrite.",
        tag: "files",
        path: FILE_PATH,
        headers: { "If-Match": "only this version of the file at {path}", ...IDEMPOTENCY_KEY },
        body: { "application/json": Move },
        responses: {
          201: { description: "done; nothing was replaced", content: { "application/json": EntryJson } },
          200: {
            description: "done; it was there already, or replaced something",
            content: { "application/json": EntryJson },
          },
        },
        errors: [
          "INVALID_PATH",
          "NO_SUCH_FILE",
          "ALREADY_EXISTS",
          "IS_A_DIRECTORY",
          "NOT_A_DIRECTORY",
          "RENAME_INTO_ITSELF",
          "TOO_MANY_ENTRIES",
          "PRECONDITION_FAILED",
          ...FROM_JSON,
          ...FROM_CHANGES,
        ],
      }),
    },
  );

function checkOneVerb({ rename, copy, mkdir }: Static<typeof Move>): void {
  const verbs = [rename, copy, mkdir].filter((verb) => verb !== undefined).length;
  if (verbs !== 1)
    throw new Refusal("INVALID_BODY", `The body has ${verbs} of rename, copy and mkdir; allowed: exactly one`);
}
