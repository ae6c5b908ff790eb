/**
 * Keeps every chunk at its factor: looks at all of them, by replica set, and decides what is done next. The host of the
 * `steward` machine; the copies themselves are the repair crew's.
 *
 * There is no queue of broken chunks to lose or to outgrow memory: replica sets say how many chunks are how badly off,
 * and whenever a repair slot is free the next chunk is taken from the worst set.
 */
import { type Actor, createActor } from "xstate";
import type { MetadataQueries } from "../../../databases/metadata/queries.ts";
import type { Metadata } from "../../../databases/metadata/sqlite-metadata.ts";
import type { Config } from "../../messages/config.ts";
import type { ChunkId, NodeId } from "../../messages/primitives.ts";
import type { Clock } from "../../node/clock.ts";
import type { Logger } from "../../node/log.ts";
import { inspector } from "../../node/record/inspector.ts";
import { recorder } from "../../node/record/recorder.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import type { ReplicaSetRow } from "../../rules/decide/rows.ts";
import {
  betterZones,
  chooseTrim,
  classifyReplicas,
  type JudgedSet,
  redundancyOf,
  type Verdict,
} from "../../rules/redundancy/classify.ts";
import { massSilence } from "../../rules/redundancy/mass-silence.ts";
import { evensOut, rejection } from "../../rules/redundancy/placement.ts";
import { piecesOf } from "../../rules/redundancy/scheme.ts";
import type { MetadataEngine } from "../group/raft-metadata.ts";
import { Housekeeping } from "./housekeeping.ts";
import type { Orders } from "./orders.ts";
import { RepairCrew } from "./repairs.ts";
import { stewardMachine } from "./steward.machine.ts";
import { PULSE_MS, type WorkerRegistry } from "./worker-registry.ts";

/** How often the record says how many chunks have how many copies, if it changed. */
const SAMPLE_MS = 200;
/** Chunks looked at per set and tick; those under way or resting are skipped. */
const LOOKED_AT = 64;
const TRIMMED_PER_TICK = 32;
/** Fill of the fullest and the emptiest worker may differ by this share of their capacity. */
const UNEVEN_SHARE = 0.1;

const patrolling = declareWork("steward");

export class Steward {
  readonly #config: Config;
  readonly #engine: MetadataEngine;
  readonly #queries: MetadataQueries;
  readonly #workers: WorkerRegistry;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Of the office that this belongs to, whatever the engine's may be by now. */
  readonly #term: number;
  readonly #machine: Actor<typeof stewardMachine>;
  readonly crew: RepairCrew;
  readonly #housekeeping: Housekeeping;
  readonly #stopSampling: (() => void) | undefined;
  #timer: unknown;
  #isNudged = false;
  /** Why repairs wait. */
  #silence: string | null = null;
  /** Silent workers whose return has been waited for long enough. */
  #givenUp = new Set<NodeId>();

  constructor(parts: {
    config: Config;
    engine: MetadataEngine;
    metadata: Metadata;
    queries: MetadataQueries;
    workers: WorkerRegistry;
    orders: Orders;
    clock: Clock;
    log: Logger;
  }) {
    this.#config = parts.config;
    this.#engine = parts.engine;
    this.#queries = parts.queries;
    this.#workers = parts.workers;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#term = parts.engine.term;
    this.crew = new RepairCrew(parts);
    this.crew.onEnd = () => this.nudge();
    this.#housekeeping = new Housekeeping(parts);
    this.#machine = createActor(stewardMachine, {
      id: "steward",
      input: { safeModeMs: parts.config.safeModeMs, pauseMs: parts.config.repair.massSilenceMs },
      clock: parts.clock,
      inspect: inspector(),
    });
    let seen = "";
    this.#machine.subscribe(({ value }) => {
      if (value === seen) return;
      seen = value;
      this.#log.info({ event: "steward-state", state: value }, "steward changed state");
    });
    this.#machine.start();
    this.#tickOn();
    this.#stopSampling = recorder()?.sample("redundancy", SAMPLE_MS, () => redundancyOf(this.judge()));
  }

  get state(): string {
    return this.#machine.getSnapshot().value;
  }

  /** What fell silent at once, in words, while repairs wait for it. */
  get pausedBecause(): string | null {
    return this.state === "paused" ? this.#silence : null;
  }

  /** Every replica set with its verdict, as the workers are now. */
  judge(): JudgedSet[] {
    return this.#queries
      .replicaSets()
      .filter((set) => set.chunkCount > 0)
      .map((set) => ({ set, verdict: this.#classify(set) }));
  }

  #classify({ workers, scheme }: Pick<ReplicaSetRow, "workers" | "scheme">): Verdict {
    const lookUp = (id: NodeId) => {
      const worker = this.#workers.get(id);
      return worker && { liveness: this.#workers.livenessOf(worker), mode: worker.mode };
    };
    return classifyReplicas(workers, lookUp, scheme);
  }

  readonly #zoneOf = (id: NodeId): string | undefined => this.#workers.get(id)?.zone;

  shareAZone({ lasting }: Verdict): boolean {
    return new Set(lasting.map(this.#zoneOf)).size < lasting.length;
  }

  /** Something may have become better or worse: look soon. */
  nudge(): void {
    if (this.#isNudged) return;
    this.#isNudged = true;
    // After a turn of the event loop: what a round does may ask for the next one.
    setImmediate(() => this.#tick());
  }

  #tickOn(): void {
    this.#timer = this.#clock.setTimeout(() => {
      this.#tickOn();
      this.#tick();
    }, PULSE_MS);
  }

  #tick(): void {
    patrolling.begins();
    this.#isNudged = false;
    if (this.#machine.getSnapshot().status === "stopped") return;
    if (this.#workers.pulse()) this.#machine.send({ type: "LEADER_WAS_LATE" });
    try {
      this.#patrol(this.#clock.now());
    } catch (err) {
      this.#log.error({ event: "steward-failed", err }, "steward's round failed");
    }
  }

  #patrol(now: number): void {
    if (this.state === "safeMode" && this.#workers.all().every(({ heardAt }) => heardAt !== null))
      this.#machine.send({ type: "ALL_REPORTED" });
    this.#watchForMassSilence();
    this.crew.cancelPointless((chunk) => this.#classify(chunk));
    if (this.state === "safeMode" || this.state === "paused") return;

    const judged = this.judge();
    const toCopy = judged
      .filter(({ verdict }) => verdict.need === "copy")
      .sort((a, b) => a.verdict.durable.length - b.verdict.durable.length || a.set.id - b.set.id);
    const toTrim = judged.filter(({ verdict }) => verdict.need === "trim");
    if (toCopy.length > 0 || toTrim.length > 0 || this.crew.size > 0) this.#machine.send({ type: "TROUBLE" });
    else this.#machine.send({ type: "ALL_WELL" });

    for (const { set, verdict } of toCopy) {
      if (this.crew.isFull) break;
      this.#repairSome(set, verdict);
    }
    this.#trimSome(toTrim);
    this.#spreadSome(judged);
    if (toCopy.length === 0 && toTrim.length === 0) this.#rebalance(judged);
    this.#housekeeping.tick(now);
  }

  #watchForMassSilence(): void {
    const workers = this.#workers
      .all()
      .filter(({ mode }) => mode === "active" || mode === "draining")
      .map((worker) => ({
        id: worker.id,
        zone: worker.zone,
        isSilent: ["suspect", "dead"].includes(this.#workers.livenessOf(worker)),
      }));
    const silent = new Set(workers.filter(({ isSilent }) => isSilent).map(({ id }) => id));
    if (this.#silence !== null && this.state !== "paused") this.#givenUp = new Set(silent);
    for (const id of this.#givenUp) if (!silent.has(id)) this.#givenUp.delete(id);
    this.#silence = massSilence(
      workers.map((worker) => ({ ...worker, isSilent: worker.isSilent && !this.#givenUp.has(worker.id) })),
    );
    if (this.#silence !== null && this.state !== "paused") this.#machine.send({ type: "PAUSE" });
    if (this.#silence === null && this.state === "paused") this.#machine.send({ type: "RESUME" });
  }

  // ── copies ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #repairSome(set: JudgedSet["set"], verdict: Verdict): void {
    const missing = set.workers.filter((id) => !verdict.lasting.includes(id));
    const wanted = piecesOf(set.scheme);
    const reason =
      missing.length > 0
        ? `${verdict.lasting.length} of ${wanted} copies: ${missing.map((id) => this.#because(id)).join(", ")}`
        : `${verdict.lasting.length} of ${wanted} copies were made`;
    let after = 0;
    for (let page = 0; page < 16; page++) {
      const chunks = this.#queries.chunksOfSet(set.id, after, LOOKED_AT);
      for (const chunk of chunks) {
        after = chunk.id;
        if (this.crew.isFull) return;
        if (this.crew.isTaken(chunk.id)) continue;
        if (!this.crew.start(chunk, verdict, { purpose: "redundancy", reason })) return;
      }
      if (chunks.length < LOOKED_AT) return;
    }
  }

  #because(workerId: NodeId): string {
    const worker = this.#workers.get(workerId);
    return `${workerId} is ${worker ? this.#workers.stateOf(worker) : "gone"}`;
  }

  // ── too many copies ──────────────────────────────────────────────────────────────────────────────────────────────

  #trimSome(judged: JudgedSet[]): void {
    let left = TRIMMED_PER_TICK;
    for (const { set, verdict } of judged) {
      const wanted = piecesOf(set.scheme);
      const durable = verdict.durable.flatMap((id) => {
        const worker = this.#workers.get(id);
        if (!worker || this.#workers.livenessOf(worker) !== "live") return [];
        return [
          { id, zone: worker.zone, mode: worker.mode, freeShare: worker.freeBytes / Math.max(1, worker.capacityBytes) },
        ];
      });
      if (durable.length <= wanted) continue;
      const workerId = chooseTrim(durable);
      if (workerId === null) continue;
      const keep = durable
        .map(({ id }) => id)
        .filter((id) => id !== workerId && verdict.lasting.includes(id) && this.#isSure(id));
      if (keep.length < wanted) continue;
      for (const { id: chunkId } of this.#queries.chunksOfSet(set.id, 0, left)) {
        left--;
        this.#engine
          .propose({ type: "DROP_REPLICA", term: this.#term, chunkId, workerId, keep })
          .catch((err) =>
            this.#log.info({ event: "trim-refused", chunk: chunkId, worker: workerId, err }, "copy kept"),
          );
      }
      if (left <= 0) return;
    }
  }

  /** It has told this leader what it holds, on a disk that works. */
  #isSure(id: NodeId): boolean {
    const { isProven = false, condition } = this.#workers.get(id) ?? {};
    return isProven && condition !== "readOnly";
  }

  // ── zones ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * A copy more in another zone, where two had to share one when they were made; the trim then takes one of those. Only
   * with what repairs leave of the crew's time.
   */
  #spreadSome(judged: JudgedSet[]): void {
    if (this.crew.isFull) return;
    const anything = { count: 1, sizeBytes: 0, exclude: new Set<NodeId>(), holders: new Set<NodeId>() };
    const taking = this.#workers
      .candidates()
      .filter((worker) => worker.liveness === "live" && rejection(worker, anything) === null);
    const open = new Set(taking.map(({ zone }) => zone));
    for (const { set, verdict } of judged) {
      if (verdict.need !== "healthy") continue;
      const better = betterZones(verdict.lasting, this.#zoneOf, open);
      if (better.size === 0) continue;
      const among = new Set(taking.filter(({ zone }) => better.has(zone)).map(({ id }) => id));
      for (const chunk of this.#queries.chunksOfSet(set.id, 0, LOOKED_AT)) {
        if (this.crew.isFull) return;
        if (this.crew.isTaken(chunk.id)) continue;
        this.#machine.send({ type: "TROUBLE" });
        const reason = "two of its copies share a zone, and another zone has room";
        if (!this.crew.start(chunk, verdict, { purpose: "spread", reason, among })) break;
      }
    }
  }

  // ── evenness ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Moves a chunk from the fullest worker to the emptiest: one more copy there, and the trim takes the one here. */
  #rebalance(judged: JudgedSet[]): void {
    if (this.crew.size >= Math.max(1, this.#config.repair.maxConcurrent / 2)) return;
    const workers = this.#workers
      .candidates()
      .filter((worker) => worker.mode === "active" && worker.liveness === "live")
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
        .find(
          ({ id, lengthBytes }) => evensOut(fullest.worker, emptiest.worker, lengthBytes) && !this.crew.isTaken(id),
        );
      if (!chunk) continue;
      this.#machine.send({ type: "UNEVEN" });
      const reason = `${fullest.worker.id} is ${Math.round(fullest.used * 100)} % full, ${emptiest.worker.id} ${Math.round(emptiest.used * 100)} %`;
      this.crew.start(chunk, verdict, { purpose: "evenness", reason, among: new Set([emptiest.worker.id]) });
      return;
    }
  }

  /** Copies that their worker, or its silence, has shown to be bad: no longer counted. */
  async markReplicas(replicas: { chunkId: ChunkId; workerId: NodeId; state: "corrupt" | "missing" }[]): Promise<void> {
    if (replicas.length === 0) return;
    await this.#engine.propose({ type: "MARK_REPLICAS", replicas });
    this.nudge();
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer);
    this.#stopSampling?.();
    this.crew.stop();
    this.#machine.stop();
  }
}
