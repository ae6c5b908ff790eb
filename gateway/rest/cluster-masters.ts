/** The group of masters: how each of them is, by its own account, and what an operator may ask of the group. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { NodeId, Nullable, Url } from "../../actors/messages/primitives.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { askedBy } from "../http/access-log.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { BINARY, describe, FROM_CHANGES, FROM_JSON, FROM_MASTERS, NO_QUERY } from "../http/describe.ts";
import { readJson } from "../http/json-body.ts";
import { readQuery } from "../http/query.ts";

const closed = { additionalProperties: false };
const Order = Type.Union(
  [
    Type.Object({ add: NodeId, url: Url }, closed),
    Type.Object({ remove: NodeId }, closed),
    Type.Object({ transfer: NodeId }, closed),
  ],
  { description: '{"add": id, "url": "http://host:port"}, {"remove": id} or {"transfer": id}' },
);

const count = Nullable(Type.Integer());
const MastersJson = Type.Object({
  leader: Nullable(NodeId),
  term: Type.Integer(),
  masters: Type.Array(
    Type.Object({
      id: NodeId,
      url: Url,
      member: Type.String({ description: "voter, learner, removed, none (waits to be added) or unknown" }),
      role: Type.String({ description: "follower, precandidate, candidate, leader, founding; unknown: no answer" }),
      term: count,
      leader: Nullable(NodeId),
      commitIndex: count,
      appliedIndex: count,
      lastIndex: count,
      lag: count,
      stateAgeMs: count,
    }),
  ),
});
const answer = { description: "the masters", content: { "application/json": MastersJson } };

export const clusterMasters = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS)
    .get(
      "/cluster/masters",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return Response.json(await servicesFor(gateway, request).operations.viewMasters(), {
          headers: { "cache-control": "no-store" },
        });
      },
      {
        detail: describe({
          query: NO_QUERY,
          summary: "The masters, each by its own account",
          description: "Answers also while no master leads: every master is asked by itself.",
          tag: "cluster",
          responses: { 200: answer },
          errors: [],
        }),
      },
    )
    .post(
      "/cluster/masters",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        const order = await readJson(request, Order);
        const view = await servicesFor(gateway, request).operations.orderMasters(order);
        gateway.log.info(
          { event: "masters-order", ...askedBy(request), ...order },
          "an operator changed the group of masters",
        );
        return Response.json(view);
      },
      {
        parse: "none",
        detail: describe({
          query: NO_QUERY,
          summary: "Add or remove a master, or hand leadership over",
          description:
            "A master to be added is started with --join and an empty data directory; it learns first, and votes by itself once it has caught up. The id of a removed master is never taken again.",
          tag: "cluster",
          body: { "application/json": Order },
          responses: { 200: answer },
          errors: ["NO_SUCH_MASTER", "MASTERS_UNCHANGED", ...FROM_JSON, ...FROM_CHANGES],
        }),
      },
    )
    .get(
      "/cluster/backup",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        const body = await servicesFor(gateway, request).operations.backup(request.signal);
        return new Response(body, {
          headers: { "content-type": "application/octet-stream", "cache-control": "no-store" },
        });
      },
      {
        detail: describe({
          query: NO_QUERY,
          summary: "A backup of the metadata",
          description:
            "The metadata as it is at one moment, while the cluster works on: a manifest with log index, term, cluster id and SHA-256, then the database. The content of files is on the workers and not part of it.",
          tag: "cluster",
          responses: { 200: { description: "the backup", content: { "application/octet-stream": BINARY } } },
          errors: [...FROM_MASTERS],
        }),
      },
    );
