/**
 * A leader's office over a real metadata engine, with time that stands still until the test lets it pass, and workers that
 * do as the test says: they hold chunks in memory, beat, and note what they are ordered to do.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Elysia } from "elysia";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { seenByLeader } from "../../actors/master/group/seen-by-leader.ts";
import { Office } from "../../actors/master/leading/office.ts";
import { masterMetrics } from "../../actors/master/metrics.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import type { WorkerCondition, WorkerMode } from "../../actors/messages/primitives.ts";
import { WorkerMailbox } from "../../actors/messages/worker.ts";
import { loadConfig } from "../../actors/node/config.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type AnswerOf, type Handlers, type MessageOf, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { inventoryDigest } from "../../actors/rules/redundancy/inventory-digest.ts";
import { freePorts } from "./free-ports.ts";
import { loneEngine, untilReady } from "./lone-engine.ts";
import { ManualClock } from "./manual-clock.ts";

const SECRET = "7".repeat(64);
const CLUSTER_ID = "scripted";
const log = createLogger("test", "silent" as "debug");
const identityOf = (nodeId: string) => ({
  nodeId,
  credentials: sharedSecret(nodeId, SECRET),
  clusterId: () => CLUSTER_ID,
});

/** How often a worker compares all that it holds with the leader. */
const RECONCILE_EVERY_MS = 5000;

interface Held {
  lengthBytes: number;
  crc32: number;
}

type CopyOrder = MessageOf<typeof WorkerMailbox, "COPY_CHUNK">;

export class ScriptedWorker {
  readonly chunks = new Map<number, Held>();
  readonly copyOrders: CopyOrder[] = [];
  /** Copies under way, as its heartbeats name them. */
  readonly copying = new Set<number>();
  readonly trashed: number[] = [];
  readonly verified: number[] = [];
  /** False: it is silent, but answers orders. */
  beats = true;
  /** False: it never tells what it holds. */
  tellsInventory = true;
  incarnation = "first-disk";
  epoch = 1;
  capacityBytes = 1_000_000;
  condition: WorkerCondition = "normal";
  openChunks = 0;
  load = 0;
  /** Copies that it will report as bad with its next heartbeat. */
  bad: { chunkId: number; state: "corrupt" | "missing" }[] = [];
  /** What it says of a chunk that it is to read back. */
  verdict: (chunkId: number) => "good" | "corrupt" | "missing" = (chunkId) =>
    this.chunks.has(chunkId) ? "good" : "missing";
  /** How it carries out an order to copy. */
  copy: (order: CopyOrder) => Promise<Partial<AnswerOf<typeof WorkerMailbox, "COPY_CHUNK">>> = async () => ({});
  /** As the leader told it last; null: it does not know the leader yet. */
  mode: WorkerMode | null = null;
  readonly #server: { stop(closeActive?: boolean): unknown };

  constructor(
    readonly id: string,
    readonly url: string,
    readonly zone: string,
  ) {
    const no = () => {
      throw new Refusal("INTERNAL", "A scripted worker does not do that");
    };
    const handlers: Handlers<typeof WorkerMailbox> = {
      SEAL_CHUNK: no,
      PUT_SMALL_CHUNKS: no,
      ABORT_CHUNK: no,
      DESCRIBE_CHUNK: ({ chunkId }) => {
        const held = this.chunks.get(chunkId);
        if (!held) throw new Refusal("NO_SUCH_CHUNK", "not here");
        const rest = { blockSizeBytes: 1, blockCrcs: new Uint8Array(), sealedAt: 0, verifiedAt: null };
        return { chunkId, state: "sealed", ...held, ...rest };
      },
      COPY_CHUNK: async (order) => {
        this.copyOrders.push(order);
        const { chunkId, lengthBytes, crc32 } = order;
        this.copying.add(chunkId);
        const answer = await this.copy(order).finally(() => this.copying.delete(chunkId));
        this.chunks.set(chunkId, { lengthBytes, crc32 });
        return { chunkId, lengthBytes, crc32, sourceId: order.sources[0]?.id ?? null, badSources: [], ...answer };
      },
      TRASH_CHUNKS: ({ chunkIds }) => {
        this.trashed.push(...chunkIds);
        for (const chunkId of chunkIds) this.chunks.delete(chunkId);
        return { trashed: chunkIds, absent: [] };
      },
      VERIFY_CHUNK: ({ chunkId }) => {
        this.verified.push(chunkId);
        return { chunkId, state: this.verdict(chunkId) };
      },
    };
    this.#server = new Elysia(SERVER_OPTIONS)
      .use(mailbox(WorkerMailbox, handlers, identityOf(id), log))
      .listen(listenOptions(url));
  }

  get usedBytes(): number {
    return [...this.chunks.values()].reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
  }

  /** It comes back with an empty disk. */
  wipe(): void {
    this.chunks.clear();
    this.copying.clear();
    this.incarnation = `another-disk-${++this.epoch}`;
    this.mode = null;
  }

  stop(): void {
    this.#server.stop(true);
  }
}

interface Options {
  /** Zone of each worker; w1 is in the first. */
  zones?: string[];
  config?: Partial<Config>;
}

export class ScriptedCluster {
  readonly clock = new ManualClock();
  readonly config: Config;
  readonly engine: RaftMetadata;
  readonly workers: ScriptedWorker[] = [];
  office!: Office;
  readonly #folder = mkdtempSync(join(tmpdir(), "dfs-scripted-"));
  #isStopped = false;
  #lastToldAt = Number.NEGATIVE_INFINITY;
  #lastBeatAt = Number.NEGATIVE_INFINITY;

  private constructor({ zones = ["a", "b", "c"], config = {} }: Options) {
    const shipped = loadConfig();
    this.config = { ...shipped, trash: { ...shipped.trash, deleteGraceMs: 0 }, ...config };
    this.engine = loneEngine(this.#folder, CLUSTER_ID);
    for (const zone of zones) this.#add(zone);
  }

  /** A leader in office that has heard every worker, and left safe mode. */
  static async start(options: Options = {}): Promise<ScriptedCluster> {
    const cluster = new ScriptedCluster(options);
    await untilReady(cluster.engine);
    cluster.openOffice();
    await cluster.pass(1000);
    return cluster;
  }

  #add(zone: string): ScriptedWorker {
    const [port] = freePorts(1);
    const worker = new ScriptedWorker(`w${this.workers.length + 1}`, `http://127.0.0.1:${port}`, zone);
    this.workers.push(worker);
    return worker;
  }

  /** One more worker, which registers with its first heartbeat. */
  join = (zone: string): ScriptedWorker => this.#add(zone);

  /** As a new leader does, who remembers nothing but the log. */
  openOffice(): void {
    this.office?.close();
    const { config, engine, clock } = this;
    const url = "http://127.0.0.1:1";
    this.office = new Office({
      config,
      nodeId: "master-1",
      clusterId: CLUSTER_ID,
      identity: identityOf("master-1"),
      metadata: engine,
      masters: () => seenByLeader(engine.raft.state, () => url, clock.now()),
      clock,
      log,
    });
    for (const worker of this.workers) worker.mode = null;
  }

  w(n: number): ScriptedWorker {
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

  /** What was begun gets its turns of the event loop. */
  async turns(): Promise<void> {
    for (let n = 0; n < 3; n++) await new Promise(setImmediate);
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

  /** A heartbeat, or the registration that has to come before. */
  async beat(worker: ScriptedWorker): Promise<void> {
    const { id: workerId, incarnation, epoch, capacityBytes, url, zone } = worker;
    const who = { workerId, incarnation, epoch };
    const freeBytes = capacityBytes - worker.usedBytes;
    if (worker.mode === null) {
      const registered = await this.office.handlers.REGISTER(
        { type: "REGISTER", ...who, url, zone, clusterId: CLUSTER_ID, capacityBytes, freeBytes },
        workerId,
      );
      worker.mode = registered.mode;
      if (worker.tellsInventory) await this.tellInventory(worker);
    }
    try {
      const answer = await this.office.handlers.HEARTBEAT(
        {
          type: "HEARTBEAT",
          ...who,
          condition: worker.condition,
          mode: worker.mode,
          capacityBytes,
          freeBytes,
          trashBytes: 0,
          chunkCount: worker.chunks.size,
          openChunks: worker.openChunks,
          load: worker.load,
          copying: [...worker.copying],
          badReplicas: worker.bad,
          idleOpenChunks: [],
        },
        workerId,
      );
      worker.bad = worker.bad.filter(({ chunkId }) => !answer.acknowledged.includes(chunkId));
      worker.mode = answer.mode;
    } catch (error) {
      if ((error as Refusal).code !== "UNKNOWN_WORKER") throw error;
      worker.mode = null;
    }
  }

  /** Compares all that it holds with the metadata, and obeys. */
  async tellInventory(worker: ScriptedWorker): Promise<AnswerOf<typeof MasterMailbox, "RECONCILE">> {
    const chunks = [...worker.chunks]
      .map(([chunkId, held]) => ({ chunkId, ...held }))
      .sort((a, b) => a.chunkId - b.chunkId);
    const page = { fromId: 0, toId: Number.MAX_SAFE_INTEGER, ...inventoryDigest(chunks) };
    const { id: workerId, incarnation, epoch } = worker;
    const ask = (list: typeof chunks | null) =>
      this.office.handlers.RECONCILE(
        { type: "RECONCILE", workerId, incarnation, epoch, ...page, chunks: list },
        workerId,
      );
    const compared = await ask(null);
    if (compared.match) return compared;
    const answer = await ask(chunks);
    for (const chunkId of answer.trash) {
      worker.chunks.delete(chunkId);
      worker.trashed.push(chunkId);
    }
    return answer;
  }

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
    for (const n of holders) this.w(n).chunks.set(chunkId, { lengthBytes, crc32: 7 });
    await this.engine.propose({
      type: "PUT_FILE",
      path,
      chunks: [{ chunkId, lengthBytes, crc32: 7, workerIds }],
      sizeBytes: lengthBytes,
      crc32: 7,
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
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.office.close();
    for (const worker of this.workers) worker.stop();
    this.engine.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
