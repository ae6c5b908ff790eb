/** What a master answers over HTTP: its mailbox, its state in files for those who fetch it, probes and figures. */
import { Elysia } from "elysia";
import { MasterMailbox } from "../messages/master.ts";
import { ROUTE_SENDERS } from "../messages/senders.ts";
import { refusalResponse } from "../node/http/answers.ts";
import { entrance, rawPath } from "../node/http/entrance.ts";
import { SERVER_OPTIONS } from "../node/http/server-options.ts";
import { assertMaySend } from "../node/identity/sender.ts";
import type { Logger } from "../node/log.ts";
import { type Handlers, mailbox } from "../node/messaging/mailbox.ts";
import { contextFrom } from "../node/trace/carry.ts";
import { received } from "../node/trace/span.ts";
import type { Group } from "./group/open-group.ts";
import type { Leadership } from "./leadership.ts";
import { masterMetrics } from "./metrics.ts";

interface Parts {
  group: Group;
  leadership: Leadership;
  handlers: Handlers<typeof MasterMailbox>;
  log: Logger;
}

export const masterServer = ({ group, leadership, handlers, log }: Parts) =>
  new Elysia(SERVER_OPTIONS)
    .use(entrance(log))
    .use(mailbox(MasterMailbox, handlers, group.identity, log))
    .use(stateRoutes(group, leadership, log))
    .use(probes(group, leadership));

/** The state as a whole: for a backup, and for masters that need entries which the log no longer holds. */
function stateRoutes({ identity, metadata, snapshots }: Group, leadership: Leadership, log: Logger) {
  const check = (request: Request, route: keyof typeof ROUTE_SENDERS, what: string): void => {
    const authorization = request.headers.get("authorization");
    const sender = identity.credentials.verify(authorization, "GET", rawPath(request.url), "");
    assertMaySend(what, ROUTE_SENDERS[route], sender, identity.rolesOf ?? (() => []));
  };
  return new Elysia(SERVER_OPTIONS)
    .get("/raft/backup", async ({ request }) => {
      try {
        check(request, "GET /raft/backup", "A backup's request");
        leadership.inOffice();
        await metadata.confirmRead();
        return await received(contextFrom(request.headers), "GET /raft/backup", async () => {
          const { manifest, body } = await snapshots.backup();
          log.info({ event: "backup", index: manifest.index, bytes: manifest.sizeBytes }, "a backup is being fetched");
          return new Response(body, { headers: { "content-type": "application/octet-stream" } });
        });
      } catch (error) {
        return refusalResponse(error, log);
      }
    })
    .get("/raft/snapshots/:index", async ({ params, request }) => {
      try {
        check(request, "GET /raft/snapshots/{index}", "A snapshot's request");
        return await received(contextFrom(request.headers), "GET /raft/snapshots/{index}", () =>
          snapshots.serve(params.index, request.headers.get("range")),
        );
      } catch (error) {
        return refusalResponse(error, log);
      }
    });
}

/** For people and their tools, unsigned. */
function probes({ metadata }: Group, leadership: Leadership) {
  const metrics = masterMetrics(metadata, () => leadership.office);
  return new Elysia(SERVER_OPTIONS)
    .get("/health/live", () => ({ status: "live" }))
    .get("/health/ready", ({ status }) => {
      const { leaderId, term } = metadata.raft.state;
      const steward = leadership.office?.steward.state ?? null;
      const answer = { role: metadata.raft.role, term, leader: leaderId, steward };
      return leaderId === null
        ? status(503, { status: "waiting for a leader", ...answer })
        : { status: "ready", ...answer };
    })
    .get("/metrics", async ({ set }) => {
      set.headers["content-type"] = metrics.contentType;
      return metrics.metrics();
    });
}
