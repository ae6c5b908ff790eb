/**
 * A whole cluster in one process, for what takes all of it: the office of a leader over a metadata engine of one, whose
 * clock leaps when it is told to; workers on real files; a gateway's data path.
 */

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Elysia } from "elysia";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { seenByLeader } from "../../actors/master/group/seen-by-leader.ts";
import { Standing } from "../../actors/master/group/standing.ts";
import { Office } from "../../actors/master/leading/office.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { systemClock } from "../../actors/node/clock.ts";
import { checkConfig, loadConfig } from "../../actors/node/config.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type Handlers, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { startWorker, type WorkerNode } from "../../actors/worker/host.ts";
import { openBackend } from "../../gateway/backend.ts";
import { until } from "./fair-time.ts";
import { freePorts } from "./free-ports.ts";
import { leapingClock, loneEngine, untilReady } from "./lone-engine.ts";
import { asSystem, type SystemBackend } from "./system-backend.ts";

export const BLOCK = 4096;
export const CHUNK = 16 * BLOCK;
const SECRET = "6".repeat(64);
const CLUSTER_ID = "whole-cluster";
const log = createLogger("test", "silent" as "debug");

interface Place {
  url: string;
  zone: string;
  /** Grows when the disk is replaced by an empty one. */
  disk: number;
  node: WorkerNode | null;
}

export class WholeCluster {
  readonly clock = leapingClock();
  readonly config: Config;
  readonly engine: RaftMetadata;
  readonly data: SystemBackend;
  readonly #folder = mkdtempSync(join(tmpdir(), "dfs-whole-cluster-"));
  readonly #places = new Map<string, Place>();
  #office: Office | null = null;
  #master: { stop(closeActive?: boolean): unknown } | null = null;
  /** How many lists of chunks the leader has judged. */
  listsJudged = 0;

  private constructor(workers: number, changes: Partial<Config>) {
    const [masterPort, ...ports] = freePorts(workers + 1);
    for (const [n, port] of ports.entries())
      this.#places.set(`worker-${n + 1}`, { url: `http://127.0.0.1:${port}`, zone: `zone-${n}`, disk: 1, node: null });
    const shipped = loadConfig();
    this.config = checkConfig({
      ...shipped,
      masters: [{ id: "master-1", url: `http://127.0.0.1:${masterPort}` }],
      workers: [...this.#places].map(([id, { url, zone }]) => ({ id, url, zone })),
      gateways: [],
      chunkSizeBytes: CHUNK,
      blockSizeBytes: BLOCK,
      readAheadBytes: 6 * BLOCK,
      inlineChunkBytes: 1024,
      tinyFileBytes: 0,
      heartbeatMs: 20,
      safeModeMs: 2000,
      trash: { keepMs: 3_600_000, deleteGraceMs: 0 },
      limits: { ...shipped.limits, reservedBytes: 0 },
      ...changes,
    });
    this.engine = loneEngine(join(this.#folder, "master-1"), CLUSTER_ID, 10_000, this.clock);
    this.data = this.openGateway("gateway-1");
  }

  static async start({ workers = 3, config = {} }: { workers?: number; config?: Partial<Config> } = {}) {
    const cluster = new WholeCluster(workers, config);
    await untilReady(cluster.engine);
    cluster.openOffice();
    for (const id of cluster.#places.keys()) await cluster.startWorker(id);
    await cluster.until("every worker has registered", async () => {
      const { workers: known } = await cluster.data.operations.clusterState();
      return known.length === workers && known.every(({ state }) => state === "live");
    });
    return cluster;
  }

  openGateway(gatewayId: string): SystemBackend {
    return asSystem(openBackend({ config: this.config, gatewayId, secret: SECRET, log }));
  }

  get secret(): string {
    return SECRET;
  }

  get identity(): Identity {
    return { nodeId: "tester", credentials: sharedSecret("tester", SECRET), clusterId: () => CLUSTER_ID };
  }

  /** What a new leader does when it takes over: it remembers nothing but the log. */
  openOffice(): void {
    this.closeOffice();
    const { config, engine } = this;
    const [{ id, url } = { id: "", url: "" }] = config.masters;
    const identity = { nodeId: id, credentials: sharedSecret(id, SECRET), clusterId: () => CLUSTER_ID };
    const standing = new Standing();
    const office = new Office({
      config,
      nodeId: id,
      clusterId: CLUSTER_ID,
      identity,
      metadata: engine,
      masters: () => seenByLeader(engine.raft.state, () => url, performance.now()),
      clock: systemClock,
      log,
    });
    const no = () => {
      throw new Refusal("INTERNAL", "A group of one");
    };
    const handlers: Handlers<typeof MasterMailbox> = {
      ...office.handlers,
      RAFT: no,
      PASS_ON: no,
      PASSED_ON: no,
      CHANGE_MASTERS: no,
      TRANSFER_LEADERSHIP: no,
      MASTER_STATUS: () => standing.status(engine, url, 0, () => null),
      RECONCILE: async (message, sender) => {
        const judged = await office.handlers.RECONCILE(message, sender);
        if (message.chunks !== null) this.listsJudged++;
        return judged;
      },
    };
    this.#office = office;
    this.#master = new Elysia(SERVER_OPTIONS)
      .use(mailbox(MasterMailbox, handlers, identity, log))
      .listen(listenOptions(url));
  }

  /** Nobody leads. */
  closeOffice(): void {
    this.#master?.stop(true);
    this.#office?.close();
    this.#master = null;
    this.#office = null;
  }

  async startWorker(id: string): Promise<void> {
    const place = this.#place(id);
    mkdirSync(this.folderOf(id), { recursive: true });
    place.node = await startWorker({
      id,
      url: place.url,
      zone: place.zone,
      directory: this.folderOf(id),
      secret: SECRET,
      config: this.config,
      log,
      rhythm: { reconcilePauseMs: 20, sweepMs: 50, idleAfterMs: 100 },
    });
  }

  async stopWorker(id: string): Promise<void> {
    const place = this.#place(id);
    await place.node?.stop();
    place.node = null;
  }

  /** It comes back with an empty disk. */
  async wipeWorker(id: string): Promise<void> {
    await this.stopWorker(id);
    this.#place(id).disk++;
    await this.startWorker(id);
  }

  #place(id: string): Place {
    const place = this.#places.get(id);
    if (!place) throw new Error(`no worker ${id}`);
    return place;
  }

  folderOf(id: string): string {
    return join(this.#folder, id, String(this.#place(id).disk));
  }

  worker(id: string): WorkerNode {
    const { node } = this.#place(id);
    if (!node) throw new Error(`${id} is not up`);
    return node;
  }

  /** What the workers that are up say of a chunk: sealed, trash, open, … or none. */
  copies(chunkId: number): string[] {
    return [...this.#places.values()].flatMap(({ node }) =>
      node ? [node.store.describe(chunkId)?.state ?? "none"] : [],
    );
  }

  chunkIds(path: string): number[] {
    return this.engine.queries.locate(path, 0, 1000).chunks.map(({ chunkId }) => chunkId);
  }

  async until(claim: string, isSo: () => boolean | Promise<boolean>, patienceMs = 15_000): Promise<void> {
    await until(claim, isSo, { patienceMs, pollMs: 10 });
  }

  async stop(): Promise<void> {
    await this.data.close();
    await Promise.all([...this.#places.keys()].map((id) => this.stopWorker(id)));
    this.closeOffice();
    this.engine.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
