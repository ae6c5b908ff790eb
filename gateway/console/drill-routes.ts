/** Drills: those that ran, and the start of one. */
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { describe, NO_QUERY } from "../http/describe.ts";
import { readJson } from "../http/json-body.ts";
import { readQuery } from "../http/query.ts";
import { answers, json, present } from "./answers.ts";
import { Drill, DrillList, DrillRequest } from "./api.ts";
import type { Console } from "./console.ts";

export const drillRoutes = (console: Console | null) =>
  new Elysia(SERVER_OPTIONS)
    .get(
      "/drills",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(await present(console).drills.list());
      },
      { detail: answers("Drills that ran, and whether more may", DrillList, NO_QUERY) },
    )
    .post(
      "/drills",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(await present(console).drills.start(await readJson(request, DrillRequest)), 202);
      },
      {
        parse: "none",
        detail: describe({
          summary: "Start a drill",
          description: "Kills, freezes, restarts, fills, damages or cuts off a node, and measures what that costs.",
          tag: "cluster",
          query: NO_QUERY,
          body: { "application/json": DrillRequest },
          responses: { 202: { description: "it is under way", content: { "application/json": Drill } } },
          errors: [
            "INVALID_BODY",
            "INVALID_PARAMETER",
            "BODY_INCOMPLETE",
            "PAYLOAD_TOO_LARGE",
            "UNSUPPORTED_MEDIA_TYPE",
            "NO_SUCH_NODE",
            "DRILLS_NOT_ALLOWED",
            "DRILL_UNDER_WAY",
            "NOT_RECORDING",
            "CROSS_SITE",
          ],
        }),
      },
    );
