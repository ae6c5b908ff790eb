/** One master: opens its databases, leads, and answers its mailbox. All the I/O around the machines is here. */
import { join } from "node:path";
import { Elysia } from "elysia";
import { LogDamaged, MasterLog } from "../../databases/master-log.ts";
import { Metadata } from "../../databases/metadata.ts";
import { MetadataQueries } from "../../databases/metadata-queries.ts";
import { DatabaseRefused } from "../../databases/sqlite.ts";
import type { Config } from "../messages/config.ts";
import { Refusal } from "../messages/errors.ts";
import { MasterMailbox } from "../messages/master.ts";
import { ExitCode, StartRefused } from "../node/lifecycle.ts";
import type { Logger } from "../node/log.ts";
import { type Handlers, type Identity, listenOptions, mailbox, SERVER_OPTIONS } from "../node/mailbox.ts";
import { splitWorkers } from "../rules/decide/state.ts";
import { MetadataEngine } from "./engine.ts";
import { masterMetrics } from "./metrics.ts";
import { Orders } from "./orders.ts";
import { PlacementDesk } from "./placement-desk.ts";
import { Reconciliation } from "./reconciliation.ts";
import { Reports } from "./reports.ts";
import { Steward } from "./steward.ts";
import { WorkerRegistry } from "./worker-registry.ts";

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

/** @throws StartRefused if the data directory is in use, damaged, or of another master */
export async function startMaster(options: MasterOptions): Promise<Master> {
  const { config, nodeId, url, dataDirectory, secret, log } = options;
  const { engine, metadata, identity } = open(options);
  const queries = new MetadataQueries(metadata);
  await engine.propose({ type: "NOOP" });
  const workers = new WorkerRegistry(config, engine, log, metadata.rows("workers"));
  const orders = new Orders(identity, engine, workers);
  const steward = new Steward({ config, engine, metadata, queries, workers, orders, log });
  workers.onChange = () => steward.nudge();
  const desk = new PlacementDesk(config, engine, workers);
  const parts = { config, nodeId, clusterId: identity.clusterId() as string, identity, engine, metadata, queries };
  const reports = new Reports({ ...parts, workers, steward, desk });
  const reconciliation = new Reconciliation({ ...parts, workers, steward, log });
  const metrics = masterMetrics({ engine, queries, workers, steward });

  const handlers: Handlers<typeof MasterMailbox> = {
    EXECUTE: async ({ command, sessionId, seq, lowestUnacked, idempotencyKey }) => {
      if (sessionId === 0 && command.type !== "OPEN_SESSION")
        throw new Refusal("INVALID_MESSAGE", `${command.type} needs a session`);
      const outcome = await engine.execute({ command, sessionId, seq, lowestUnacked, idempotencyKey });
      if (command.type === "SET_WORKER_MODE" && outcome.result.ok)
        await workers.setMode(command.workerId, command.mode);
      return outcome;
    },
    PLACE_CHUNKS: (message) => desk.place(message),
    REPLACE_WORKERS: (message) => desk.replace(message),
    STAT: ({ path }) => ({ entry: queries.stat(path), index: engine.appliedIndex }),
    LOCATE: ({ path, etag, offset, limit }) => {
      const { entry, chunks } = queries.locate(path, offset, limit);
      const changed = etag !== null && (entry?.kind !== "file" || entry.etag !== etag);
      if (changed) throw new Refusal("PRECONDITION_FAILED", `${path} was replaced or deleted while it was read`);
      return {
        entry,
        chunks,
        workers: desk.addresses(new Set(chunks.flatMap(({ workerIds }) => workerIds))),
        index: engine.appliedIndex,
      };
    },
    LIST: ({ prefix, delimiter, after, limit }) => ({
      ...queries.list({ prefix, delimiter, after, limit }),
      index: engine.appliedIndex,
    }),
    UPLOAD_STATUS: ({ uploadId }) => {
      const upload = metadata.row("upload", uploadId);
      if (!upload || upload.expires <= engine.logTime) return { upload: null };
      return {
        upload: {
          path: upload.path,
          offset: upload.offset,
          crc32: upload.crc32,
          chunkCount: upload.chunk_count,
          chunkSizeBytes: upload.chunk_size,
          replicationFactor: upload.replication,
          minReplicas: upload.min_replicas,
          expiresInMs: Math.ceil(upload.expires - engine.logTime),
        },
      };
    },
    EXPLAIN: (message) => reports.explain(message),
    REPORT_REPLICA: ({ chunkId, workerId, problem, detail }) => {
      log.warn(
        { event: "replica-reported", chunk: chunkId, worker: workerId, problem, detail },
        "a reader could not use a copy",
      );
      const chunk = metadata.row("chunk", chunkId);
      const accepted = chunk !== undefined && splitWorkers(chunk.workers).includes(workerId);
      if (accepted && problem !== "unreachable") void steward.checkReplica(chunkId, workerId);
      return { accepted };
    },
    CLUSTER_STATE: () => reports.clusterState(),
    REGISTER: async (message) => {
      if (message.clusterId !== null && message.clusterId !== parts.clusterId)
        throw new Refusal(
          "WRONG_CLUSTER",
          `${message.workerId} holds data of cluster ${message.clusterId}; this is ${parts.clusterId}`,
        );
      const worker = await workers.register({
        id: message.workerId,
        url: message.url,
        zone: message.zone,
        incarnation: message.incarnation,
        capacity: message.capacityBytes,
        epoch: message.epoch,
        freeBytes: message.freeBytes,
      });
      log.info(
        { event: "worker-registered", worker: worker.id, url: worker.url, epoch: worker.epoch },
        "worker registered",
      );
      return { clusterId: parts.clusterId, term: engine.term, heartbeatMs: config.heartbeatMs, mode: worker.mode };
    },
    HEARTBEAT: async (message) => {
      const worker = workers.heartbeat(message);
      await steward.markReplicas(message.badReplicas.map((bad) => ({ ...bad, workerId: message.workerId })));
      return {
        term: engine.term,
        mode: worker.mode,
        acknowledged: message.badReplicas.map(({ chunkId }) => chunkId),
        discard: message.idleOpenChunks.filter(
          (chunkId) =>
            !reconciliation.isGranted(chunkId, engine.logTime) && !steward.isTargetOf(chunkId, message.workerId),
        ),
      };
    },
    RECONCILE: (message) => reconciliation.reconcile(message),
  };

  const server = new Elysia(SERVER_OPTIONS)
    .use(mailbox(MasterMailbox, handlers, identity, log))
    .get("/health/live", () => ({ status: "live" }))
    .get("/health/ready", () => ({ status: "ready", role: "leader", term: engine.term, steward: steward.state }))
    .get("/metrics", async ({ set }) => {
      set.headers["content-type"] = metrics.contentType;
      return metrics.metrics();
    })
    .listen(listenOptions(url));
  log.info({ event: "started", url, clusterId: parts.clusterId, term: engine.term, dataDirectory }, "master leads");

  return {
    url,
    clusterId: parts.clusterId,
    async stop() {
      await server.stop();
      steward.stop();
      workers.stop();
      engine.close();
    },
  };

  function open({ dataDirectory, nodeId, log }: MasterOptions) {
    let masterLog: MasterLog;
    try {
      masterLog = new MasterLog(join(dataDirectory, "master_metadata.db"), { clusterId: crypto.randomUUID(), nodeId });
      if (masterLog.identity.nodeId !== nodeId)
        throw new StartRefused(
          `${dataDirectory} holds the data of ${masterLog.identity.nodeId}, not of ${nodeId}`,
          ExitCode.dataDirectoryRefused,
        );
      const metadata = new Metadata(join(dataDirectory, "dfs_metadata.db"));
      const damage = metadata.damage();
      if (damage) throw new LogDamaged(`dfs_metadata.db is damaged: ${damage}`);
      const engine = new MetadataEngine(masterLog, metadata, (cause) => {
        log.fatal({ event: "disk-failed", err: cause }, "the log cannot be written; stopping rather than guessing");
        process.exit(ExitCode.diskFailed);
      });
      const identity: Identity = { nodeId, secret, clusterId: () => masterLog.identity.clusterId };
      return { engine, metadata, identity };
    } catch (cause) {
      if (cause instanceof DatabaseRefused || cause instanceof LogDamaged)
        throw new StartRefused(`${nodeId} cannot start: ${cause.message}`, ExitCode.dataDirectoryRefused);
      throw cause;
    }
  }
}
