/** One master: opens its databases, takes part in the group, and answers its mailbox. The I/O around the machines. */
import { Elysia } from "elysia";
import { LogDamaged } from "../../databases/master-log.ts";
import { DatabaseRefused } from "../../databases/sqlite.ts";
import type { Config } from "../messages/config.ts";
import { MasterMailbox } from "../messages/master.ts";
import { ExitCode, StartRefused } from "../node/lifecycle.ts";
import type { Logger } from "../node/log.ts";
import {
  type Handlers,
  type Identity,
  listenOptions,
  mailbox,
  refusalResponse,
  SERVER_OPTIONS,
} from "../node/mailbox.ts";
import { verifySignature } from "../node/signature.ts";
import { MetadataEngine } from "./engine.ts";
import { masterMetrics } from "./metrics.ts";
import { Office } from "./office.ts";
import { RaftTransport } from "./raft-transport.ts";
import { Snapshots } from "./snapshots.ts";

const LATENESS_CHECK_MS = 100;
const COMPACTION_EVERY_MS = 1000;

export interface MasterOptions {
  config: Config;
  nodeId: string;
  url: string;
  dataDirectory: string;
  secret: string;
  log: Logger;
}

export interface Master {
  url: string;
  clusterId: string;
  stop(): Promise<void>;
}

/** The same for all masters that share the secret, so that a new group agrees on it without asking. */
const clusterIdOf = (secret: string): string =>
  new Bun.CryptoHasher("sha256", secret).update("cluster id").digest("hex").slice(0, 32);

/** @throws StartRefused if the data directory is in use, damaged, or of another master */
export async function startMaster({ config, nodeId, url, dataDirectory, secret, log }: MasterOptions): Promise<Master> {
  const clusterId = clusterIdOf(secret);
  const identity: Identity = { nodeId, secret, clusterId: () => clusterId };
  const transport = new RaftTransport(identity, config.masters, log);
  const engine = openEngine();
  const snapshots = new Snapshots({
    engine,
    identity,
    url,
    dataDirectory,
    log,
    send: (offer) => transport.send(offer),
  });
  transport.receive = (message) => engine.raft.receive(message);
  transport.unreachable = (id) => engine.raft.send({ type: "peer.unreachable", id });
  let office: Office | null = null;

  /** The office follows the role: open exactly while this master leads and knows all that was committed before. */
  function followRole(): void {
    if (engine.raft.isReady === (office !== null)) return;
    office?.close();
    office = engine.raft.isReady ? new Office({ config, nodeId, clusterId, identity, engine, log }) : null;
    log.info({ event: office ? "office-opened" : "office-closed", term: engine.term }, "leadership changed");
  }
  const inOffice = (): Office => {
    followRole();
    if (office) return office;
    throw engine.notLeader();
  };
  engine.raft.actor.subscribe(() => setImmediate(followRole));

  const leaderHandlers: unknown = Object.fromEntries(
    Object.keys(MasterMailbox)
      .filter((type) => type !== "RAFT")
      .map((type) => [
        type,
        (message: never, sender: string) => inOffice().handlers[type as keyof Office["handlers"]](message, sender),
      ]),
  );
  const handlers: Handlers<typeof MasterMailbox> = {
    ...(leaderHandlers as Office["handlers"]),
    RAFT: ({ messages }) => transport.take(messages),
  };

  const metrics = masterMetrics(engine, () => office);
  const server = new Elysia(SERVER_OPTIONS)
    .use(mailbox(MasterMailbox, handlers, identity, log))
    .get("/raft/snapshots/:index", async ({ params, request }) => {
      try {
        const { pathname } = new URL(request.url);
        verifySignature(secret, request.headers.get("authorization"), "GET", pathname, "");
        return new Response(await snapshots.file(params.index));
      } catch (error) {
        return refusalResponse(error, log);
      }
    })
    .get("/health/live", () => ({ status: "live" }))
    .get("/health/ready", ({ status }) => {
      const { role, term } = { role: engine.raft.role, term: engine.term };
      const { leaderId } = engine.raft.state;
      const answer = { role, term, leader: leaderId, steward: office?.steward.state ?? null };
      return leaderId === null
        ? status(503, { status: "waiting for a leader", ...answer })
        : { status: "ready", ...answer };
    })
    .get("/metrics", async ({ set }) => {
      set.headers["content-type"] = metrics.contentType;
      return metrics.metrics();
    })
    .listen(listenOptions(url));

  // R8: a leader that was not running for a while must not act on what it believed before.
  let checkedAt = performance.now();
  const lateness = setInterval(() => {
    const late = performance.now() - checkedAt - LATENESS_CHECK_MS;
    checkedAt = performance.now();
    if (late > config.raft.electionMs) engine.raft.send({ type: "host.late" });
  }, LATENESS_CHECK_MS);

  const compaction = setInterval(() => engine.compact(), COMPACTION_EVERY_MS);
  engine.start();
  log.info({ event: "started", url, clusterId, term: engine.term, dataDirectory }, "master started");

  return {
    url,
    clusterId,
    async stop() {
      clearInterval(lateness);
      clearInterval(compaction);
      await server.stop();
      office?.close();
      engine.close();
    },
  };

  function openEngine(): MetadataEngine {
    try {
      const engine = new MetadataEngine({
        dataDirectory,
        genesis: { clusterId, nodeId, configuration: { voters: [config.masters.map(({ id }) => id)], learners: [] } },
        timings: config.raft,
        send: (message) => transport.send(message),
        urlOf: (id) => transport.urlOf(id),
        leaderChanged: (leaderId, term) =>
          log.info({ event: "leader-changed", leader: leaderId, term }, leaderId ? `${leaderId} leads` : "no leader"),
        sendSnapshot: (to) => void snapshots.offer(to),
        installSnapshot: (offer) => void snapshots.install(offer),
        onFailure: (cause) => {
          log.fatal({ event: "master-failed", err: cause }, "this master cannot go on; stopping rather than guessing");
          process.exit(ExitCode.diskFailed);
        },
      });
      if (engine.identity.nodeId !== nodeId || engine.identity.clusterId !== clusterId) {
        const { nodeId: theirs, clusterId: of } = engine.identity;
        engine.close();
        throw new StartRefused(
          `${dataDirectory} holds the data of ${theirs} of cluster ${of}, not of ${nodeId} of ${clusterId}`,
          ExitCode.dataDirectoryRefused,
        );
      }
      return engine;
    } catch (cause) {
      if (cause instanceof DatabaseRefused || cause instanceof LogDamaged)
        throw new StartRefused(`${nodeId} cannot start: ${cause.message}`, ExitCode.dataDirectoryRefused);
      throw cause;
    }
  }
}
