/**
 * The leader's own code over metadata of any size, with simulated workers: they beat in time, hold what the metadata says,
 * and carry out copies in a fixed time. Time is simulated, so an hour costs what the leader's work in it costs.
 */
import type { Orders } from "../../../actors/master/leading/orders.ts";
import type { Reconciliation } from "../../../actors/master/leading/reconciliation.ts";
import { Steward } from "../../../actors/master/leading/steward.ts";
import { WorkerRegistry } from "../../../actors/master/leading/worker-registry.ts";
import { WorkerReports } from "../../../actors/master/leading/worker-reports.ts";
import type { MetadataPort, TouchedSets } from "../../../actors/master/metadata-port.ts";
import type { SealedChunk } from "../../../actors/messages/chunk.ts";
import type { Config } from "../../../actors/messages/config.ts";
import type { Heartbeat } from "../../../actors/messages/worker-reports.ts";
import type { Clock } from "../../../actors/node/clock.ts";
import { loadConfig } from "../../../actors/node/config.ts";
import { createLogger } from "../../../actors/node/log.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { World } from "../../simulation/world.ts";
import { LogRunner } from "../../support/log-runner.ts";
import { pick } from "../../support/random.ts";
import { fillMetadata } from "./fill-metadata.ts";

export interface ClusterSize {
  workers: number;
  /** Workers are spread over them evenly. */
  zones: number;
  chunks: number;
  chunkBytes: number;
  /** Each of three workers in three zones; `free`: every three workers that there are. */
  sets: number | "free";
  copyMs: number;
  repair: Pick<Config["repair"], "maxConcurrent" | "maxPerWorker">;
  seed: number;
}

interface Worker {
  beat: Heartbeat;
  isDead: boolean;
}

/** A copy that was carried out. */
export interface MadeCopy {
  atMs: number;
  chunkId: number;
  /** Copies that counted when it was ordered. */
  goodCopies: number;
}

/** The world moves in steps of this, with turns of the event loop between them. ms */
const STEP_MS = 10;
const CAPACITY_BYTES = 100e12;

export class SimulatedCluster {
  readonly config: Config;
  readonly world: World;
  readonly store: SqliteMetadata;
  readonly workers = new Map<string, Worker>();
  readonly copies: MadeCopy[] = [];
  readonly metadata: MetadataPort;
  readonly #size: ClusterSize;
  readonly #clock: Clock;
  readonly #log: LogRunner<SqliteMetadata>;
  #registry!: WorkerRegistry;
  #reports!: WorkerReports;
  steward!: Steward;

  constructor(path: string, size: ClusterSize) {
    this.#size = size;
    const shipped = loadConfig();
    this.config = { ...shipped, repair: { ...shipped.repair, ...size.repair }, workers: [] };
    this.world = new World(size.seed);
    this.store = new SqliteMetadata(path);
    const { world } = this;
    this.#clock = {
      now: () => world.now,
      wallTime: () => 1e12 + world.now,
      setTimeout: (callback, ms) => world.schedule(ms, callback),
      clearTimeout: (handle) => {
        if (handle) world.cancel(handle as Parameters<World["cancel"]>[0]);
      },
    };
    this.#log = new LogRunner(this.store);
    this.metadata = this.#port();
  }

  /** Commands are applied at once: the masters' agreement is not what is looked at here. */
  #port(): MetadataPort {
    const { store, world } = this;
    const watchers = new Set<(touched: TouchedSets) => void>();
    store.onSetsTouched = (touched) => {
      for (const watcher of watchers) watcher(touched);
    };
    return {
      ...{ queries: store.queries, term: 1, appliedIndex: 0, version: store.version },
      get logTime() {
        return world.now;
      },
      row: (name, where) => store.row(name, where),
      rows: (name, where) => store.rows(name, where),
      ask: (question) => store.ask(question),
      members: () => ["master-1"],
      voters: () => ["master-1"],
      watchSets: (listener) => {
        watchers.add(listener);
        return () => watchers.delete(listener);
      },
      execute: () => Promise.reject(new Error("no client is here")),
      propose: async (command) => this.#log.accept(command),
      confirmRead: async () => {},
    };
  }

  /** Registers the workers, and fills in the chunks. */
  async fill(): Promise<void> {
    const { workers, zones, chunks, chunkBytes } = this.#size;
    for (let n = 1; n <= workers; n++) {
      const workerId = `w${n}`;
      this.#log.accept({
        ...{ type: "REGISTER_WORKER", workerId, url: `http://127.0.0.1:${n}`, zone: `zone-${n % zones}` },
        ...{ incarnation: "first", capacityBytes: CAPACITY_BYTES },
      });
    }
    const sets = this.#size.sets === "free" ? everyThree(workers) : this.#drawnSets(this.#size.sets);
    await fillMetadata(this.store, { files: chunks, filesPerDirectory: 1000, sets, chunkBytes, hasNames: false });
  }

  #drawnSets(count: number): string[][] {
    const { workers, zones } = this.#size;
    const random = this.world.random("sets");
    const all = Array.from({ length: workers }, (_, n) => n + 1);
    return Array.from({ length: count }, () => {
      const drawn: number[] = [];
      while (drawn.length < 3) {
        const next = pick(random, all);
        if (drawn.every((other) => other % zones !== next % zones)) drawn.push(next);
      }
      return drawn.map((n) => `w${n}`);
    });
  }

  /** A leader takes office, and every worker registers with it. */
  async open(): Promise<void> {
    const { config, metadata } = this;
    const log = createLogger("scale", "silent" as "debug");
    const parts = { config, metadata, clock: this.#clock, log, clusterId: "scale" };
    const workers = new WorkerRegistry(parts);
    const orders = {
      copy: (_: string, chunk: SealedChunk) => this.#copy(chunk),
      verify: async () => ({ state: "good" }),
      trash: async (_: string, chunkIds: number[]) => ({ trashed: chunkIds, absent: [] }),
    } as unknown as Orders;
    const steward = new Steward({ ...parts, workers, orders, random: this.world.random("steward") });
    workers.onChange = () => steward.nudge();
    const reconciliation = { isGranted: () => false } as unknown as Reconciliation;
    this.#registry = workers;
    this.steward = steward;
    this.#reports = new WorkerReports({ ...parts, workers, steward, reconciliation });
    const phase = this.world.random("beats");
    const held = steward.verdicts.now().tally;
    for (const row of metadata.rows("workers", {})) {
      const used = held.expectedOn(row.id) * this.#size.chunkBytes;
      const { id: workerId, url, zone, incarnation, capacityBytes } = row;
      const freeBytes = capacityBytes - used;
      const register = { workerId, url, zone, incarnation, epoch: 1, capacityBytes, freeBytes, clusterId: null };
      await this.#reports.register({ type: "REGISTER", ...register });
      const beat: Heartbeat = {
        ...{ type: "HEARTBEAT", workerId, incarnation, epoch: 1, condition: "normal", capacityBytes, freeBytes },
        ...{ trashBytes: 0, mode: "active", chunkCount: held.expectedOn(row.id), openChunks: 0, load: 0 },
        ...{ badReplicas: [], idleOpenChunks: [] },
      };
      this.workers.set(workerId, { beat, isDead: false });
      const again = () => {
        const worker = this.workers.get(workerId);
        if (worker && !worker.isDead) void this.#reports.heartbeat(worker.beat);
        this.world.schedule(config.heartbeatMs, again);
      };
      this.world.schedule(phase() * config.heartbeatMs, again);
    }
  }

  #copy({ chunkId }: SealedChunk): Promise<{ badSources: string[] }> {
    const { promise, resolve } = Promise.withResolvers<{ badSources: string[] }>();
    const goodCopies = this.steward.repairs.inSight().find((repair) => repair.chunkId === chunkId)?.goodCopies ?? -1;
    this.world.schedule(this.#size.copyMs, () => {
      this.copies.push({ atMs: this.world.now, chunkId, goodCopies });
      resolve({ badSources: [] });
    });
    return promise;
  }

  /** These beat no more, and never come back. */
  kill(workerIds: Iterable<string>): void {
    for (const id of workerIds) (this.workers.get(id) as Worker).isDead = true;
  }

  workersOf(zone: string): string[] {
    return this.#registry.all().flatMap((worker) => (worker.zone === zone ? [worker.id] : []));
  }

  async pass(ms: number): Promise<void> {
    for (const end = this.world.now + ms; this.world.now < end; ) {
      this.world.run(Math.min(end, this.world.now + STEP_MS), () => {});
      // What was begun ends, and the round that it asks for is made.
      for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
    }
  }

  /** Time passes. @returns CPU time of it as a share of one core */
  async loadOver(ms: number): Promise<number> {
    const before = process.cpuUsage();
    await this.pass(ms);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / ms;
  }

  close(): void {
    this.steward.stop();
    this.#registry.stop();
    this.store.close();
  }
}

function everyThree(workers: number): string[][] {
  const sets: string[][] = [];
  for (let a = 1; a <= workers; a++)
    for (let b = a + 1; b <= workers; b++)
      for (let c = b + 1; c <= workers; c++) sets.push([`w${a}`, `w${b}`, `w${c}`]);
  return sets;
}
