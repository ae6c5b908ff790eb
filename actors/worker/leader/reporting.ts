/**
 * What a worker reports to the leader: who it is, at a registration, and how it is, with every heartbeat. The machine says
 * when, and learns here what the leader answered.
 */
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { WorkerCondition, WorkerMode } from "../../messages/primitives.ts";
import type { Logger } from "../../node/log.ts";
import type { AnswerOf, MessageOf } from "../../node/messaging/mailbox.ts";
import { becauseOf } from "../../node/record/cause.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import type { BlockTraffic } from "../blocks/block-routes.ts";
import type { Copier } from "../blocks/copy-chunk.ts";
import type { RolesAtWorker } from "../roles.ts";
import type { Self } from "../self.ts";
import type { ChunkStore } from "../store/chunk-store.ts";
import type { Disk } from "../store/disk.ts";
import type { WorkerEvent } from "../worker.machine.ts";
import type { Fence } from "./fence.ts";
import type { LeaderLink } from "./leader-link.ts";

/** Refusals that waiting does not cure. */
const NEEDS_A_PERSON: ReadonlySet<string> = new Set([
  "UNAUTHENTICATED",
  "WRONG_CLUSTER",
  "WRONG_NODE",
  "WRONG_SENDER",
  "IMPLAUSIBLE_TERM",
]);
/** A report holds at most this many chunks of a kind; the next one the rest. */
const REPORT_LIMIT = 256;
/** An answer is awaited at least this long: enough for a busy leader, and short enough to notice a dead one. */
const LEAST_TIMEOUT_MS = 1000;

const beating = declareWork("heartbeat");

export interface ReportingParts {
  self: Self;
  roles: RolesAtWorker;
  fence: Fence;
  leader: LeaderLink;
  index: ChunkIndex;
  store: ChunkStore;
  disk: Disk;
  traffic: BlockTraffic;
  copier: Copier;
  log: Logger;
  heartbeatMs: number;
  /** An unsealed chunk untouched for this long is reported as idle. */
  idleAfterMs: number;
  /** Aborted when the worker stops: answers that come later count for nothing. */
  signal: AbortSignal;
  /** Lets the machine know what happened. */
  notify(event: WorkerEvent): void;
  /** As the machine knows it. */
  mode(): WorkerMode;
}

type Heartbeat = MessageOf<typeof MasterMailbox, "HEARTBEAT">;
type HeartbeatAnswer = AnswerOf<typeof MasterMailbox, "HEARTBEAT">;

export class Reporting {
  readonly #parts: ReportingParts;
  readonly #timeoutMs: number;
  /** The disk's condition, as the machine was told since the last registration. */
  #toldCondition: WorkerCondition | null = null;
  /** Why the leader rejected this worker, as last logged. */
  #loggedReason = "";

  constructor(parts: ReportingParts) {
    this.#parts = parts;
    this.#timeoutMs = Math.max(LEAST_TIMEOUT_MS, parts.heartbeatMs);
  }

  /** Never rejects: the machine hears of a failure as LEADER_SILENT. */
  async register(): Promise<void> {
    const { self, roles, fence, leader, store, disk, signal, notify } = this.#parts;
    const askedAt = fence.now;
    try {
      const { id: workerId, url, zone, incarnation, epoch, clusterId } = self;
      const { capacityBytes, freeBytes } = disk.space(store.usedBytes);
      const answer = await leader.ask<"REGISTER">(
        { type: "REGISTER", workerId, url, zone, incarnation, epoch, clusterId, capacityBytes, freeBytes },
        this.#timeoutMs,
      );
      if (signal.aborted) return;
      await fence.follow(answer.term);
      fence.noteLeaderTime(answer.term, answer.leaderTimeMs, askedAt);
      await self.join(answer.clusterId, store.commits);
      if (signal.aborted) return;
      roles.learn(answer.masters);
      const { term, mode, heartbeatMs } = answer;
      store.takesNew = mode === "active";
      // It begins to serve with a disk that takes everything.
      this.#toldCondition = null;
      becauseOf(answer, () => notify({ type: "REGISTERED", term, mode, heartbeatMs }));
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  /** Never rejects: the machine hears of a failure as UNKNOWN_HERE or LEADER_SILENT. */
  async sendHeartbeat(): Promise<void> {
    beating.begins();
    const { fence, leader, store, signal, notify } = this.#parts;
    const askedAt = fence.now;
    try {
      const answer = await leader.ask<"HEARTBEAT">(this.#heartbeat(), this.#timeoutMs);
      if (signal.aborted) return;
      fence.hear(answer.term);
      fence.noteLeaderTime(answer.term, answer.leaderTimeMs, askedAt);
      store.takesNew = answer.mode === "active";
      becauseOf(answer, () => notify({ type: "ACKNOWLEDGED", term: answer.term, mode: answer.mode }));
      await fence.pass(answer.term);
      await this.#carryOut(answer);
    } catch (error) {
      if (error instanceof Refusal && error.code === "UNKNOWN_WORKER") notify({ type: "UNKNOWN_HERE" });
      else this.#noteFailure(error);
    }
  }

  #heartbeat(): Heartbeat & { type: "HEARTBEAT" } {
    const { self, index, store, disk, traffic, copier, idleAfterMs, notify, mode } = this.#parts;
    const { capacityBytes, freeBytes, condition } = disk.space(store.usedBytes);
    if (condition !== this.#toldCondition) notify({ type: "DISK", condition });
    this.#toldCondition = condition;
    const { chunkCount, openChunks, trashBytes } = store.totals;
    return {
      type: "HEARTBEAT",
      workerId: self.id,
      incarnation: self.incarnation,
      epoch: self.epoch,
      condition,
      mode: mode(),
      capacityBytes,
      freeBytes,
      trashBytes,
      chunkCount,
      openChunks,
      load: traffic.requests,
      copying: copier.chunkIds(),
      badReplicas: index.unreported(REPORT_LIMIT),
      idleOpenChunks: store.idleOpenChunks(REPORT_LIMIT, idleAfterMs),
    };
  }

  /** The leader has noted bad copies, and knows which idle chunks will never be sealed. */
  async #carryOut({ acknowledged, discard }: HeartbeatAnswer): Promise<void> {
    const { index, store, idleAfterMs } = this.#parts;
    if (acknowledged.length > 0)
      await store.commits.add(false, () => {
        for (const chunkId of acknowledged) index.acknowledge(chunkId);
      });
    const stillIdle = new Set(store.idleOpenChunks(REPORT_LIMIT, idleAfterMs));
    for (const chunkId of discard) if (stillIdle.has(chunkId)) await store.abort(chunkId);
  }

  #noteFailure(error: unknown): void {
    const { self, leader, disk, signal, log, notify } = this.#parts;
    if (signal.aborted) return;
    if (error instanceof Refusal && (error.code === "STALE_TERM" || error.code === "IMPLAUSIBLE_TERM"))
      leader.distrust();
    if (!(error instanceof Refusal))
      log.error({ event: "report-failed", err: disk.refusal(error) }, "a report to the leader failed");
    const { silentMs } = leader;
    const reason = (error as Error).message;
    if (error instanceof Refusal && NEEDS_A_PERSON.has(error.code) && reason !== this.#loggedReason) {
      this.#loggedReason = reason;
      log.warn({ event: "refused-by-leader", code: error.code }, `the leader rejected ${self.id}: ${reason}`);
    }
    notify({ type: "LEADER_SILENT", silentMs, reason });
  }
}
