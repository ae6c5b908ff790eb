/** The console's API: thin routes over `console.ts`. What they answer is described in `api.ts`. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { BINARY, describe, NO_QUERY } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";
import { answers, json, looking, present } from "./answers.ts";
import { About } from "./api.ts";
import type { Console } from "./console.ts";
import { drillRoutes } from "./drill-routes.ts";
import { eventStream } from "./event-stream.ts";
import { recordRoutes } from "./record-routes.ts";
import { recordingRoutes } from "./recording-routes.ts";

const StreamQuery = Type.Object({ after: Type.Optional(Type.String({ maxLength: 64, description: "a cursor" })) });

/** @param console null: nothing is recorded, and most routes answer NOT_RECORDING */
export const consoleRoutes = (console: Console | null) =>
  new Elysia({ name: "console", prefix: "/console/api", ...SERVER_OPTIONS })
    .get(
      "/about",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(await present(console).about());
      },
      { detail: answers("What the console shows, and what it may do", About, NO_QUERY) },
    )
    .get(
      "/stream",
      async ({ request }) => {
        const { after } = readQuery(request.url, StreamQuery);
        return eventStream(await looking(console), after ?? request.headers.get("last-event-id"), request.signal);
      },
      {
        detail: describe({
          summary: "Records as they come, as server-sent events",
          tag: "cluster",
          query: StreamQuery,
          responses: { 200: { description: "events", content: { "text/event-stream": BINARY } } },
          errors: ["INVALID_PARAMETER", "NOT_RECORDING"],
        }),
      },
    )
    .use(recordRoutes(console))
    .use(recordingRoutes(console))
    .use(drillRoutes(console));
