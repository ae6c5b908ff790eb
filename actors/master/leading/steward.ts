/**
 * Keeps every chunk at its factor: knows what each replica set needs (`verdicts.ts`), and has done what
 * `rules/redundancy/repair-plan.ts` plans. The host of the `steward` machine; copies are carried out in `repairs.ts`.
 *
 * There is no queue of broken chunks to lose or to outgrow memory: replica sets say how many chunks are how badly off,
 * and each round plans anew from the worst.
 */
import { type Actor, createActor } from "xstate";
import type { Config } from "../../messages/config.ts";
import type { ChunkId, NodeId } from "../../messages/primitives.ts";
import type { Clock } from "../../node/clock.ts";
import type { Logger } from "../../node/log.ts";
import { inspector } from "../../node/record/inspector.ts";
import { recorder } from "../../node/record/running-recorder.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import type { ReplicaSetRow } from "../../rules/decide/rows.ts";
import { classifyReplicas, type Verdict } from "../../rules/redundancy/classify.ts";
import { massSilence } from "../../rules/redundancy/mass-silence.ts";
import {
  type PlannedCopy,
  type PlannedDrop,
  planRepairs,
  type RepairPlan,
} from "../../rules/redundancy/repair-plan.ts";
import type { MetadataPort } from "../metadata-port.ts";
import { Housekeeping } from "./housekeeping.ts";
import type { Orders } from "./orders.ts";
import { Repairs } from "./repairs.ts";
import { stewardMachine } from "./steward.machine.ts";
import { Verdicts } from "./verdicts.ts";
import { PULSE_MS, type WorkerRegistry } from "./worker-registry.ts";

/** How often the record says how many chunks have how many copies, if it changed. */
const SAMPLE_MS = 200;
/** Between rounds that are asked for, the leader has this many times as long for other things as the last one took. */
const REST_PER_ROUND = 4;

const patrolling = declareWork("steward");

interface Parts {
  config: Config;
  metadata: MetadataPort;
  workers: WorkerRegistry;
  orders: Orders;
  clock: Clock;
  log: Logger;
  /** Uniform in [0, 1). Left out: Math.random. */
  random?: () => number;
}

export class Steward {
  readonly #parts: Parts;
  /** Of the office that this belongs to, whatever the metadata's may be by now. */
  readonly #term: number;
  readonly #machine: Actor<typeof stewardMachine>;
  readonly repairs: Repairs;
  readonly verdicts: Verdicts;
  readonly #housekeeping: Housekeeping;
  readonly #stopSampling: (() => void) | undefined;
  #timer: unknown;
  #isNudged = false;
  #lastRound = { endedAt: Number.NEGATIVE_INFINITY, tookMs: 0 };
  /** Why repairs wait. */
  #silence: string | null = null;
  /** Silent workers whose return has been waited for long enough. */
  #givenUp = new Set<NodeId>();
  /** Why the last round began no copies of some sets. */
  #waits: Pick<RepairPlan, "waiting" | "othersWait"> = { waiting: new Map(), othersWait: null };

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#term = parts.metadata.term;
    this.verdicts = new Verdicts(parts);
    this.repairs = new Repairs(parts);
    this.repairs.onEnd = () => this.nudge();
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
      parts.log.info({ event: "steward-state", state: value }, "steward changed state");
    });
    this.#machine.start();
    this.#tickOn();
    this.#stopSampling = recorder()?.sample("redundancy", SAMPLE_MS, () => this.verdicts.now().tally.redundancy());
  }

  get state(): string {
    return this.#machine.getSnapshot().value;
  }

  /** What fell silent at once, in words, while repairs wait for it. */
  get pausedBecause(): string | null {
    return this.state === "paused" ? this.#silence : null;
  }

  #plan(): RepairPlan {
    const { config, metadata, workers, random = Math.random } = this.#parts;
    return planRepairs({
      judged: this.verdicts.now(),
      workers: workers.seenByRepair(),
      layouts: workers.layouts,
      chunksOf: (setId, afterId, limit) => metadata.queries.chunksOfSet(setId, afterId, limit),
      ...this.repairs.view(),
      limits: config.repair,
      random,
    });
  }

  /** What is being done for a chunk, or why nothing is yet, in words; null: nothing is amiss. */
  repairOf(chunkId: ChunkId, setId: number): string | null {
    const isShort = this.verdicts.now().get(setId)?.verdict.need === "copy";
    const waits = this.#waits.waiting.get(setId) ?? (isShort ? this.#waits.othersWait : null) ?? undefined;
    return this.repairs.stateOf(chunkId) ?? (waits === undefined ? null : `waits: ${waits}`);
  }

  #classify({ workers: holders, scheme }: Pick<ReplicaSetRow, "workers" | "scheme">): Verdict {
    const { workers } = this.#parts;
    const lookUp = (id: NodeId) => {
      const worker = workers.get(id);
      return worker && { liveness: workers.livenessOf(worker), mode: worker.mode };
    };
    return classifyReplicas(holders, lookUp, scheme);
  }

  /** Something may have become better or worse: look soon. */
  nudge(): void {
    if (this.#isNudged) return;
    this.#isNudged = true;
    const { endedAt, tookMs } = this.#lastRound;
    const restMs = endedAt + Math.min(PULSE_MS, REST_PER_ROUND * tookMs) - this.#parts.clock.now();
    // After a turn of the event loop at least: what a round does may ask for the next one.
    if (restMs > 0) this.#parts.clock.setTimeout(() => this.#tick(), restMs);
    else setImmediate(() => this.#tick());
  }

  #tickOn(): void {
    this.#timer = this.#parts.clock.setTimeout(() => {
      this.#tickOn();
      this.#tick();
      this.#compare();
    }, PULSE_MS);
  }

  #compare(): void {
    if (this.#machine.getSnapshot().status !== "stopped") this.verdicts.compare();
  }

  #tick(): void {
    patrolling.begins();
    this.#isNudged = false;
    if (this.#machine.getSnapshot().status === "stopped") return;
    const beganAt = this.#parts.clock.now();
    if (this.#parts.workers.pulse()) this.#machine.send({ type: "LEADER_WAS_LATE" });
    try {
      this.#patrol();
    } catch (err) {
      this.#parts.log.error({ event: "steward-failed", err }, "steward's round failed");
    }
    const endedAt = this.#parts.clock.now();
    this.#lastRound = { endedAt, tookMs: endedAt - beganAt };
  }

  #patrol(): void {
    const { workers, clock } = this.#parts;
    if (this.state === "safeMode" && workers.all().every(({ heardAt }) => heardAt !== null))
      this.#machine.send({ type: "ALL_REPORTED" });
    this.#watchForMassSilence();
    this.repairs.cancelPointless((chunk) => this.#classify(chunk));
    if (this.state === "safeMode" || this.state === "paused") return;
    const { tally } = this.verdicts.now();
    const isTrouble = tally.needing("copy") > 0 || tally.needing("trim") > 0;
    this.#machine.send({ type: isTrouble || this.repairs.size > 0 ? "TROUBLE" : "ALL_WELL" });
    const { steps, ...waits } = this.#plan();
    this.#waits = waits;
    for (const step of steps) this.#begin(step);
    this.#housekeeping.tick(clock.now());
  }

  #begin(step: PlannedCopy | PlannedDrop): void {
    if (step.do === "drop") return void this.#drop(step);
    if (step.purpose !== "redundancy") this.#machine.send({ type: step.purpose === "spread" ? "TROUBLE" : "UNEVEN" });
    this.repairs.start(step);
  }

  async #drop({ chunkId, workerId, keep }: PlannedDrop): Promise<void> {
    const { metadata, log } = this.#parts;
    try {
      await metadata.propose({ type: "DROP_REPLICA", term: this.#term, chunkId, workerId, keep });
    } catch (err) {
      log.info({ event: "trim-refused", chunk: chunkId, worker: workerId, err }, "extra copy not dropped");
    }
  }

  #watchForMassSilence(): void {
    const workers = this.#parts.workers
      .all()
      .filter(({ mode }) => mode === "active" || mode === "draining")
      .map((worker) => ({
        id: worker.id,
        zone: worker.zone,
        isSilent: ["suspect", "dead"].includes(this.#parts.workers.livenessOf(worker)),
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

  /** Copies that their worker, or its silence, has shown to be bad: no longer counted. */
  async markReplicas(replicas: { chunkId: ChunkId; workerId: NodeId; state: "corrupt" | "missing" }[]): Promise<void> {
    if (replicas.length === 0) return;
    await this.#parts.metadata.propose({ type: "MARK_REPLICAS", replicas });
    this.nudge();
  }

  stop(): void {
    this.#parts.clock.clearTimeout(this.#timer);
    this.#stopSampling?.();
    this.verdicts.stop();
    this.repairs.stop();
    this.#machine.stop();
  }
}
