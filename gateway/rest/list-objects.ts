/** ListObjects: names by prefix, in byte order, a page at a time. */
import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { describe, FROM_MASTERS } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";
import type { EntryInfo, ListPage } from "../ports/namespace.ts";
import { ConsistencyQuery, consistencyHeaders, withFreshness } from "./consistency.ts";
import { FileJson, fileJson } from "./file-json.ts";

const DirectoryJson = Type.Object({
  path: Type.String({ description: "with a slash at its end" }),
  kind: Type.Literal("directory"),
});
export const EntryJson = Type.Union([
  Type.Object({ ...FileJson.properties, kind: Type.Literal("file") }),
  DirectoryJson,
]);
export type EntryJson = Static<typeof EntryJson>;

const Page = Type.Object({
  entries: Type.Array(EntryJson),
  cursor: Type.Union([Type.String(), Type.Null()], { description: "of the next page; null: this was the last" }),
  index: Type.Integer({ description: "log index that this page reflects, all of it; never less than the page before" }),
});

const Query = Type.Object(
  {
    prefix: Type.Optional(Type.String({ maxLength: 4096, description: "names that start so, up to 4096 characters" })),
    delimiter: Type.Optional(Type.Literal("/", { description: "/ rolls up what lies deeper into directories" })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: "1 to 1000, default 100" })),
    cursor: Type.Optional(Type.String({ maxLength: 8192, description: "from the page before" })),
    ...ConsistencyQuery,
  },
  { additionalProperties: false },
);

export function entryJson(entry: EntryInfo): EntryJson {
  if (entry.kind === "file") return { ...fileJson(entry), kind: "file" };
  return { path: entry.path.endsWith("/") ? entry.path : `${entry.path}/`, kind: "directory" };
}

/** Where a page ended, and what it reflected: pages of one listing never go back in time. */
type PageEnd = Required<Pick<ListPage, "after" | "minIndex">>;

const toCursor = ({ after, minIndex }: PageEnd): string => Buffer.from(`${minIndex}:${after}`).toString("base64url");

function fromCursor(cursor: string, prefix: string): PageEnd {
  const [, index = "", after = ""] =
    /^([0-9]{1,15}):(.+)$/su.exec(Buffer.from(cursor, "base64url").toString("utf8")) ?? [];
  const end = { after, minIndex: Number(index) };
  if (after === "" || toCursor(end) !== cursor || !after.startsWith(prefix))
    throw new Refusal("INVALID_PARAMETER", "The cursor is not one that a page of this prefix gave", {
      parameter: "cursor",
    });
  return end;
}

export const listObjects = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).get(
    "/files",
    async ({ request }) => {
      const { prefix = "", delimiter, limit = 100, cursor, consistency } = readQuery(request.url, Query);
      const start = cursor === undefined ? { after: "" } : fromCursor(cursor, prefix);
      const page = await servicesFor(gateway, request)
        .namespace.list({ prefix, delimiter: delimiter !== undefined, ...start, limit, consistency })
        .catch((error) => {
          throw withFreshness(error, consistency);
        });
      return Response.json(
        {
          entries: page.entries.map(entryJson),
          cursor: page.next === null ? null : toCursor({ after: page.next, minIndex: page.index }),
          index: page.index,
        } satisfies Static<typeof Page>,
        { headers: consistencyHeaders(consistency, page.ageMs) },
      );
    },
    {
      detail: describe({
        query: Query,
        summary: "List names",
        description:
          "In byte order of whole paths. Each page is the state at one moment, its `index`, which never falls from page to page. A name that is there from the first page to the last is listed once; one that comes, goes or is renamed meanwhile is listed as its page found it.",
        tag: "files",
        responses: { 200: { description: "a page", content: { "application/json": Page } } },
        errors: ["INVALID_PARAMETER", ...FROM_MASTERS],
      }),
    },
  );
