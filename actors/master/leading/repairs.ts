/**
 * Carries out the copies that were planned: one `repair` machine per chunk. A chunk whose copy failed rests before it is
 * tried again, and so does a worker at which copies failed.
 */
import { type Actor, createActor } from "xstate";
import type { SealedChunk } from "../../messages/chunk.ts";
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId, NodeId } from "../../messages/primitives.ts";
import type { Clock } from "../../node/clock.ts";
import type { Logger } from "../../node/log.ts";
import { inspector } from "../../node/record/inspector.ts";
import type { ChunkRow } from "../../rules/decide/rows.ts";
import type { Verdict } from "../../rules/redundancy/classify.ts";
import type { PlannedCopy, RepairView } from "../../rules/redundancy/repair-plan.ts";
import { afterFailure, isOfTheTarget, resting, type TargetRest } from "../../rules/redundancy/target-rests.ts";
import type { MetadataPort } from "../metadata-port.ts";
import type { Orders } from "./orders.ts";
import { type Repair, repairMachine } from "./repair.machine.ts";
import { tracedRepair } from "./traced-repair.ts";
import type { KnownWorker, WorkerRegistry } from "./worker-registry.ts";

/** Beside what its pace asks for. */
const COPY_TIMEOUT_MS = 10 * 60_000;
/** A chunk whose repair failed rests this long, longer each time. */
const REST_MS = 2_000;
const MOST_REST_MS = 60_000;
const MOST_RESTING = 10_000;

/** One repair as people see it. */
export interface RepairInSight {
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
  chunk: SealedChunk;
  startedAt: number;
  /** When its target last named it among the copies under way; at first, when it was ordered. */
  namedAt: number;
  abort: AbortController;
  /** The target answered the order, and refused. */
  hasRefused: boolean;
}

/** A chunk whose copy failed, until it is tried again and after. */
interface Rest {
  attempts: number;
  until: number;
  why: string;
  /** A target that did not refuse: it may have the copy all the same, so it is asked before another one makes one more. */
  askFirst: NodeId | null;
}

/** No answer came, so the outcome is unknown. A worker that gives up by itself names its bad sources. */
const isSilence = ({ code, details }: Refusal): boolean =>
  code === "PEER_UNREACHABLE" || (code === "TIMEOUT" && details.badSources === undefined);

interface Parts {
  config: Config;
  metadata: MetadataPort;
  workers: WorkerRegistry;
  orders: Orders;
  clock: Clock;
  log: Logger;
}

export class Repairs {
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

  inSight(): RepairInSight[] {
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

  /** In words; null: no copy of it is under way or has just failed. */
  stateOf(chunkId: ChunkId): string | null {
    const active = this.#active.get(chunkId);
    if (active) return active.actor.getSnapshot().value;
    const rest = this.#resting.get(chunkId);
    return rest ? `failed ${rest.attempts} times, rests: ${rest.why}` : null;
  }

  isTargetOf(chunkId: ChunkId, workerId: NodeId): boolean {
    return this.#active.get(chunkId)?.repair.targetId === workerId;
  }

  /** What a plan must know of the copies under way and of those that failed. */
  view(): Pick<RepairView, "isTaken" | "underWay" | "resting" | "askFirst"> {
    const now = this.#parts.clock.now();
    return {
      isTaken: (chunkId) => this.#active.has(chunkId) || (this.#resting.get(chunkId)?.until ?? 0) > now,
      underWay: [...this.#active.values()].map(({ repair: { sourceIds, targetId } }) => ({
        sourceId: sourceIds[0],
        targetId,
      })),
      resting: new Set(resting(this.#targetRests, now)),
      askFirst: (chunkId) => this.#resting.get(chunkId)?.askFirst ?? null,
    };
  }

  start({ purpose, chunk, sourceIds, targetId, goodCopies, reason }: PlannedCopy): void {
    const { config, workers, clock } = this.#parts;
    const { bytesPerSecond } = config.repair;
    const { chunkId } = chunk;
    workers.reserve(targetId, chunk.lengthBytes);
    const repair: Repair = {
      ...{ chunkId, purpose, goodCopies, sourceIds, targetId, reason },
      attempts: (this.#resting.get(chunkId)?.attempts ?? 0) + 1,
      timeoutMs: COPY_TIMEOUT_MS + (bytesPerSecond > 0 ? Math.ceil((2000 * chunk.lengthBytes) / bytesPerSecond) : 0),
      failure: null,
    };
    const machine = repairMachine.provide({
      actions: {
        orderCopy: () => void this.#orderCopy(active),
        recordReplica: () => void this.#recordReplica(active),
      },
    });
    const actor = createActor(machine, { id: `repair:${chunkId}`, input: repair, clock, inspect: inspector() });
    const now = clock.now();
    const active: ActiveRepair = {
      ...{ actor, repair, chunk, startedAt: now, namedAt: now },
      ...{ abort: new AbortController(), hasRefused: false },
    };
    this.#active.set(chunkId, active);
    actor.subscribe(({ status }) => {
      if (status !== "active") this.#ended(active);
    });
    tracedRepair(actor, repair, () => {
      actor.start();
      actor.send({ type: "START" });
    });
  }

  async #orderCopy(active: ActiveRepair): Promise<void> {
    const { config, orders } = this.#parts;
    const { actor, repair, chunk, abort } = active;
    const { targetId, sourceIds, timeoutMs } = repair;
    const terms = { timeoutMs, bytesPerSecond: config.repair.bytesPerSecond, signal: abort.signal };
    try {
      const { badSources } = await orders.copy(targetId, chunk, sourceIds, terms);
      this.#targetRests.delete(targetId);
      this.#checkSources(chunk.chunkId, badSources);
      actor.send({ type: "COPIED" });
    } catch (error) {
      active.hasRefused = error instanceof Refusal && !isSilence(error);
      if (error instanceof Refusal && isOfTheTarget(error.code)) this.#letTargetRest(targetId);
      this.#fail(active, error);
    }
  }

  async #recordReplica(active: ActiveRepair): Promise<void> {
    const { chunkId, targetId, sourceIds, reason } = active.repair;
    const replica = { chunkId, workerId: targetId, reason: `copied from ${sourceIds[0]}: ${reason}`.slice(0, 200) };
    try {
      const { added } = await this.#parts.metadata.propose({ type: "ADD_REPLICAS", replicas: [replica] });
      active.actor.send(added === 1 ? { type: "RECORDED" } : { type: "CANCELLED", reason: "no longer wanted there" });
    } catch (error) {
      this.#fail(active, error);
    }
  }

  #fail({ actor, repair }: ActiveRepair, error: unknown): void {
    if (!(error instanceof Refusal)) this.#parts.log.error({ event: "repair-error", err: error }, "repair failed");
    else if (Array.isArray(error.details.badSources)) this.#checkSources(repair.chunkId, error.details.badSources);
    actor.send({ type: "FAILED", reason: error instanceof Error ? error.message : String(error) });
  }

  #ended({ actor, repair, abort, hasRefused }: ActiveRepair): void {
    const { chunkId: chunk, targetId: target, sourceIds, reason, attempts } = repair;
    const { value: outcome, context } = actor.getSnapshot();
    const { failure } = context;
    this.#active.delete(chunk);
    abort.abort();
    this.#parts.log.info(
      { event: "repair", chunk, outcome, target, source: sourceIds[0], reason, failure },
      "repair ended",
    );
    if (outcome === "healed") this.counters.healed++;
    if (outcome === "failed") this.counters.failed++;
    if (outcome === "failed" || outcome === "cancelled")
      this.#rest(chunk, {
        attempts,
        why: failure ?? outcome,
        askFirst: outcome === "cancelled" || hasRefused ? null : target,
      });
    else this.#resting.delete(chunk);
    this.onEnd();
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

  /** A reader could not use this copy. Its worker reads it back, and only its own verdict counts. */
  async checkReplica(chunkId: ChunkId, workerId: NodeId): Promise<void> {
    const { metadata, orders, log } = this.#parts;
    const chunk = metadata.row("chunk", { chunkId });
    if (!chunk?.workers.includes(workerId)) return;
    try {
      const { state } = await orders.verify(workerId, { chunkId, lengthBytes: chunk.lengthBytes, crc32: chunk.crc32 });
      log.info({ event: "replica-checked", chunk: chunkId, worker: workerId, state }, "copy checked");
      if (state === "good") return;
      await this.#parts.metadata.propose({ type: "MARK_REPLICAS", replicas: [{ chunkId, workerId, state }] });
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
