/**
 * What a heartbeat costs a master before its handler
 *
 * HTTP, signature, msgpack, schema, and the way back. The workers are another process, each heartbeat a request of its own.
 */
import { Elysia } from "elysia";
import { MasterMailbox } from "../../../actors/messages/master.ts";
import { SERVER_OPTIONS, serve } from "../../../actors/node/http/server-options.ts";
import type { Identity } from "../../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../../actors/node/identity/signature.ts";
import { createLogger } from "../../../actors/node/log.ts";
import { mailbox } from "../../../actors/node/messaging/mailbox.ts";
import { send } from "../../../actors/node/messaging/outbox.ts";
import { freePorts } from "../../support/free-ports.ts";
import { printFigure } from "./part.ts";

const BEATS = 20_000;
const AT_ONCE = 50;

const identityOf = (nodeId: string): Identity => ({
  ...{ nodeId, credentials: sharedSecret(nodeId, "5".repeat(64)), clusterId: () => "scale" },
  rolesOf: () => ["worker"],
});
const takes = { HEARTBEAT: MasterMailbox.HEARTBEAT };

async function beat(url: string): Promise<void> {
  let left = BEATS;
  const worker = identityOf("w1");
  const lane = async () => {
    while (left-- > 0)
      await send<typeof takes, "HEARTBEAT">(
        worker,
        url,
        {
          ...{ type: "HEARTBEAT", workerId: "w1", incarnation: "first", epoch: 1, condition: "normal", mode: "active" },
          ...{ capacityBytes: 1e13, freeBytes: 1e12, trashBytes: 0, chunkCount: 30_000, openChunks: 0, load: 3 },
          ...{ copying: [], badReplicas: [], idleOpenChunks: [] },
        },
        { apart: true },
      );
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

async function measure(): Promise<void> {
  const url = `http://127.0.0.1:${freePorts(1)[0]}`;
  const answer = { term: 1, mode: "active" as const, leaderTimeMs: 1, acknowledged: [], discard: [] };
  const log = createLogger("scale", "silent" as "debug");
  const app = new Elysia(SERVER_OPTIONS).use(mailbox(takes, { HEARTBEAT: () => answer }, identityOf("master-1"), log));
  const server = serve(app, url);
  for (const round of ["warm", "measured"]) {
    const before = process.cpuUsage();
    const workers = Bun.spawn([process.execPath, import.meta.path, url], { stdio: ["ignore", "inherit", "inherit"] });
    if ((await workers.exited) !== 0) throw new Error("the workers failed");
    const { user, system } = process.cpuUsage(before);
    const value = (user + system) / BEATS;
    if (round === "measured")
      printFigure({ id: "heartbeat.cpu", label: "a heartbeat at its master", value, unit: "µs CPU" });
  }
  await server.stop();
}

const [url] = process.argv.slice(2);
await (url === undefined ? measure() : beat(url));
