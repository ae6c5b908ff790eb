/**
 * The copies under way: hosts one `repair` machine per chunk, within the configured limits, and lets a chunk whose copy
 * failed rest before it is tried again.
 */
import { type Actor, createActor } from "xstate";
import type { Metadata } from "../../../databases/metadata/sqlite-metadata.ts";
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId, NodeId } from "../../messages/primitives.ts";
import type { Clock } from "../../node/clock.ts";
import type { Logger } from "../../node/log.ts";
import { inspector } from "../../node/record/inspector.ts";
import type { ChunkRow } from "../../rules/decide/rows.ts";
import type { Verdict } from "../../rules/redundancy/classify.ts";
import { choose, rejection } from "../../rules/redundancy/placement.ts";
import { afterFailure, isOfTheTarget, resting, type TargetRest } from "../../rules/redundancy/target-rests.ts";
import type { MetadataEngine } from "../group/raft-metadata.ts";
import type { Orders } from "./orders.ts";
import { type Repair, repairMachine } from "./repair.machine.ts";
import type { KnownWorker, WorkerRegistry } from "./worker-registry.ts";

/** Beside what its pace asks for. */
const COPY_TIMEOUT_MS = 10 * 60_000;
/** A chunk whose repair failed rests this long, longer each time. */
const REST_MS = 2_000;
const MOST_REST_MS = 60_000;
const MOST_RESTING = 10_000;

export interface RepairView {
  chunkId: ChunkId;
  state: string;
  source: NodeId | null;
  target: NodeId | null;
  goodCopies: number;
  sinceMs: number;
  attempts: number;
  reason: string;
}

interface ActiveRepair {
  actor: Actor<typeof repairMachine>;
  repair: Repair;
  startedAt: number;
  /** When its target last named it among the copies under way; at first, when it was ordered. */
  namedAt: number;
  abort: AbortController;
}

/** A chunk whose copy failed, until it is tried again and after. */
interface Rest {
  attempts: number;
  until: number;
  why: string;
  /** A target that did not refuse: it may have the copy all the same, so it is asked before another one makes one more. */
  askFirst: NodeId | null;
}

/** Nobody answered, so nobody knows. A worker that gives up by itself names its bad sources. */
const isSilence = ({ code, details }: Refusal): boolean =>
  code === "PEER_UNREACHABLE" || (code === "TIMEOUT" && details.badSources === undefined);

export interface RepairPlan {
  purpose: Repair["purpose"];
  /** In words. */
  reason: string;
  /** Only these may become the target; all, if absent. */
  among?: ReadonlySet<NodeId>;
}

/** A chunk to be copied, as it was committed. */
export interface CopyWish {
  id: ChunkId;
  lengthBytes: number;
  crc32: number;
}

interface Parts {
  config: Config;
  engine: MetadataEngine;
  metadata: Metadata;
  workers: WorkerRegistry;
  orders: Orders;
  clock: Clock;
  log: Logger;
}

export class RepairCrew {
  readonly #parts: Parts;
  readonly #active = new Map<ChunkId, ActiveRepair>();
  readonly #resting = new Map<ChunkId, Rest>();
  /** Workers at which copies failed. */
  readonly #targetRests = new Map<NodeId, TargetRest>();
  readonly counters = { healed: 0, failed: 0 };
  /** Called when a repair has ended, however it ended. */
  onEnd: () => void = () => {};

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#active.size;
  }

  get isFull(): boolean {
    return this.#active.size >= this.#parts.config.repair.maxConcurrent;
  }

  views(): RepairView[] {
    return [...this.#active.values()].map(({ actor, repair, startedAt }) => ({
      chunkId: repair.chunkId,
      state: actor.getSnapshot().value,
      source: repair.sourceIds[0] ?? null,
      target: repair.targetId,
      goodCopies: repair.goodCopies,
      sinceMs: this.#parts.clock.now() - startedAt,
      attempts: repair.attempts,
      reason: repair.reason,
    }));
  }

  stateOf(chunkId: ChunkId): string | null {
    const active = this.#active.get(chunkId);
    if (active) return active.actor.getSnapshot().value;
    const resting = this.#resting.get(chunkId);
    return resting ? `failed ${resting.attempts} times, rests: ${resting.why}` : null;
  }

  isTargetOf(chunkId: ChunkId, workerId: NodeId): boolean {
    return this.#active.get(chunkId)?.repair.targetId === workerId;
  }

  /** Under way already, or resting after a failure. */
  isTaken(chunkId: ChunkId): boolean {
    return this.#active.has(chunkId) || (this.#resting.get(chunkId)?.until ?? 0) > this.#parts.clock.now();
  }

  /** @returns false if no worker can take or give a copy now, so that the rest of the set need not be tried */
  start(chunk: CopyWish, verdict: Verdict, { purpose, reason, among }: RepairPlan): boolean {
    const { config, workers, clock } = this.#parts;
    const { maxPerWorker, bytesPerSecond } = config.repair;
    const copiesBy = (id: NodeId, role: "from" | "to") =>
      [...this.#active.values()].filter(({ repair }) =>
        role === "to" ? repair.targetId === id : repair.sourceIds[0] === id,
      ).length;
    const sourceIds = verdict.durable
      .filter((id) => copiesBy(id, "from") < maxPerWorker)
      .sort((a, b) => copiesBy(a, "from") - copiesBy(b, "from"));
    if (sourceIds.length === 0) return false;
    const candidates = workers.candidates().filter(({ id }) => among?.has(id) ?? true);
    const busy = candidates.filter(({ id }) => copiesBy(id, "to") >= maxPerWorker).map(({ id }) => id);
    const exclude = new Set([...busy, ...resting(this.#targetRests, clock.now())]);
    const wish = { count: 1, sizeBytes: chunk.lengthBytes, exclude, holders: new Set(verdict.durable) };
    const { attempts: failures = 0, askFirst = null } = this.#resting.get(chunk.id) ?? {};
    const asked = candidates.find(({ id }) => id === askFirst);
    const [targetId] = asked && rejection(asked, wish) === null ? [asked.id] : choose(candidates, wish, Math.random);
    if (targetId === undefined) return false;
    workers.reserve(targetId, chunk.lengthBytes);
    this.#run(
      {
        chunkId: chunk.id,
        purpose,
        goodCopies: verdict.durable.length,
        sourceIds,
        targetId,
        reason,
        attempts: failures + 1,
        timeoutMs: COPY_TIMEOUT_MS + (bytesPerSecond > 0 ? Math.ceil((2000 * chunk.lengthBytes) / bytesPerSecond) : 0),
        failure: null,
      },
      chunk,
    );
    return true;
  }

  #run(repair: Repair, chunk: CopyWish): void {
    const { config, engine, orders, clock, log } = this.#parts;
    const abort = new AbortController();
    const { bytesPerSecond } = config.repair;
    let hasRefused = false;
    const fail = (error: unknown) => {
      if (!(error instanceof Refusal)) log.error({ event: "repair-error", err: error }, "repair failed");
      else if (Array.isArray(error.details.badSources)) this.#checkSources(chunk.id, error.details.badSources);
      actor.send({ type: "FAILED", reason: error instanceof Error ? error.message : String(error) });
    };
    const actor = createActor(
      repairMachine.provide({
        actions: {
          orderCopy: () => {
            orders
              .copy(
                repair.targetId,
                { chunkId: chunk.id, lengthBytes: chunk.lengthBytes, crc32: chunk.crc32 },
                repair.sourceIds,
                { timeoutMs: repair.timeoutMs, bytesPerSecond, signal: abort.signal },
              )
              .then(({ badSources }) => {
                this.#targetRests.delete(repair.targetId);
                this.#checkSources(chunk.id, badSources);
                actor.send({ type: "COPIED" });
              })
              .catch((error) => {
                hasRefused = error instanceof Refusal && !isSilence(error);
                if (error instanceof Refusal && isOfTheTarget(error.code)) this.#letTargetRest(repair.targetId);
                fail(error);
              });
          },
          recordReplica: () => {
            engine
              .propose({
                type: "ADD_REPLICAS",
                replicas: [
                  {
                    chunkId: chunk.id,
                    workerId: repair.targetId,
                    reason: `copied from ${repair.sourceIds[0]}: ${repair.reason}`.slice(0, 200),
                  },
                ],
              })
              .then(
                ({ added }) =>
                  actor.send(
                    added === 1 ? { type: "RECORDED" } : { type: "CANCELLED", reason: "no longer wanted there" },
                  ),
                fail,
              );
          },
        },
      }),
      { id: `repair:${chunk.id}`, input: repair, clock, inspect: inspector() },
    );
    const now = clock.now();
    this.#active.set(chunk.id, { actor, repair, startedAt: now, namedAt: now, abort });
    actor.subscribe((snapshot) => {
      if (snapshot.status === "active") return;
      this.#active.delete(chunk.id);
      abort.abort();
      const outcome = snapshot.value;
      const { failure } = snapshot.context;
      log.info(
        {
          event: "repair",
          chunk: chunk.id,
          outcome,
          target: repair.targetId,
          source: repair.sourceIds[0],
          reason: repair.reason,
          failure,
        },
        "repair ended",
      );
      if (outcome === "healed") this.counters.healed++;
      if (outcome === "failed") this.counters.failed++;
      if (outcome === "failed" || outcome === "cancelled")
        this.#rest(chunk.id, {
          attempts: repair.attempts,
          why: failure ?? outcome,
          askFirst: outcome === "cancelled" || hasRefused ? null : repair.targetId,
        });
      else this.#resting.delete(chunk.id);
      this.onEnd();
    });
    actor.start();
    actor.send({ type: "START" });
  }

  #rest(chunkId: ChunkId, rest: Omit<Rest, "until">): void {
    if (this.#resting.size >= MOST_RESTING) this.#resting.delete(this.#resting.keys().next().value as ChunkId);
    const until = this.#parts.clock.now() + Math.min(MOST_REST_MS, REST_MS * 2 ** (rest.attempts - 1));
    this.#resting.set(chunkId, { ...rest, until });
  }

  #letTargetRest(workerId: NodeId): void {
    const { clock, log } = this.#parts;
    const rest = afterFailure(this.#targetRests.get(workerId), clock.now());
    this.#targetRests.set(workerId, rest);
    log.warn({ event: "target-rests", worker: workerId, ...rest }, `copies to ${workerId} failed; others are taken`);
  }

  /** A worker that was to copy from these says that their copies are bad. */
  #checkSources(chunkId: ChunkId, workerIds: readonly NodeId[]): void {
    for (const workerId of workerIds) void this.checkReplica(chunkId, workerId);
  }

  /** A worker that came back, one that left or forgot, or a deleted file can make a copy under way pointless. */
  cancelPointless(classify: (chunk: ChunkRow) => Verdict): void {
    const { metadata, workers } = this.#parts;
    const isNeeded = (chunkId: ChunkId): boolean => {
      const chunk = metadata.row("chunk", { chunkId });
      return chunk !== undefined && classify(chunk).need === "copy";
    };
    for (const active of [...this.#active.values()]) {
      const { actor, repair } = active;
      const target = workers.get(repair.targetId);
      const isCopying = actor.getSnapshot().matches("copying");
      if (!target || workers.livenessOf(target) === "dead")
        actor.send({ type: "FAILED", reason: `${repair.targetId} is gone` });
      else if (isCopying && this.#isForgotten(active, target))
        actor.send({ type: "FAILED", reason: `${repair.targetId} neither answered the order nor knows of it` });
      else if (isCopying && repair.purpose === "redundancy" && !isNeeded(repair.chunkId))
        actor.send({ type: "CANCELLED", reason: "the chunk has its copies again, or is gone" });
    }
  }

  /** The order or its answer got lost, or the target was started again. Asked anew, it shares what it has. */
  #isForgotten(active: ActiveRepair, { copying, heardAt }: KnownWorker): boolean {
    if (heardAt === null || copying === null) return false;
    if (copying.includes(active.repair.chunkId)) active.namedAt = Math.max(active.namedAt, heardAt);
    return heardAt - active.namedAt > this.#parts.config.deadAfterMs;
  }

  // ── bad copies ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Somebody could not read this copy. Its worker reads it back, and only its own verdict counts. */
  async checkReplica(chunkId: ChunkId, workerId: NodeId): Promise<void> {
    const { metadata, orders, log } = this.#parts;
    const chunk = metadata.row("chunk", { chunkId });
    if (!chunk?.workers.includes(workerId)) return;
    try {
      const { state } = await orders.verify(workerId, { chunkId, lengthBytes: chunk.lengthBytes, crc32: chunk.crc32 });
      log.info({ event: "replica-checked", chunk: chunkId, worker: workerId, state }, "copy checked");
      if (state === "good") return;
      await this.#parts.engine.propose({ type: "MARK_REPLICAS", replicas: [{ chunkId, workerId, state }] });
      this.onEnd();
    } catch (err) {
      log.warn({ event: "replica-check-failed", chunk: chunkId, worker: workerId, err }, "copy could not be checked");
    }
  }

  stop(): void {
    for (const { actor, abort } of this.#active.values()) {
      abort.abort();
      actor.stop();
    }
  }
}
