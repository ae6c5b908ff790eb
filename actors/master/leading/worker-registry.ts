/**
 * The leader's memory of the workers: one liveness actor each, and what their last heartbeats said. Only the transitions
 * go into the log (joined, dead, back); the rest is gone with the leader and comes back within a heartbeat.
 */
import { type Actor, createActor } from "xstate";
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId, NodeId, WorkerCondition, WorkerMode } from "../../messages/primitives.ts";
import type { Heartbeat } from "../../messages/worker-reports.ts";
import type { Clock } from "../../node/clock.ts";
import type { Logger } from "../../node/log.ts";
import { inspector } from "../../node/record/inspector.ts";
import { lastIdOf, OWN_GROUP } from "../../rules/chunk-id.ts";
import type { WorkerRow } from "../../rules/decide/rows.ts";
import { Layouts } from "../../rules/redundancy/layouts.ts";
import type { Candidate } from "../../rules/redundancy/placement.ts";
import type { RepairWorker } from "../../rules/redundancy/repair-plan.ts";
import type { MetadataPort } from "../metadata-port.ts";
import { livenessMachine } from "./liveness.machine.ts";

export interface KnownWorker {
  id: NodeId;
  url: string;
  zone: string;
  incarnation: string;
  mode: WorkerMode;
  /** What the worker itself knows of that. */
  knownMode: WorkerMode;
  /** 0 until it registers with this leader. */
  epoch: number;
  condition: WorkerCondition;
  capacityBytes: number;
  freeBytes: number;
  trashBytes: number;
  load: number;
  /** Chunks that it is copying to itself, as it last said; null: it never says. */
  copying: readonly ChunkId[] | null;
  /** Chunks being written there, and chunks sealed there, as it last said. */
  openChunks: number;
  chunkCount: number;
  /** What it holds has been compared with the metadata, whole, since it registered with this leader. */
  isProven: boolean;
  /** Chunk ids below this have been compared in the round under way. */
  comparedUpTo: number;
  /** Monotonic; null: not heard by this leader. */
  heardAt: number | null;
  /** What the log says of it. */
  recorded: WorkerRow["liveness"];
  reservations: { bytes: number; until: number }[];
  /** Chunks promised to it that it may not have counted yet: fewer with each heartbeat. */
  promisedChunks: number;
  actor: Actor<typeof livenessMachine>;
}

/** Space promised to a writer shows up in the worker's own figures by then, or never will. */
const RESERVED_FOR_MS = 20_000;
/** Every leader makes the same layouts. */
const LAYOUT_SEED = 0;
/** How often the leader looks around. */
export const PULSE_MS = 200;

interface Parts {
  config: Config;
  metadata: MetadataPort;
  clock: Clock;
  log: Logger;
}

export class WorkerRegistry {
  readonly #workers = new Map<NodeId, KnownWorker>();
  readonly #config: Config;
  readonly #metadata: MetadataPort;
  readonly #clock: Clock;
  readonly #log: Logger;
  #pulseAt: number;
  /** null: who is there, or where, has changed since. */
  #layouts: Layouts | null = null;
  /** Called after each change of a worker's liveness or mode. */
  onChange: () => void = () => {};

  constructor({ config, metadata, clock, log }: Parts) {
    this.#config = config;
    this.#metadata = metadata;
    this.#clock = clock;
    this.#log = log;
    this.#pulseAt = clock.now();
    for (const row of metadata.rows("workers", {})) if (row.mode !== "removed") this.#watch(row);
  }

  #watch(row: Omit<WorkerRow, "lostBelow">): KnownWorker {
    const { suspectAfterMs, deadAfterMs, safeModeMs } = this.#config;
    const machine = livenessMachine.provide({
      guards: { leaderIsLate: () => this.#isLate },
      actions: {
        declareLive: () => this.#declare(row.id, "live"),
        declareDead: () => this.#declare(row.id, "dead"),
      },
    });
    const input = { workerId: row.id, suspectAfterMs, deadAfterMs, graceMs: safeModeMs, deaths: 0, mode: row.mode };
    const actor = createActor(machine, {
      id: `liveness:${row.id}`,
      input,
      clock: this.#clock,
      inspect: inspector(),
    });
    const worker: KnownWorker = {
      id: row.id,
      url: row.url,
      zone: row.zone,
      incarnation: row.incarnation,
      mode: row.mode,
      knownMode: row.mode,
      epoch: 0,
      condition: "normal",
      capacityBytes: row.capacityBytes,
      freeBytes: row.capacityBytes,
      trashBytes: 0,
      load: 0,
      copying: null,
      openChunks: 0,
      chunkCount: 0,
      isProven: false,
      comparedUpTo: 0,
      heardAt: null,
      recorded: row.liveness,
      reservations: [],
      promisedChunks: 0,
      actor,
    };
    this.#workers.set(row.id, worker);
    this.#layouts = null;
    let seen = "";
    actor.subscribe((snapshot) => {
      const state = JSON.stringify(snapshot.value);
      if (state === seen) return;
      seen = state;
      this.#log.info({ event: "worker-state", worker: row.id, state: snapshot.value }, "worker changed state");
      this.onChange();
    });
    actor.start();
    actor.send({ type: "MODE", mode: row.mode });
    return worker;
  }

  /** The verdict goes into the log when it differs from what the log says. */
  #declare(workerId: NodeId, liveness: "live" | "dead"): void {
    const worker = this.#workers.get(workerId);
    if (!worker || worker.recorded === liveness) return;
    worker.recorded = liveness;
    this.#metadata
      .propose({ type: "SET_WORKER_LIVENESS", workerId, liveness })
      .catch((err) =>
        this.#log.warn({ event: "liveness-not-recorded", worker: workerId, err }, "liveness not recorded"),
      );
  }

  get(workerId: NodeId): KnownWorker | undefined {
    return this.#workers.get(workerId);
  }

  all(): KnownWorker[] {
    return [...this.#workers.values()];
  }

  livenessOf(worker: KnownWorker): Candidate["liveness"] {
    const { heard } = worker.actor.getSnapshot().value;
    return typeof heard === "object" ? "live" : (heard as Candidate["liveness"]);
  }

  /**
   * In one word, the one that matters most.
   *
   * @param expected chunks that the metadata expects there; for a draining worker that has none left, and neither writes
   *   nor holds one that may still be committed, the word is `drained`
   * @param freed of what it holds, chunks that only wait for the trash
   */
  stateOf(
    worker: KnownWorker,
    { expected, freed }: { expected: number; freed: number } = { expected: 1, freed: 0 },
  ): string {
    const liveness = this.livenessOf(worker);
    if (liveness !== "live") return liveness === "unknown" || worker.mode !== "maintenance" ? liveness : "maintenance";
    const holdsNothing = expected === 0 && worker.openChunks === 0 && worker.chunkCount <= freed;
    if (worker.mode === "draining" && worker.knownMode === "draining" && holdsNothing) return "drained";
    if (worker.mode !== "active") return worker.mode;
    return worker.condition === "normal" ? "live" : worker.condition;
  }

  /** A worker that came, came back, moved, or lost its disk. Its registration is in the log before it is answered. */
  async register(
    worker: Omit<WorkerRow, "liveness" | "mode" | "lostBelow"> & { epoch: number; freeBytes: number },
  ): Promise<KnownWorker> {
    const known = this.#workers.get(worker.id);
    const elsewhere = known && known.url !== worker.url && known.heardAt !== null && this.livenessOf(known) === "live";
    if (elsewhere && known.epoch >= worker.epoch)
      throw new Refusal("WRONG_NODE", `${worker.id} is alive at ${known.url}; two workers cannot share an id`);
    const unchanged =
      known && known.url === worker.url && known.zone === worker.zone && known.incarnation === worker.incarnation;
    if (!unchanged || known.capacityBytes !== worker.capacityBytes)
      await this.#metadata.propose({
        type: "REGISTER_WORKER",
        workerId: worker.id,
        url: worker.url,
        zone: worker.zone,
        incarnation: worker.incarnation,
        capacityBytes: worker.capacityBytes,
      });
    const entry = this.#workers.get(worker.id) ?? this.#watch({ ...worker, liveness: "live", mode: "active" });
    Object.assign(entry, {
      url: worker.url,
      zone: worker.zone,
      incarnation: worker.incarnation,
      epoch: worker.epoch,
      capacityBytes: worker.capacityBytes,
      freeBytes: worker.freeBytes,
      heardAt: this.#clock.now(),
      isProven: false,
      comparedUpTo: 0,
      recorded: unchanged ? entry.recorded : "live",
    });
    if (!unchanged) this.#layouts = null;
    entry.actor.send({ type: "HEARTBEAT" });
    return entry;
  }

  /** @throws UNKNOWN_WORKER if it must register first */
  heartbeat(message: Heartbeat): KnownWorker {
    const worker = this.#workers.get(message.workerId);
    if (!worker || worker.incarnation !== message.incarnation || worker.epoch !== message.epoch)
      throw new Refusal("UNKNOWN_WORKER", `${message.workerId} has not registered with this leader`);
    worker.condition = message.condition;
    worker.capacityBytes = message.capacityBytes;
    worker.freeBytes = message.freeBytes;
    worker.trashBytes = message.trashBytes;
    worker.load = message.load;
    worker.copying = message.copying ?? null;
    worker.knownMode = message.mode;
    worker.openChunks = message.openChunks;
    worker.chunkCount = message.chunkCount;
    worker.promisedChunks = Math.floor(worker.promisedChunks / 2);
    worker.heardAt = this.#clock.now();
    worker.actor.send({ type: "HEARTBEAT" });
    return worker;
  }

  async setMode(workerId: NodeId, mode: WorkerMode): Promise<void> {
    const worker = this.#workers.get(workerId);
    if (!worker) return;
    worker.mode = mode;
    worker.actor.send({ type: "MODE", mode });
    if (mode === "removed") {
      worker.actor.stop();
      this.#workers.delete(workerId);
      this.#layouts = null;
    }
    this.onChange();
  }

  /**
   * A worker's inventory and the metadata agree over the chunk ids `fromId` … `toId`. Once they have been found to agree
   * over all ids of these masters, page after page, its copies count as proof where another one is given up.
   */
  noteCompared(worker: KnownWorker, fromId: number, toId: number): void {
    if (fromId !== 0 && fromId !== worker.comparedUpTo) return;
    worker.comparedUpTo = toId + 1;
    if (toId >= lastIdOf(OWN_GROUP)) worker.isProven = true;
  }

  /**
   * To be called every `PULSE_MS`: says that the leader runs. If it did not for a while, no worker's silence counts.
   *
   * @returns whether it was late
   */
  pulse(): boolean {
    const wasLate = this.#isLate;
    this.#pulseAt = this.#clock.now();
    if (wasLate) for (const worker of this.#workers.values()) worker.actor.send({ type: "LEADER_WAS_LATE" });
    return wasLate;
  }

  get #isLate(): boolean {
    return this.#clock.now() - this.#pulseAt > PULSE_MS + this.#config.suspectAfterMs / 2;
  }

  /** The combinations of these workers that chunks go to. */
  get layouts(): Layouts {
    this.#layouts ??= new Layouts(this.all(), LAYOUT_SEED);
    return this.#layouts;
  }

  /** The workers as placement sees them. */
  candidates(): Candidate[] {
    const now = this.#clock.now();
    return this.all().map((worker) => this.#candidate(worker, now));
  }

  #candidate(worker: KnownWorker, now: number): Candidate {
    worker.reservations = worker.reservations.filter(({ until }) => until > now);
    return {
      id: worker.id,
      zone: worker.zone,
      liveness: this.livenessOf(worker),
      mode: worker.mode === "active" ? worker.knownMode : worker.mode,
      condition: worker.condition,
      freeBytes: worker.freeBytes,
      capacityBytes: worker.capacityBytes,
      reservedBytes: worker.reservations.reduce((sum, { bytes }) => sum + bytes, 0),
      load: worker.load,
      chunkCount: worker.chunkCount + worker.promisedChunks,
    };
  }

  /** The workers as a plan of repairs sees them. */
  seenByRepair(): RepairWorker[] {
    const now = this.#clock.now();
    return this.all().map((worker) => ({
      ...this.#candidate(worker, now),
      state: this.stateOf(worker),
      isSure: worker.isProven && worker.condition !== "readOnly",
    }));
  }

  /** Promises space for a chunk, so that writers who ask at the same time do not all get the same. */
  reserve(workerId: NodeId, bytes: number): void {
    const worker = this.#workers.get(workerId);
    if (!worker) return;
    worker.promisedChunks++;
    const { reservations } = worker;
    const until = Math.ceil((this.#clock.now() + RESERVED_FOR_MS) / 1000) * 1000;
    const latest = reservations.at(-1);
    if (latest?.until === until) latest.bytes += bytes;
    else reservations.push({ bytes, until });
  }

  stop(): void {
    for (const { actor } of this.#workers.values()) actor.stop();
  }
}
