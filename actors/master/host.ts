/** One master: opens its databases, takes part in the group, and answers its mailbox. The I/O around the machines. */
import { Elysia } from "elysia";
import { LogDamaged } from "../../databases/master-log.ts";
import { rebuildState, StateMissing } from "../../databases/metadata/backup.ts";
import { DatabaseRefused } from "../../databases/sqlite.ts";
import type { Config } from "../messages/config.ts";
import { ErrorCodes } from "../messages/errors.ts";
import { MasterMailbox } from "../messages/master.ts";
import { ROUTE_SENDERS } from "../messages/senders.ts";
import { systemClock } from "../node/clock.ts";
import { refusalResponse } from "../node/http/answers.ts";
import { entrance, rawPath, serve } from "../node/http/entrance.ts";
import { assertMaySend, listedRoles } from "../node/identity/sender.ts";
import { verifySignature } from "../node/identity/signature.ts";
import { ExitCode, StartRefused } from "../node/lifecycle.ts";
import type { Logger } from "../node/log.ts";
import { type Identity, mailbox, SERVER_OPTIONS } from "../node/messaging/mailbox.ts";
import { longWork, RECOVERY_LIMIT_MS } from "../node/watchdog/current-work.ts";
import { CannotApply } from "../rules/decide/decision.ts";
import { membersOf } from "../rules/raft/quorum.ts";
import { clusterIdOf } from "./group/cluster-id.ts";
import { leadersState } from "./group/fetch-state.ts";
import { foundingConfiguration } from "./group/founding.ts";
import { Freshness } from "./group/freshness.ts";
import { MembershipDesk } from "./group/membership.ts";
import { MetadataEngine } from "./group/raft-metadata.ts";
import { RaftTransport } from "./group/raft-transport.ts";
import { Snapshots } from "./group/snapshots.ts";
import { staleReads } from "./group/stale-reads.ts";
import { Standing } from "./group/standing.ts";
import { AgreementDesk } from "./group/state-check.ts";
import { Office } from "./leading/office.ts";
import { answerPassed, reception } from "./mailbox.ts";
import { masterMetrics } from "./metrics.ts";
import { PassingDesk } from "./passing.ts";
import { rolesAtMaster } from "./roles.ts";

const LATENESS_CHECK_MS = 100;
const COMPACTION_EVERY_MS = 1000;

export interface MasterOptions {
  config: Config;
  nodeId: string;
  url: string;
  dataDirectory: string;
  secret: string;
  log: Logger;
  /** With an empty data directory: wait to be added to a group that exists, instead of founding one. */
  joins?: boolean;
}

export interface Master {
  url: string;
  /** For those who look inside while it runs. */
  readonly engine: MetadataEngine;
  clusterId: string;
  stop(): Promise<void>;
}

/** @throws StartRefused if the data directory is in use, damaged, or of another master */
export async function startMaster(options: MasterOptions): Promise<Master> {
  const { config, nodeId, url, dataDirectory, secret, log, joins = false } = options;
  const clusterId = clusterIdOf(secret);
  let rolesOf = listedRoles(config);
  const identity: Identity = { nodeId, secret, clusterId: () => clusterId, rolesOf: (id) => rolesOf(id) };
  const transport = new RaftTransport(identity, config.masters, log);
  const standing = new Standing();
  const founders = await foundingConfiguration({ config, nodeId, url, dataDirectory, identity, log, joins });
  const engine = await openEngineOrRebuild();
  rolesOf = rolesAtMaster(config, engine);
  const snapshots = new Snapshots({
    engine,
    identity,
    url,
    dataDirectory,
    log,
    send: (offer) => transport.send(offer),
  });
  const self = { url, incarnation: engine.incarnation, knows: engine.rules.version };
  transport.connect({
    ...self,
    mark: () => engine.metadata.mark,
    configuration: () => engine.raft.state.configuration,
    receive: (message) => engine.raft.receive(message),
    inadmissible: (message) => engine.raft.inadmissible(message),
    unreachable: (id) => engine.raft.send({ type: "peer.unreachable", id }),
    isDead: (reason) => {
      log.fatal({ event: "dead-master", reason }, ErrorCodes.DEAD_MASTER.next);
      process.exit(ExitCode.dataDirectoryRefused);
    },
  });
  const urlOf = (id: string) => (id === nodeId ? url : transport.urlOf(id));
  const freshness = new Freshness(identity, engine, urlOf);
  const stale = staleReads(engine, freshness, config.raft.maxStaleMs);
  let office: Office | null = null;
  let members: MembershipDesk;
  let agreement: AgreementDesk | null = null;

  /** The office follows the role: open exactly while this master leads and knows all that was committed before. */
  function followRole(): void {
    if (engine.raft.isReady === (office !== null)) return;
    closeOffice();
    office = engine.raft.isReady ? openOffice() : null;
    log.info({ event: office ? "office-opened" : "office-closed", term: engine.term }, "leadership changed");
  }
  function closeOffice(): void {
    office?.close();
    agreement?.stop();
  }
  const openOffice = (): Office => {
    const heard = (id: string) => transport.heard(id);
    members = new MembershipDesk({ engine, self, heard, log });
    agreement = new AgreementDesk({ engine, heard, log });
    return new Office({ config, nodeId, clusterId, identity, engine, members, urlOf, clock: systemClock, log });
  };
  const inOffice = (): Office => {
    followRole();
    if (office) return office;
    throw engine.notLeader();
  };
  engine.raft.actor.subscribe(() => setImmediate(followRole));

  const passing = new PassingDesk({
    identity,
    engine,
    urlOf,
    answer: async (message, gatewayId) => answerPassed(inOffice(), message, gatewayId),
  });
  const handlers = reception({
    engine,
    inOffice,
    passing,
    stale,
    transport,
    status: () => standing.status(engine, url, freshness.ageMs, (id) => transport.heardAt(id)),
  });

  const metrics = masterMetrics(engine, () => office);
  const app = new Elysia(SERVER_OPTIONS)
    .use(entrance(log))
    .use(mailbox(MasterMailbox, handlers, identity, log))
    .get("/raft/backup", async ({ request }) => {
      try {
        const sender = verifySignature(secret, request.headers.get("authorization"), "GET", "/raft/backup", "");
        assertMaySend("A backup's request", ROUTE_SENDERS["GET /raft/backup"], sender, rolesOf);
        inOffice();
        await engine.confirmRead();
        const { manifest, body } = await snapshots.backup();
        log.info({ event: "backup", index: manifest.index, bytes: manifest.sizeBytes }, "a backup is being fetched");
        return new Response(body, { headers: { "content-type": "application/octet-stream" } });
      } catch (error) {
        return refusalResponse(error, log);
      }
    })
    .get("/raft/snapshots/:index", async ({ params, request }) => {
      try {
        const sender = verifySignature(secret, request.headers.get("authorization"), "GET", rawPath(request.url), "");
        assertMaySend("A snapshot's request", ROUTE_SENDERS["GET /raft/snapshots/{index}"], sender, rolesOf);
        return await snapshots.serve(params.index, request.headers.get("range"));
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
    });
  const server = serve(app, url);

  // R8: a leader that was not running for a while must not act on what it believed before.
  let checkedAt = performance.now();
  const lateness = setInterval(() => {
    const late = performance.now() - checkedAt - LATENESS_CHECK_MS;
    checkedAt = performance.now();
    if (late > config.raft.electionMs) engine.raft.send({ type: "host.late" });
  }, LATENESS_CHECK_MS);

  const compaction = setInterval(() => engine.compact(), COMPACTION_EVERY_MS);
  tellDifferences();
  engine.start();
  log.info({ event: "started", url, clusterId, term: engine.term, dataDirectory }, "master started");

  return {
    url,
    engine,
    clusterId,
    async stop() {
      if (office) await members.handOver();
      clearInterval(lateness);
      clearInterval(compaction);
      freshness.stop();
      await server.stop();
      closeOffice();
      engine.close();
    },
  };

  /** The data says who belongs to the masters; config.json only says where they were at first. */
  function tellDifferences(): void {
    const { configuration } = engine.raft.state;
    const members = membersOf(configuration).sort();
    const listed = config.masters.map(({ id }) => id).sort();
    if (members.length === 0)
      log.warn({ event: "waiting-to-be-added" }, `waits to be added: dfs masters add ${nodeId} ${url}`);
    else if (members.join() !== listed.join())
      log.warn(
        { event: "masters-differ", members, listed },
        `the masters are ${members.join(", ")} by their data, ${listed.join(", ")} by the configuration: the data counts; dfs masters add|remove changes it`,
      );
  }

  /** A master that lost its applied state keeps its log and its votes, and takes part again once it has the leader's. */
  async function openEngineOrRebuild(): Promise<MetadataEngine> {
    try {
      return longWork("recover", RECOVERY_LIMIT_MS, openEngine);
    } catch (cause) {
      if (!(cause instanceof StateMissing)) throw cause;
      log.warn({ event: "state-missing", err: cause }, "the applied state is gone; the leader is asked for its own");
      if (config.masters.every(({ id }) => id === nodeId))
        throw new StartRefused(`${nodeId} cannot start: ${cause.message}`, ExitCode.dataDirectoryRefused);
      const source = await leadersState(config, nodeId, identity, log);
      const { index } = await longWork("rebuild the state", RECOVERY_LIMIT_MS, () =>
        rebuildState(source, { dataDirectory, nodeId, clusterId }),
      );
      log.warn({ event: "state-rebuilt", index }, "the applied state is the leader's now");
      return longWork("recover", RECOVERY_LIMIT_MS, openEngine);
    }
  }

  function openEngine(): MetadataEngine {
    try {
      const engine = new MetadataEngine({
        dataDirectory,
        genesis: { clusterId, nodeId, configuration: founders },
        timings: config.raft,
        keepEntries: config.raft.keepEntries,
        neededFrom: () => snapshots.neededFrom,
        send: (message) => transport.send(message),
        urlOf: (id) => transport.urlOf(id),
        leaderChanged: (leaderId, term) => {
          standing.leaderChanged(leaderId);
          passing.leaderChanged();
          log.info({ event: "leader-changed", leader: leaderId, term }, leaderId ? `${leaderId} leads` : "no leader");
        },
        sendSnapshot: (to) => void snapshots.offer(to),
        installSnapshot: (offer) => void snapshots.install(offer),
        onFailure: (cause) => {
          if (cause instanceof CannotApply) {
            log.fatal({ event: "cannot-apply", why: cause.why }, `${nodeId} stops: ${cause.message}`);
            process.exit(cause.why === "diverged" ? ExitCode.stateDiverged : ExitCode.programTooOld);
          }
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
      if (cause instanceof StateMissing) throw cause;
      if (cause instanceof DatabaseRefused || cause instanceof LogDamaged)
        throw new StartRefused(`${nodeId} cannot start: ${cause.message}`, ExitCode.dataDirectoryRefused);
      throw cause;
    }
  }
}
