/** The cluster as its leader sees it, this gateway's own account, and what an operator may ask of a worker. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { WorkerMode } from "../../actors/messages/primitives.ts";
import { ClusterStateAnswer as ClusterStateSchema } from "../../actors/messages/questions.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import { askedBy } from "../http/access-log.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { describe, FROM_CHANGES, FROM_JSON, FROM_MASTERS, IDEMPOTENCY_KEY, NO_QUERY } from "../http/describe.ts";
import { readJson } from "../http/json-body.ts";
import { readQuery } from "../http/query.ts";
import { readIdempotencyKey } from "../http/request-headers.ts";
import { leaderView } from "./leader-view.ts";

const SetMode = Type.Object({ mode: WorkerMode }, { additionalProperties: false });

const Repair = Type.Object({
  ...Type.Omit(ClusterStateSchema.properties.repairs.items, ["chunkId"]).properties,
  chunkId: Type.String({ description: "16 hex digits" }),
});
const ClusterJson = Type.Object({
  ...ClusterStateSchema.properties,
  repairs: Type.Array(Repair),
  gateway: Type.Object({
    id: Type.String(),
    uploads: Type.Array(Type.Unknown(), { description: "under way, as the upload machine shows them" }),
    downloads: Type.Array(Type.Unknown()),
    avoidedWorkers: Type.Record(Type.String(), Type.String(), { description: "worker → what happened a moment ago" }),
  }),
});

export const clusterState = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS)
    .get(
      "/cluster",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        const { operations, transfers } = servicesFor(gateway, request);
        const state = await leaderView(operations);
        const activity = transfers.activity();
        return Response.json(
          {
            ...state,
            repairs: state.repairs.map((repair) => ({ ...repair, chunkId: formatChunkId(repair.chunkId) })),
            gateway: { id: gateway.id, ...activity },
          },
          { headers: { "cache-control": "no-store" } },
        );
      },
      {
        detail: describe({
          query: NO_QUERY,
          summary: "State of the cluster",
          description: "Masters, workers, redundancy computed from chunks, repairs under way, and the reasons for all.",
          tag: "cluster",
          responses: { 200: { description: "as the leader sees it", content: { "application/json": ClusterJson } } },
          errors: [...FROM_MASTERS],
        }),
      },
    )
    .post(
      "/cluster/workers/:id",
      async ({ params, request }) => {
        readQuery(request.url, NO_QUERY);
        const { operations } = servicesFor(gateway, request);
        const idempotencyKey = readIdempotencyKey(request.headers);
        const { mode } = await readJson(request, SetMode);
        const { workers } = await leaderView(operations);
        if (!workers.some(({ id }) => id === params.id))
          throw new Refusal("NO_SUCH_WORKER", `There is no worker "${params.id.slice(0, 80)}"`);
        await operations.setWorkerMode(params.id, mode, { idempotencyKey });
        gateway.log.info(
          { event: "worker-mode", ...askedBy(request), worker: params.id, mode },
          "an operator set a worker's mode",
        );
        return Response.json({ id: params.id, mode });
      },
      {
        parse: "none",
        detail: describe({
          query: NO_QUERY,
          summary: "Set what is wanted of a worker",
          description:
            "draining: serve, take nothing new, copies move away; maintenance: away on purpose, no repair; removed: gone for good; active: back.",
          tag: "cluster",
          path: { id: "id of the worker" },
          headers: IDEMPOTENCY_KEY,
          body: { "application/json": SetMode },
          responses: {
            200: {
              description: "accepted",
              content: { "application/json": Type.Object({ id: Type.String(), mode: WorkerMode }) },
            },
          },
          errors: ["NO_SUCH_WORKER", ...FROM_JSON, ...FROM_CHANGES],
        }),
      },
    );
