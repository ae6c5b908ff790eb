/** What the records say: state at an instant, records of a span, machines, nodes, reports, causes, refusals. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { NO_QUERY } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";
import { answers, json, looking } from "./answers.ts";
import { MachineList, NodeStatus, RecordPage, RefusalList, Report, StateAt, Why } from "./api.ts";
import type { Console } from "./console.ts";

const Instant = (description: string) => Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000, description });
const StateQuery = Type.Object({ at: Type.Optional(Instant("ms since the epoch; default: now")) });
const RecordsQuery = Type.Object({
  from: Instant("ms since the epoch"),
  to: Instant("ms since the epoch"),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 5000, description: "1 to 5000; default 1000" })),
  machine: Type.Optional(Type.String({ maxLength: 64, description: "only records of this machine" })),
});
const WhyQuery = Type.Object({
  record: Type.String({ pattern: "^[a-z0-9-]{1,63}/\\d{1,15}/\\d{1,15}$", description: "node/boot/number" }),
});
const RefusalsQuery = Type.Object({
  minutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1440, description: "1 to 1440; default 60" })),
});

export function recordRoutes(console: Console | null) {
  /** A route without parameters. */
  const plain =
    (answer: (console: Console) => unknown) =>
    async ({ request }: { request: Request }): Promise<Response> => {
      readQuery(request.url, NO_QUERY);
      return json(answer(await looking(console)));
    };
  return new Elysia(SERVER_OPTIONS)
    .get(
      "/state",
      async ({ request }) => {
        const { at = null } = readQuery(request.url, StateQuery);
        return json((await looking(console)).stateAt(at));
      },
      { detail: answers("Every actor and node at an instant", StateAt, StateQuery) },
    )
    .get(
      "/records",
      async ({ request }) => {
        const { from, to, limit = 1000, machine } = readQuery(request.url, RecordsQuery);
        return json((await looking(console)).records(from, to, limit, machine));
      },
      { detail: answers("Records of a span, in causal order", RecordPage, RecordsQuery) },
    )
    .get(
      "/machines",
      plain((all) => all.machines()),
      {
        detail: answers("State machines as they are drawn", MachineList, NO_QUERY),
      },
    )
    .get(
      "/nodes",
      plain((all) => all.nodes()),
      {
        detail: answers("Nodes, and whether they answer", Type.Array(NodeStatus), NO_QUERY),
      },
    )
    .get(
      "/reports",
      plain((all) => all.reports()),
      {
        detail: answers("Losses of leaders and workers, taken apart", Type.Array(Report), NO_QUERY),
      },
    )
    .get(
      "/why",
      async ({ request }) => {
        const { record } = readQuery(request.url, WhyQuery);
        return json((await looking(console)).why(record));
      },
      { detail: answers("Why a record came about, and what it caused", Why, WhyQuery, ["NO_SUCH_RECORD"]) },
    )
    .get(
      "/refusals",
      async ({ request }) => {
        const { minutes = 60 } = readQuery(request.url, RefusalsQuery);
        return json((await looking(console)).refusals(minutes));
      },
      { detail: answers("What was refused or failed, with reasons", RefusalList, RefusalsQuery) },
    );
}
