/**
 * A leader's office over a real metadata engine, with time that stands still until the test lets it pass, and workers
 * that beat in the test's rhythm and do what the leader orders.
 */

import { rmSync } from "node:fs";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { seenByLeader } from "../../actors/master/group/seen-by-leader.ts";
import { Office } from "../../actors/master/leading/office.ts";
import { masterMetrics } from "../../actors/master/metrics.ts";
import type { Config } from "../../actors/messages/config.ts";
import { loadConfig } from "../../actors/node/config.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { sampleBytes } from "./bodies.ts";
import { freePorts } from "./free-ports.ts";
import { loneEngine, untilReady } from "./lone-engine.ts";
import { ManualClock } from "./manual-clock.ts";
import { ManualWorker } from "./manual-worker.ts";
import { scratchFolder } from "./scratch.ts";

export const SECRET = "5".repeat(64);
export const CLUSTER_ID = "manual";
const log = createLogger("test", "silent" as "debug");

/** How often a worker compares all that it holds with the leader. */
const RECONCILE_EVERY_MS = 5000;

export interface Options {
  /** Zone of each worker; the first worker is in the first. */
  zones?: string[];
  config?: Partial<Config>;
  /** A worker's id is this and its number. */
  prefix?: string;
}

export class ManualCluster {
  readonly clock = new ManualClock();
  readonly config: Config;
  readonly engine: RaftMetadata;
  readonly workers: ManualWorker[] = [];
  office!: Office;
  readonly #prefix: string;
  readonly #folder = scratchFolder("dfs-manual-");
  #isStopped = false;
  #lastToldAt = Number.NEGATIVE_INFINITY;
  #lastBeatAt = Number.NEGATIVE_INFINITY;

  protected constructor({ zones = ["a", "b", "c"], config = {}, prefix = "w" }: Options) {
    this.#prefix = prefix;
    const shipped = loadConfig();
    const small = { blockSizeBytes: 1 << 16, inlineChunkBytes: 512, tinyFileBytes: 0 };
    this.config = { ...shipped, ...small, trash: { ...shipped.trash, deleteGraceMs: 0 }, ...config, workers: [] };
    this.engine = loneEngine(this.#folder, CLUSTER_ID);
    const ports = freePorts(zones.length + 1);
    this.config.masters = [{ id: "master-1", url: `http://127.0.0.1:${ports.pop()}` }];
    for (const zone of zones) this.#add(zone, ports.pop() as number);
  }

  /** A leader in office that has heard every worker, and left safe mode. */
  static async start(options: Options = {}): Promise<ManualCluster> {
    const cluster = new ManualCluster(options);
    await cluster.open();
    await cluster.pass(1000);
    return cluster;
  }

  protected async open(): Promise<void> {
    await untilReady(this.engine);
    for (const worker of this.workers) await worker.start();
    this.openOffice();
  }

  #add(zone: string, port: number): ManualWorker {
    const { config, clock } = this;
    const setting = { folder: this.#folder, config, secret: SECRET, clusterId: CLUSTER_ID, clock };
    const worker = new ManualWorker(
      `${this.#prefix}${this.workers.length + 1}`,
      `http://127.0.0.1:${port}`,
      zone,
      setting,
    );
    this.workers.push(worker);
    config.workers.push({ id: worker.id, url: worker.url, zone });
    return worker;
  }

  /** One more worker, which registers with its first heartbeat. */
  async join(zone: string): Promise<ManualWorker> {
    const worker = this.#add(zone, freePorts(1)[0] as number);
    await worker.start();
    return worker;
  }

  /** As a new leader does, who remembers nothing but the log. */
  openOffice(): void {
    this.office?.close();
    const { config, engine, clock } = this;
    const url = config.masters[0]?.url as string;
    this.office = new Office({
      config,
      nodeId: "master-1",
      clusterId: CLUSTER_ID,
      identity: { nodeId: "master-1", credentials: sharedSecret("master-1", SECRET), clusterId: () => CLUSTER_ID },
      metadata: engine,
      masters: () => seenByLeader(engine.raft.state, () => url, clock.now()),
      clock,
      log,
    });
    for (const worker of this.workers) worker.mode = null;
  }

  w(n: number): ManualWorker {
    const worker = this.workers[n - 1];
    if (!worker) throw new Error(`no worker w${n}`);
    return worker;
  }

  /** Time passes in small steps; workers beat in their rhythm, and what is under way gets its turns. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      await this.#beatIfDue();
      this.clock.pass(Math.min(100, left));
      await this.turns();
    }
  }

  /** The leader's process does not run for so long; workers do, and what they sent meanwhile is read late. */
  async standStill(ms: number): Promise<void> {
    this.clock.standStill(ms);
    await this.turns();
  }

  /** What was begun gets its turns of the event loop, and what workers are carrying out comes to its end. */
  async turns(): Promise<void> {
    for (let n = 0; n < 3 || this.workers.some(({ busy }) => busy > 0); n++) await new Promise(setImmediate);
  }

  async #beatIfDue(): Promise<void> {
    if (this.clock.now() - this.#lastBeatAt < this.config.heartbeatMs) return;
    this.#lastBeatAt = this.clock.now();
    for (const worker of this.workers) if (worker.beats) await this.beat(worker);
    if (this.clock.now() - this.#lastToldAt < RECONCILE_EVERY_MS) return;
    this.#lastToldAt = this.clock.now();
    for (const worker of this.workers)
      if (worker.beats && worker.tellsInventory && worker.mode !== null) await this.tellInventory(worker);
  }

  beat = (worker: ManualWorker): Promise<void> => worker.beat(this.office.handlers);

  /** It compares all that it holds with the metadata, and obeys. */
  tellInventory = (worker: ManualWorker) => worker.tellInventory(this.office.handlers);

  /** A file of one chunk that lies on these workers. @returns the chunk's id */
  async file(path: string, holders: number[], { lengthBytes = 1000, replicationFactor = 3 } = {}): Promise<number> {
    const { firstChunkId: chunkId } = await this.engine.propose({
      type: "GRANT_CHUNKS",
      gatewayId: "g1",
      count: 1,
      leaseMs: 60_000,
      decision: { atLogTime: 0, rule: "as the test wants it", candidates: [] },
    });
    const workerIds = holders.map((n) => this.w(n).id);
    const bytes = sampleBytes(lengthBytes);
    const crc32 = Bun.hash.crc32(bytes);
    for (const n of holders) await this.w(n).hold(chunkId, bytes);
    await this.engine.propose({
      type: "PUT_FILE",
      path,
      chunks: [{ chunkId, lengthBytes, crc32, workerIds }],
      sizeBytes: lengthBytes,
      crc32,
      replicationFactor,
      minReplicas: 1,
      condition: {},
      contentType: "text/plain",
      sha256: null,
      userMetadata: {},
    });
    return chunkId;
  }

  /** The workers whose copies the metadata counts. */
  holders(path: string): string[] {
    return this.engine.queries.locate(path, 0, 1).chunks[0]?.workerIds ?? [];
  }

  /** All orders to copy, of all workers. */
  copyOrders(): { target: string; chunkId: number }[] {
    return this.workers.flatMap(({ id, copyOrders }) => copyOrders.map(({ chunkId }) => ({ target: id, chunkId })));
  }

  async state() {
    return await this.office.handlers.CLUSTER_STATE({ type: "CLUSTER_STATE" }, "tester");
  }

  async stateOf(n: number): Promise<string | undefined> {
    return (await this.state()).workers.find(({ id }) => id === this.w(n).id)?.state;
  }

  async reasons(): Promise<string[]> {
    return (await this.state()).reasons.map(({ code }) => code);
  }

  async metrics(): Promise<string> {
    return masterMetrics(this.engine, () => this.office).metrics();
  }

  /** Time goes on until others have brought it about. */
  async until(claim: string, isSo: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
    for (const end = this.clock.now() + withinMs; !(await isSo()); await this.pass(100), await Bun.sleep(1))
      if (this.clock.now() > end) throw new Error(`did not happen within ${withinMs} ms of the test's time: ${claim}`);
  }

  /** Once; again, it does nothing. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.office.close();
    for (const worker of this.workers) await worker.stop();
    this.engine.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
