/**
 * Keeps every chunk at its factor. The host of the `steward` machine and of one `repair` machine per chunk under way.
 *
 * There is no queue of broken chunks to lose or to outgrow memory: replica sets say how many chunks are how badly off,
 * and whenever a repair slot is free the next chunk is taken from the worst set.
 */
import { type Actor, createActor } from "xstate";
import type { Metadata } from "../../databases/metadata.ts";
import type { MetadataQueries } from "../../databases/metadata-queries.ts";
import type { Config } from "../messages/config.ts";
import { Refusal } from "../messages/errors.ts";
import type { ChunkId, NodeId } from "../messages/primitives.ts";
import type { Logger } from "../node/log.ts";
import { inspector, recorder } from "../node/recorder.ts";
import { chooseTrim, classifyReplicas, type Verdict } from "../rules/classify-replicas.ts";
import { type ReplicaSetRow, splitWorkers } from "../rules/decide/state.ts";
import { choose } from "../rules/placement.ts";
import type { MetadataEngine } from "./engine.ts";
import type { Orders } from "./orders.ts";
import { type Repair, repairMachine } from "./repair.machine.ts";
import { redundancyOf } from "./reports.ts";
import { stewardMachine } from "./steward.machine.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

const TICK_MS = 200;
/** How often the record says how many chunks have how many copies, if it changed. */
const SAMPLE_MS = 200;
/** Chunks looked at per set and tick; those under way or resting are skipped. */
const LOOKED_AT = 64;
const COPY_TIMEOUT_MS = 10 * 60_000;
/** A chunk whose repair failed rests this long, longer each time. */
const REST_MS = 2_000;
const MOST_REST_MS = 60_000;
const MOST_RESTING = 10_000;
const TRASHED_AT_ONCE = 500;
const TRIMMED_PER_TICK = 32;
const CHORES_EVERY_MS = 1_000;
const SESSION_IDLE_MS = 3_600_000;
/** So many workers silent at once is not so many broken disks: wait for a person, or for their return. */
const MASS_SILENCE_SHARE = 0.5;
/** Fill of the fullest and the emptiest worker may differ by this share of their capacity. */
const UNEVEN_SHARE = 0.1;

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

/** One replica set with what it needs. */
export interface JudgedSet {
  set: ReplicaSetRow;
  verdict: Verdict;
}

export class Steward {
  readonly #config: Config;
  readonly #engine: MetadataEngine;
  readonly #metadata: Metadata;
  readonly #queries: MetadataQueries;
  readonly #workers: WorkerRegistry;
  readonly #orders: Orders;
  readonly #log: Logger;
  readonly #machine: Actor<typeof stewardMachine>;
  readonly #active = new Map<ChunkId, ActiveRepair>();
  readonly #resting = new Map<ChunkId, { attempts: number; until: number; why: string }>();
  readonly #trashing = new Set<NodeId>();
  readonly #timer: Timer;
  readonly #stopSampling: (() => void) | undefined;
  #lastTick = performance.now();
  #lastChores = 0;
  #busyWithChores = false;
  #healed = 0;
  #failed = 0;

  constructor(parts: {
    config: Config;
    engine: MetadataEngine;
    metadata: Metadata;
    queries: MetadataQueries;
    workers: WorkerRegistry;
    orders: Orders;
    log: Logger;
  }) {
    this.#config = parts.config;
    this.#engine = parts.engine;
    this.#metadata = parts.metadata;
    this.#queries = parts.queries;
    this.#workers = parts.workers;
    this.#orders = parts.orders;
    this.#log = parts.log;
    this.#machine = createActor(stewardMachine, {
      id: "steward",
      input: { safeModeMs: parts.config.safeModeMs },
      inspect: inspector(),
    });
    let seen = "";
    this.#machine.subscribe(({ value }) => {
      if (value === seen) return;
      seen = value;
      this.#log.info({ event: "steward-state", state: value }, "steward changed state");
    });
    this.#machine.start();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#stopSampling = recorder()?.sample("redundancy", SAMPLE_MS, () => redundancyOf(this.judge()));
  }

  get state(): string {
    return this.#machine.getSnapshot().value;
  }

  get counters(): { healed: number; failed: number } {
    return { healed: this.#healed, failed: this.#failed };
  }

  /** Every replica set with its verdict, as the workers are now. */
  judge(): JudgedSet[] {
    return this.#queries
      .replicaSets()
      .filter((set) => set.chunk_count > 0)
      .map((set) => ({ set, verdict: this.#classify(set) }));
  }

  #classify({ workers, target }: { workers: string; target: number }): Verdict {
    const lookUp = (id: NodeId) => {
      const worker = this.#workers.get(id);
      return worker && { liveness: this.#workers.livenessOf(worker), mode: worker.mode };
    };
    return classifyReplicas(splitWorkers(workers), lookUp, target);
  }

  repairs(): RepairView[] {
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

  repairOf(chunkId: ChunkId): string | null {
    const active = this.#active.get(chunkId);
    if (active) return active.actor.getSnapshot().value;
    const resting = this.#resting.get(chunkId);
    return resting ? `failed ${resting.attempts} times, rests: ${resting.why}` : null;
  }

  isTargetOf(chunkId: ChunkId, workerId: NodeId): boolean {
    return this.#active.get(chunkId)?.repair.targetId === workerId;
  }

  /** Something may have become better or worse: look soon. */
  nudge(): void {
    queueMicrotask(() => this.#tick());
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#lastTick > this.#config.suspectAfterMs / 2) this.#workers.leaderWasLate();
    this.#lastTick = now;
    try {
      this.#patrol(now);
    } catch (err) {
      this.#log.error({ event: "steward-failed", err }, "steward's round failed");
    }
  }

  #patrol(now: number): void {
    if (this.state === "safeMode" && this.#workers.all().every(({ heardAt }) => heardAt !== null))
      this.#machine.send({ type: "ALL_REPORTED" });
    this.#watchForMassSilence();
    if (this.state === "safeMode" || this.state === "paused") return;

    const judged = this.judge();
    const toCopy = judged
      .filter(({ verdict }) => verdict.need === "copy")
      .sort((a, b) => a.verdict.durable.length - b.verdict.durable.length || a.set.id - b.set.id);
    const toTrim = judged.filter(({ verdict }) => verdict.need === "trim");
    if (toCopy.length > 0 || toTrim.length > 0 || this.#active.size > 0) this.#machine.send({ type: "TROUBLE" });
    else this.#machine.send({ type: "ALL_WELL" });

    this.#cancelPointless();
    for (const { set, verdict } of toCopy) {
      if (this.#active.size >= this.#config.repair.maxConcurrent) break;
      this.#repairSome(set, verdict, now);
    }
    if (toCopy.length === 0) this.#trimSome(toTrim);
    if (toCopy.length === 0 && toTrim.length === 0) this.#rebalance(judged, now);
    if (now - this.#lastChores > CHORES_EVERY_MS) {
      this.#lastChores = now;
      void this.#chores();
    }
  }

  #watchForMassSilence(): void {
    const workers = this.#workers.all().filter(({ mode }) => mode === "active" || mode === "draining");
    const silent = workers.filter((worker) => ["suspect", "dead"].includes(this.#workers.livenessOf(worker)));
    const massive = workers.length > 5 && silent.length / workers.length > MASS_SILENCE_SHARE;
    if (massive && this.state !== "paused") this.#machine.send({ type: "PAUSE" });
    if (!massive && this.state === "paused") this.#machine.send({ type: "RESUME" });
  }

  // ── copies ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #repairSome(set: ReplicaSetRow, verdict: Verdict, now: number): void {
    const missing = splitWorkers(set.workers).filter((id) => !verdict.lasting.includes(id));
    const reason =
      missing.length > 0
        ? `${verdict.lasting.length} of ${set.target} copies: ${missing.map((id) => this.#because(id)).join(", ")}`
        : `${verdict.lasting.length} of ${set.target} copies were made`;
    let after = 0;
    for (let page = 0; page < 16; page++) {
      const chunks = this.#queries.chunksOfSet(set.id, after, LOOKED_AT);
      for (const chunk of chunks) {
        after = chunk.id;
        if (this.#active.size >= this.#config.repair.maxConcurrent) return;
        const resting = this.#resting.get(chunk.id);
        if (this.#active.has(chunk.id) || (resting && resting.until > now)) continue;
        if (!this.#startCopy(chunk, verdict, reason)) return;
      }
      if (chunks.length < LOOKED_AT) return;
    }
  }

  #because(workerId: NodeId): string {
    const worker = this.#workers.get(workerId);
    return `${workerId} is ${worker ? this.#workers.stateOf(worker) : "gone"}`;
  }

  /** @returns false if no worker can take or give a copy now, so that the rest of the set need not be tried */
  #startCopy(
    chunk: { id: number; length: number; crc32: number },
    verdict: Verdict,
    reason: string,
    to?: NodeId,
  ): boolean {
    const { maxPerWorker } = this.#config.repair;
    const copiesBy = (id: NodeId, role: "from" | "to") =>
      [...this.#active.values()].filter(({ repair }) =>
        role === "to" ? repair.targetId === id : repair.sourceIds[0] === id,
      ).length;
    const sourceIds = verdict.durable
      .filter((id) => copiesBy(id, "from") < maxPerWorker)
      .sort((a, b) => copiesBy(a, "from") - copiesBy(b, "from"));
    if (sourceIds.length === 0) return false;
    const candidates = this.#workers.candidates();
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
    this.#workers.reserve(targetId, chunk.length);
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

  #run(repair: Repair, chunk: { id: number; length: number; crc32: number }): void {
    const abort = new AbortController();
    const { bytesPerSecond } = this.#config.repair;
    const fail = (error: unknown) => {
      if (!(error instanceof Refusal)) this.#log.error({ event: "repair-error", err: error }, "repair failed");
      actor.send({ type: "FAILED", reason: error instanceof Error ? error.message : String(error) });
    };
    const actor = createActor(
      repairMachine.provide({
        actions: {
          orderCopy: () => {
            this.#orders
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
            this.#engine
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
      this.#log.info(
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
      if (outcome === "healed") this.#healed++;
      if (outcome === "failed") this.#failed++;
      if (outcome === "failed" || outcome === "cancelled") this.#rest(chunk.id, repair.attempts, failure ?? outcome);
      else this.#resting.delete(chunk.id);
      this.nudge();
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
  #cancelPointless(): void {
    for (const { actor, repair } of [...this.#active.values()]) {
      const target = this.#workers.get(repair.targetId);
      if (!target || this.#workers.livenessOf(target) === "dead")
        actor.send({ type: "FAILED", reason: `${repair.targetId} is gone` });
      else if (
        actor.getSnapshot().matches("copying") &&
        repair.purpose === "redundancy" &&
        !this.#stillNeeded(repair.chunkId)
      )
        actor.send({ type: "CANCELLED", reason: "the chunk has its copies again, or is gone" });
    }
  }

  #stillNeeded(chunkId: ChunkId): boolean {
    const chunk = this.#metadata.row("chunk", chunkId);
    return chunk !== undefined && this.#classify(chunk).need === "copy";
  }

  // ── too many copies ──────────────────────────────────────────────────────────────────────────────────────────────

  #trimSome(judged: JudgedSet[]): void {
    let left = TRIMMED_PER_TICK;
    for (const { set, verdict } of judged) {
      const durable = verdict.durable.flatMap((id) => {
        const worker = this.#workers.get(id);
        if (!worker || this.#workers.livenessOf(worker) !== "live") return [];
        return [
          { id, zone: worker.zone, mode: worker.mode, freeShare: worker.freeBytes / Math.max(1, worker.capacityBytes) },
        ];
      });
      if (durable.length <= set.target) continue;
      const workerId = chooseTrim(durable);
      if (workerId === null) continue;
      const keep = durable.map(({ id }) => id).filter((id) => id !== workerId && verdict.lasting.includes(id));
      for (const { id: chunkId } of this.#queries.chunksOfSet(set.id, 0, left)) {
        left--;
        this.#engine
          .propose({ type: "DROP_REPLICA", chunkId, workerId, keep })
          .catch((err) =>
            this.#log.info({ event: "trim-refused", chunk: chunkId, worker: workerId, err }, "copy kept"),
          );
      }
      if (left <= 0) return;
    }
  }

  // ── evenness ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Moves a chunk from the fullest worker to the emptiest: one more copy there, and the trim takes the one here. */
  #rebalance(judged: JudgedSet[], now: number): void {
    if (this.#active.size >= Math.max(1, this.#config.repair.maxConcurrent / 2)) return;
    const workers = this.#workers
      .all()
      .filter((worker) => worker.mode === "active" && this.#workers.livenessOf(worker) === "live")
      .map((worker) => ({ worker, used: 1 - worker.freeBytes / Math.max(1, worker.capacityBytes) }))
      .sort((a, b) => b.used - a.used);
    const fullest = workers[0];
    const emptiest = workers.at(-1);
    if (!fullest || !emptiest || fullest.used - emptiest.used < UNEVEN_SHARE) return;
    if (emptiest.worker.condition !== "normal") return;
    for (const { set, verdict } of judged) {
      if (!verdict.durable.includes(fullest.worker.id) || verdict.durable.includes(emptiest.worker.id)) continue;
      const others = verdict.durable.filter((id) => id !== fullest.worker.id).map((id) => this.#workers.get(id)?.zone);
      if (others.includes(emptiest.worker.zone) && fullest.worker.zone !== emptiest.worker.zone) continue;
      const chunk = this.#queries
        .chunksOfSet(set.id, 0, LOOKED_AT)
        .find(({ id }) => !this.#active.has(id) && (this.#resting.get(id)?.until ?? 0) <= now);
      if (!chunk) continue;
      this.#machine.send({ type: "UNEVEN" });
      const reason = `${fullest.worker.id} is ${Math.round(fullest.used * 100)} % full, ${emptiest.worker.id} ${Math.round(emptiest.used * 100)} %`;
      this.#startCopy(chunk, verdict, reason, emptiest.worker.id);
      return;
    }
  }

  // ── bad copies ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Somebody could not read this copy. Its worker reads it back, and only its own verdict counts. */
  async checkReplica(chunkId: ChunkId, workerId: NodeId): Promise<void> {
    const chunk = this.#metadata.row("chunk", chunkId);
    if (!chunk || !splitWorkers(chunk.workers).includes(workerId)) return;
    try {
      const { state } = await this.#orders.verify(workerId, { chunkId, lengthBytes: chunk.length, crc32: chunk.crc32 });
      this.#log.info({ event: "replica-checked", chunk: chunkId, worker: workerId, state }, "copy checked");
      if (state !== "good") await this.markReplicas([{ chunkId, workerId, state }]);
    } catch (err) {
      this.#log.warn(
        { event: "replica-check-failed", chunk: chunkId, worker: workerId, err },
        "copy could not be checked",
      );
    }
  }

  async markReplicas(replicas: { chunkId: ChunkId; workerId: NodeId; state: "corrupt" | "missing" }[]): Promise<void> {
    if (replicas.length === 0) return;
    await this.#engine.propose({ type: "MARK_REPLICAS", replicas });
    this.nudge();
  }

  // ── chores ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #chores(): Promise<void> {
    if (this.#busyWithChores) return;
    this.#busyWithChores = true;
    try {
      for (let round = 0; round < 64 && this.#metadata.row("graveyard"); round++) {
        const { more } = await this.#engine.propose({ type: "REAP_DELETED" });
        if (!more) break;
      }
      while (this.#queries.expiredCount(this.#engine.logTime) > 0) {
        const { more } = await this.#engine.propose({ type: "EXPIRE", sessionIdleMs: SESSION_IDLE_MS });
        if (!more) break;
      }
      for (const worker of this.#workers.all())
        if (this.#workers.livenessOf(worker) === "live") void this.#emptyGarbage(worker.id);
      this.#engine.compact();
    } catch (err) {
      this.#log.warn({ event: "chores-failed", err }, "chores failed");
    } finally {
      this.#busyWithChores = false;
    }
  }

  /** Freed chunks stay in place for readers under way, then go to their worker's trash. */
  async #emptyGarbage(workerId: NodeId): Promise<void> {
    if (this.#trashing.has(workerId)) return;
    this.#trashing.add(workerId);
    try {
      const freedBefore = this.#engine.logTime - this.#config.trash.deleteGraceMs;
      for (let round = 0; round < 16; round++) {
        const chunkIds = this.#queries.garbageOf(workerId, freedBefore, TRASHED_AT_ONCE);
        if (chunkIds.length === 0) return;
        const { trashed, absent } = await this.#orders.trash(workerId, chunkIds);
        const items = [...trashed, ...absent].map((chunkId) => ({ chunkId, workerId }));
        if (items.length === 0) return;
        await this.#engine.propose({ type: "FORGET_GARBAGE", items });
      }
    } catch (err) {
      this.#log.warn({ event: "trash-order-failed", worker: workerId, err }, "trash order failed; it will be repeated");
    } finally {
      this.#trashing.delete(workerId);
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stopSampling?.();
    for (const { actor, abort } of this.#active.values()) {
      abort.abort();
      actor.stop();
    }
    this.#machine.stop();
  }
}
