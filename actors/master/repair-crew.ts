/**
 * The copies under way: hosts one `repair` machine per chunk, within the configured limits, and lets a chunk whose copy
 * failed rest before it is tried again.
 */
import { type Actor, createActor } from "xstate";
import type { Metadata } from "../../databases/metadata.ts";
import type { Config } from "../messages/config.ts";
import { Refusal } from "../messages/errors.ts";
import type { ChunkId, NodeId } from "../messages/primitives.ts";
import type { Logger } from "../node/log.ts";
import { inspector } from "../node/recorder.ts";
import type { Verdict } from "../rules/classify-replicas.ts";
import { type ChunkRow, splitWorkers } from "../rules/decide/state.ts";
import { choose } from "../rules/placement.ts";
import type { MetadataEngine } from "./engine.ts";
import type { Orders } from "./orders.ts";
import { type Repair, repairMachine } from "./repair.machine.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

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
  abort: AbortController;
}

/** A chunk to be copied, as it was committed. */
export interface CopyWish {
  id: ChunkId;
  length: number;
  crc32: number;
}

interface Parts {
  config: Config;
  engine: MetadataEngine;
  metadata: Metadata;
  workers: WorkerRegistry;
  orders: Orders;
  log: Logger;
}

export class RepairCrew {
  readonly #parts: Parts;
  readonly #active = new Map<ChunkId, ActiveRepair>();
  readonly #resting = new Map<ChunkId, { attempts: number; until: number; why: string }>();
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
      sinceMs: performance.now() - startedAt,
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
    return this.#active.has(chunkId) || (this.#resting.get(chunkId)?.until ?? 0) > performance.now();
  }

  /** @returns false if no worker can take or give a copy now, so that the rest of the set need not be tried */
  start(chunk: CopyWish, verdict: Verdict, reason: string, to?: NodeId): boolean {
    const { config, workers } = this.#parts;
    const { maxPerWorker } = config.repair;
    const copiesBy = (id: NodeId, role: "from" | "to") =>
      [...this.#active.values()].filter(({ repair }) =>
        role === "to" ? repair.targetId === id : repair.sourceIds[0] === id,
      ).length;
    const sourceIds = verdict.durable
      .filter((id) => copiesBy(id, "from") < maxPerWorker)
      .sort((a, b) => copiesBy(a, "from") - copiesBy(b, "from"));
    if (sourceIds.length === 0) return false;
    const candidates = workers.candidates();
    const busy = candidates.filter(({ id }) => copiesBy(id, "to") >= maxPerWorker).map(({ id }) => id);
    const [targetId] =
      to !== undefined
        ? [to]
        : choose(
            candidates,
            { count: 1, sizeBytes: chunk.length, exclude: new Set(busy), holders: new Set(verdict.durable) },
            Math.random,
          );
    if (targetId === undefined) return false;
    workers.reserve(targetId, chunk.length);
    const attempts = (this.#resting.get(chunk.id)?.attempts ?? 0) + 1;
    this.#run(
      {
        chunkId: chunk.id,
        purpose: to === undefined ? "redundancy" : "evenness",
        goodCopies: verdict.durable.length,
        sourceIds,
        targetId,
        reason,
        attempts,
        timeoutMs: COPY_TIMEOUT_MS,
        failure: null,
      },
      chunk,
    );
    return true;
  }

  #run(repair: Repair, chunk: CopyWish): void {
    const { config, engine, orders, log } = this.#parts;
    const abort = new AbortController();
    const { bytesPerSecond } = config.repair;
    const fail = (error: unknown) => {
      if (!(error instanceof Refusal)) log.error({ event: "repair-error", err: error }, "repair failed");
      actor.send({ type: "FAILED", reason: error instanceof Error ? error.message : String(error) });
    };
    const actor = createActor(
      repairMachine.provide({
        actions: {
          orderCopy: () => {
            orders
              .copy(
                repair.targetId,
                { chunkId: chunk.id, lengthBytes: chunk.length, crc32: chunk.crc32 },
                repair.sourceIds,
                { timeoutMs: repair.timeoutMs, bytesPerSecond, signal: abort.signal },
              )
              .then(({ badSources }) => {
                for (const workerId of badSources) void this.checkReplica(chunk.id, workerId);
                actor.send({ type: "COPIED" });
              }, fail);
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
      { id: `repair:${chunk.id}`, input: repair, inspect: inspector() },
    );
    this.#active.set(chunk.id, { actor, repair, startedAt: performance.now(), abort });
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
      if (outcome === "failed" || outcome === "cancelled") this.#rest(chunk.id, repair.attempts, failure ?? outcome);
      else this.#resting.delete(chunk.id);
      this.onEnd();
    });
    actor.start();
    actor.send({ type: "START" });
  }

  #rest(chunkId: ChunkId, attempts: number, why: string): void {
    if (this.#resting.size >= MOST_RESTING) this.#resting.delete(this.#resting.keys().next().value as ChunkId);
    const until = performance.now() + Math.min(MOST_REST_MS, REST_MS * 2 ** (attempts - 1));
    this.#resting.set(chunkId, { attempts, until, why });
  }

  /** A worker that came back, one that left, or a deleted file can make a copy under way pointless. */
  cancelPointless(classify: (chunk: ChunkRow) => Verdict): void {
    const { metadata, workers } = this.#parts;
    const isNeeded = (chunkId: ChunkId): boolean => {
      const chunk = metadata.row("chunk", chunkId);
      return chunk !== undefined && classify(chunk).need === "copy";
    };
    for (const { actor, repair } of [...this.#active.values()]) {
      const target = workers.get(repair.targetId);
      if (!target || workers.livenessOf(target) === "dead")
        actor.send({ type: "FAILED", reason: `${repair.targetId} is gone` });
      else if (actor.getSnapshot().matches("copying") && repair.purpose === "redundancy" && !isNeeded(repair.chunkId))
        actor.send({ type: "CANCELLED", reason: "the chunk has its copies again, or is gone" });
    }
  }

  // ── bad copies ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Somebody could not read this copy. Its worker reads it back, and only its own verdict counts. */
  async checkReplica(chunkId: ChunkId, workerId: NodeId): Promise<void> {
    const { metadata, orders, log } = this.#parts;
    const chunk = metadata.row("chunk", chunkId);
    if (!chunk || !splitWorkers(chunk.workers).includes(workerId)) return;
    try {
      const { state } = await orders.verify(workerId, { chunkId, lengthBytes: chunk.length, crc32: chunk.crc32 });
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
