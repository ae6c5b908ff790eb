/**
 * What only a leader does: watching workers, placing chunks, repairing, reporting. An office opens when the leader's
 * term is sure of everything before it, and closes when it leads no more; its memory goes with it.
 */

import type { MetadataQueries } from "../../../databases/metadata/queries.ts";
import type { Metadata } from "../../../databases/metadata/sqlite-metadata.ts";
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { Clock } from "../../node/clock.ts";
import type { Logger } from "../../node/log.ts";
import type { Handlers, Identity } from "../../node/messaging/mailbox.ts";
import { membersOf } from "../../rules/raft/quorum.ts";
import type { MembershipDesk } from "../group/membership.ts";
import type { MetadataEngine } from "../group/raft-metadata.ts";
import { Orders } from "./orders.ts";
import { PlacementDesk } from "./placing.ts";
import { Reconciliation } from "./reconciliation.ts";
import { Reports } from "./reports.ts";
import { Steward } from "./steward.ts";
import { WorkerRegistry } from "./worker-registry.ts";

export interface OfficeParts {
  config: Config;
  nodeId: string;
  clusterId: string;
  identity: Identity;
  engine: MetadataEngine;
  members: MembershipDesk;
  urlOf(id: string): string | null;
  clock: Clock;
  log: Logger;
}

/** The part of the mailbox that only a leader answers. */
export type LeaderMailbox = Omit<typeof MasterMailbox, "RAFT" | "MASTER_STATUS" | "PASS_ON" | "PASSED_ON">;

export class Office {
  readonly workers: WorkerRegistry;
  readonly steward: Steward;
  readonly handlers: Handlers<LeaderMailbox>;
  readonly #engine: MetadataEngine;
  readonly #members: MembershipDesk;
  readonly #metadata: Metadata;
  readonly #queries: MetadataQueries;

  constructor(parts: OfficeParts) {
    const { config, engine, clock, log } = parts;
    this.#engine = engine;
    this.#members = parts.members;
    this.#metadata = engine.metadata;
    this.#queries = engine.queries;
    const state = { metadata: this.#metadata, queries: this.#queries };
    this.workers = new WorkerRegistry(parts, this.#metadata.rows("workers", {}));
    const orders = new Orders(parts.identity, engine, this.workers, clock);
    this.steward = new Steward({ config, engine, ...state, workers: this.workers, orders, clock, log });
    this.workers.onChange = () => this.steward.nudge();
    const desk = new PlacementDesk(config, engine, this.workers);
    const shared = { ...parts, ...state, workers: this.workers, steward: this.steward };
    this.handlers = this.#handlers(parts, desk, new Reports({ ...shared, desk }), new Reconciliation(shared));
  }

  #handlers(
    parts: OfficeParts,
    desk: PlacementDesk,
    reports: Reports,
    reconciliation: Reconciliation,
  ): Handlers<LeaderMailbox> {
    const { config, clusterId, clock, log, members } = parts;
    const leaderTimeMs = () => Math.floor(clock.now());
    const { workers, steward } = this;
    const engine = this.#engine;
    const metadata = this.#metadata;
    const queries = this.#queries;
    return {
      EXECUTE: async ({ command, sessionId, seq, lowestUnacked, idempotencyKey }, sender) => {
        if (sessionId === 0 && command.type !== "OPEN_SESSION")
          throw new Refusal("INVALID_MESSAGE", `${command.type} needs a session`);
        const client =
          command.type === "OPEN_SESSION" ? command.clientId : metadata.row("session", { sessionId })?.clientId;
        // A session that has ended is refused where the command is decided.
        if (client !== undefined && client !== sender)
          throw new Refusal("WRONG_SENDER", `The session is of ${client}, and ${sender} signed the command`, {
            ...{ sender, what: command.type, allowed: [client] },
          });
        const outcome = await engine.execute({ command, sessionId, seq, lowestUnacked, idempotencyKey });
        if (command.type === "SET_WORKER_MODE" && outcome.result.ok)
          await workers.setMode(command.workerId, command.mode);
        return outcome;
      },
      PLACE_CHUNKS: (message) => desk.place(message),
      REPLACE_WORKERS: (message) => desk.replace(message),
      STAT: async ({ path }) => {
        await engine.confirmRead();
        return { entry: queries.stat(path), index: engine.appliedIndex };
      },
      LOCATE: async ({ path, etag, offset, limit }) => {
        await engine.confirmRead();
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
      LIST: async ({ prefix, delimiter, after, limit }) => {
        await engine.confirmRead();
        return { ...queries.list({ prefix, delimiter, after, limit }), index: engine.appliedIndex };
      },
      UPLOAD_STATUS: async ({ uploadId }) => {
        await engine.confirmRead();
        const upload = metadata.row("upload", { uploadId });
        if (!upload || upload.expiresAt <= engine.logTime) return { upload: null };
        return {
          upload: {
            path: upload.path,
            offset: upload.offset,
            crc32: upload.crc32,
            chunkCount: upload.chunkCount,
            chunkSizeBytes: upload.chunkSizeBytes,
            replicationFactor: upload.replicationFactor,
            minReplicas: upload.minReplicas,
            expiresInMs: Math.ceil(upload.expiresAt - engine.logTime),
            contentType: upload.contentType,
            userMetadata: upload.userMetadata,
          },
        };
      },
      EXPLAIN: async (message) => {
        await engine.confirmRead();
        return reports.explain(message);
      },
      REPORT_REPLICA: ({ chunkId, workerId, problem, detail }) => {
        log.warn(
          { event: "replica-reported", chunk: chunkId, worker: workerId, problem, detail },
          "a reader could not use a copy",
        );
        const chunk = metadata.row("chunk", { chunkId });
        const accepted = chunk?.workers.includes(workerId) ?? false;
        if (accepted && problem !== "unreachable") void steward.crew.checkReplica(chunkId, workerId);
        return { accepted };
      },
      CLUSTER_STATE: () => reports.clusterState(),
      CHANGE_MASTERS: ({ change, id, url }) => members.change(change, id, url),
      TRANSFER_LEADERSHIP: async ({ to }) => ({ leader: await members.transfer(to) }),
      READ_INDEX: async () => {
        await engine.confirmRead();
        return { index: engine.appliedIndex };
      },
      REGISTER: async (message) => {
        if (message.clusterId !== null && message.clusterId !== clusterId)
          throw new Refusal(
            "WRONG_CLUSTER",
            `${message.workerId} holds data of cluster ${message.clusterId}; this is ${clusterId}`,
          );
        const worker = await workers.register({
          id: message.workerId,
          url: message.url,
          zone: message.zone,
          incarnation: message.incarnation,
          capacityBytes: message.capacityBytes,
          epoch: message.epoch,
          freeBytes: message.freeBytes,
        });
        log.info(
          { event: "worker-registered", worker: worker.id, url: worker.url, epoch: worker.epoch },
          "worker registered",
        );
        return {
          clusterId,
          term: engine.term,
          heartbeatMs: config.heartbeatMs,
          mode: worker.mode,
          leaderTimeMs: leaderTimeMs(),
          masters: membersOf(engine.raft.state.configuration),
        };
      },
      HEARTBEAT: async (message) => {
        const worker = workers.heartbeat(message);
        await steward.markReplicas(message.badReplicas.map((bad) => ({ ...bad, workerId: message.workerId })));
        return {
          term: engine.term,
          mode: worker.mode,
          leaderTimeMs: leaderTimeMs(),
          acknowledged: message.badReplicas.map(({ chunkId }) => chunkId),
          discard: message.idleOpenChunks.filter(
            (chunkId) => !reconciliation.isGranted(chunkId) && !steward.crew.isTargetOf(chunkId, message.workerId),
          ),
        };
      },
      RECONCILE: (message) => reconciliation.reconcile(message),
    };
  }

  close(): void {
    this.#members.stop();
    this.steward.stop();
    this.workers.stop();
  }
}
