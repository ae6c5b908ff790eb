/** How the console's routes answer, and what their descriptions share. */
import type { TSchema } from "@sinclair/typebox";
import { Refusal } from "../../actors/messages/errors.ts";
import { describe, type RouteDescription } from "../http/describe.ts";
import type { Console } from "./console.ts";

export const json = (value: unknown, status = 200): Response =>
  Response.json(value, { status, headers: { "cache-control": "no-store" } });

/** @throws NOT_RECORDING */
export function present(console: Console | null): Console {
  if (console) return console;
  throw new Refusal("NOT_RECORDING", "This gateway follows no records");
}

/** Somebody looks: what the nodes recorded is fetched first. @throws NOT_RECORDING */
export async function looking(console: Console | null): Promise<Console> {
  const known = present(console);
  await known.look();
  return known;
}

/** The description of a route that answers JSON from the records. */
export const answers = (
  summary: string,
  schema: TSchema,
  query: RouteDescription["query"],
  errors: RouteDescription["errors"] = [],
): ReturnType<typeof describe> =>
  describe({
    summary,
    tag: "cluster",
    query,
    responses: { 200: { description: "as `gateway/console/api.ts` says", content: { "application/json": schema } } },
    errors: ["INVALID_PARAMETER", ...errors, "NOT_RECORDING"],
  });
