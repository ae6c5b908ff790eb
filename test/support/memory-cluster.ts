/**
 * A cluster in one process for tests of the gateway's data path: one master with the real metadata engine but no
 * liveness and no repair, and workers that keep blocks in memory and fail on demand.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Elysia } from "elysia";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { Standing } from "../../actors/master/group/standing.ts";
import type { Command } from "../../actors/messages/commands.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import type { WorkerAddress } from "../../actors/messages/questions.ts";
import { BlockHeader, type BlockOutcomes, WorkerMailbox } from "../../actors/messages/worker.ts";
import { checkConfig, loadConfig } from "../../actors/node/config.ts";
import { refusalResponse } from "../../actors/node/http/answers.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { decode, encode, WIRE_TYPE } from "../../actors/node/http/wire.ts";
import { blockContent, sharedSecret, sign, verifySignature } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type Handlers, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { crc32OfBlocks, formatCrc32 } from "../../actors/rules/crc32.ts";
import type { MetadataStore, Queries } from "../../databases/metadata/store.ts";
import { openBackend } from "../../gateway/backend.ts";
import type { DownloadPatience } from "../../gateway/transfer/downloads.ts";
import { freePorts } from "./free-ports.ts";
import { loneEngine, untilReady } from "./lone-engine.ts";
import { asSystem, type SystemBackend } from "./system-backend.ts";

export const BLOCK = 4096;
export const CHUNK = 16 * BLOCK;
export const SECRET = "5".repeat(64);
const CLUSTER_ID = "memory-cluster";
const log = createLogger("test", "silent" as "debug");

export interface Step {
  kind: "put" | "get" | "seal" | "describe" | "abort";
  chunkId: number;
  block: number;
}

interface Chunk {
  blockSizeBytes: number;
  blocks: Map<number, { bytes: Uint8Array<ArrayBuffer>; crc32: number }>;
  sealed: { lengthBytes: number; crc32: number } | null;
}

export class MemoryWorker {
  readonly chunks = new Map<number, Chunk>();
  readonly steps: Step[] = [];
  /** Runs before each step is carried out; may throw a Refusal, wait, or kill the worker. */
  fault: ((step: Step) => void | Promise<void>) | null = null;
  #app: { stop(closeActive?: boolean): unknown } | null = null;

  constructor(
    readonly id: string,
    readonly url: string,
    readonly zone: string,
  ) {}

  get address(): WorkerAddress {
    return { id: this.id, url: this.url, zone: this.zone, state: "live" };
  }

  start(): void {
    const identity = { nodeId: this.id, credentials: sharedSecret(this.id, SECRET), clusterId: () => CLUSTER_ID };
    this.#app = new Elysia(SERVER_OPTIONS)
      .use(mailbox(WorkerMailbox, this.#handlers(), identity, log))
      .put("/chunks/:id/blocks/:n", ({ request, params }) => this.#put(request, params.id, Number(params.n)), {
        parse: "none",
      })
      .get("/chunks/:id/blocks/:n", ({ request, params, query }) =>
        this.#get(request, params.id, Number(params.n), Number(query.count ?? 1)),
      )
      .listen(listenOptions(this.url));
  }

  /** As by kill -9: connections break, nothing more is answered. */
  kill(): Promise<never> {
    this.#app?.stop(true);
    this.#app = null;
    return new Promise<never>(() => {});
  }

  get isUp(): boolean {
    return this.#app !== null;
  }

  sealedChunks(): number[] {
    return [...this.chunks].filter(([, { sealed }]) => sealed).map(([id]) => id);
  }

  /** Flips a bit of a stored block, as a bad disk does. */
  corrupt(chunkId: number, block: number): void {
    const stored = this.chunks.get(chunkId)?.blocks.get(block);
    if (!stored) throw new Error(`${this.id} has no block ${block} of chunk ${chunkId}`);
    stored.bytes[0] = (stored.bytes[0] as number) ^ 1;
  }

  async #step(step: Step): Promise<void> {
    this.steps.push(step);
    await this.fault?.(step);
    if (!this.isUp) await this.kill();
  }

  #chunk(chunkId: number): Chunk {
    const chunk = this.chunks.get(chunkId);
    if (!chunk) throw new Refusal("NO_SUCH_CHUNK", `${this.id} has no chunk ${chunkId}`);
    return chunk;
  }

  #handlers(): Handlers<typeof WorkerMailbox> {
    const no = () => {
      throw new Refusal("INTERNAL", "A memory worker takes no orders");
    };
    return {
      SEAL_CHUNK: async ({ chunkId, lengthBytes, crc32 }) => {
        await this.#step({ kind: "seal", chunkId, block: -1 });
        this.#seal(this.#chunk(chunkId), lengthBytes, crc32);
        return { chunkId, lengthBytes, crc32 };
      },
      PUT_SMALL_CHUNKS: async ({ chunks }) => ({
        outcomes: await Promise.all(
          chunks.map(async ({ chunkId, bytes, blockSizeBytes, crc32 }) => {
            await this.#step({ kind: "put", chunkId, block: 0 });
            const chunk: Chunk = {
              blockSizeBytes,
              blocks: new Map([[0, { bytes: bytes.slice(), crc32 }]]),
              sealed: null,
            };
            this.chunks.set(chunkId, chunk);
            this.#seal(chunk, bytes.length, crc32);
            return { stored: true };
          }),
        ),
      }),
      ABORT_CHUNK: async ({ chunkId }) => {
        await this.#step({ kind: "abort", chunkId, block: -1 });
        const open = this.chunks.get(chunkId)?.sealed === null;
        if (open) this.chunks.delete(chunkId);
        return { aborted: open };
      },
      DESCRIBE_CHUNK: async ({ chunkId }) => {
        await this.#step({ kind: "describe", chunkId, block: -1 });
        const { sealed, blocks, blockSizeBytes } = this.#chunk(chunkId);
        if (!sealed) throw new Refusal("NO_SUCH_CHUNK", "not sealed");
        const crcs = Uint32Array.from({ length: blocks.size }, (_, n) => blocks.get(n)?.crc32 ?? 0);
        return {
          chunkId,
          state: "sealed",
          ...sealed,
          blockSizeBytes,
          blockCrcs: new Uint8Array(crcs.buffer),
          sealedAt: 0,
          verifiedAt: null,
        };
      },
      COPY_CHUNK: no,
      TRASH_CHUNKS: no,
      VERIFY_CHUNK: no,
    };
  }

  #seal(chunk: Chunk, lengthBytes: number, crc32: number): void {
    const blocks = [...chunk.blocks].sort(([a], [b]) => a - b);
    const crcs = blocks.map(([, { crc32 }]) => crc32);
    const length = blocks.reduce((sum, [, { bytes }]) => sum + bytes.length, 0);
    if (length !== lengthBytes || crc32OfBlocks(crcs, lengthBytes, chunk.blockSizeBytes) !== crc32)
      throw new Refusal("CHUNK_INCOMPLETE", `${length} of ${lengthBytes} bytes are here`);
    chunk.sealed = { lengthBytes, crc32 };
  }

  async #put(request: Request, id: string, block: number): Promise<Response> {
    try {
      const { headers } = request;
      const path = `/chunks/${id}/blocks/${block}`;
      verifySignature(SECRET, headers.get("authorization"), "PUT", path, blockContent(headers));
      const bytes = new Uint8Array(await request.arrayBuffer());
      const crc32 = Bun.hash.crc32(bytes);
      if (formatCrc32(crc32) !== headers.get(BlockHeader.crc32)) throw new Refusal("CHECKSUM_MISMATCH", "damaged");
      const chunkId = Number.parseInt(id, 16);
      const onward = this.#forward(request, path, bytes);
      const here = (async () => {
        await this.#step({ kind: "put", chunkId, block });
        const blockSizeBytes = Number(headers.get(BlockHeader.blockSize));
        const chunk = this.chunks.get(chunkId) ?? { blockSizeBytes, blocks: new Map(), sealed: null };
        chunk.blocks.set(block, { bytes, crc32 });
        this.chunks.set(chunkId, chunk);
        if (headers.get(BlockHeader.seal)) this.#seal(chunk, bytes.length, crc32);
      })();
      const [mine, rest] = await Promise.all([
        here.then(
          () => ({ workerId: this.id, stored: true }),
          (error) => {
            if (!headers.get(BlockHeader.route)) throw error;
            return { workerId: this.id, stored: false, code: (error as Refusal).code };
          },
        ),
        onward,
      ]);
      const outcomes = [mine, ...rest];
      if (outcomes.every(({ stored }) => stored)) return new Response(null, { status: 204 });
      return new Response(encode(outcomes), { status: 207, headers: { "content-type": WIRE_TYPE } });
    } catch (error) {
      return refusalResponse(error, log);
    }
  }

  async #forward(request: Request, path: string, bytes: Uint8Array<ArrayBuffer>): Promise<BlockOutcomes> {
    const route = request.headers.get(BlockHeader.route)?.split(",") ?? [];
    const [[next = "", url = ""] = [], ...rest] = route.map((hop) => hop.split("=") as [string, string]);
    if (!next) return [];
    const headers = new Headers(request.headers);
    for (const name of ["host", "content-length", "connection"]) headers.delete(name);
    headers.delete(BlockHeader.route);
    if (rest.length > 0) headers.set(BlockHeader.route, rest.map((hop) => hop.join("=")).join(","));
    headers.set("authorization", sign(SECRET, this.id, "PUT", path, blockContent(headers)));
    const all = [next, ...rest.map(([id]) => id)];
    try {
      const response = await fetch(`${url}${path}`, { method: "PUT", headers, body: bytes });
      if (response.status === 204) return all.map((workerId) => ({ workerId, stored: true }));
      if (response.status === 207) return decode(new Uint8Array(await response.arrayBuffer())) as BlockOutcomes;
      const { code } = decode(new Uint8Array(await response.arrayBuffer())) as { code: string };
      return all.map((workerId) => ({ workerId, stored: false, code: workerId === next ? code : "PEER_UNREACHABLE" }));
    } catch {
      return all.map((workerId) => ({ workerId, stored: false, code: "PEER_UNREACHABLE" }));
    }
  }

  async #get(request: Request, id: string, first: number, count: number): Promise<Response> {
    try {
      const { headers } = request;
      verifySignature(
        SECRET,
        headers.get("authorization"),
        "GET",
        `/chunks/${id}/blocks/${first}`,
        blockContent(headers),
      );
      const chunkId = Number.parseInt(id, 16);
      const read: Uint8Array<ArrayBuffer>[] = [];
      for (let block = first; block < first + count; block++) {
        await this.#step({ kind: "get", chunkId, block });
        const stored = this.#chunk(chunkId).blocks.get(block);
        if (stored) read.push(stored.bytes);
      }
      if (read.length === 0) throw new Refusal("NO_SUCH_CHUNK", "no such block");
      return new Response(new Blob(read));
    } catch (error) {
      return refusalResponse(error, log);
    }
  }
}

export interface ClusterOptions {
  workers?: number;
  config?: Partial<Config>;
  grantLeaseMs?: number;
  blockTimeoutMs?: number;
  hedgeAfterMs?: number;
  downloadPatience?: DownloadPatience;
  silentAfterMs?: number;
}

export class MemoryCluster {
  readonly config: Config;
  readonly workers: MemoryWorker[];
  readonly data: SystemBackend;
  /** Another gateway of the cluster; to be closed by the test. */
  readonly openGateway: (gatewayId: string) => SystemBackend;
  readonly reports: { chunkId: number; workerId: string; problem: string }[] = [];
  readonly asked: Record<string, number> = {};
  /** So many answers to commands get lost from now on. */
  loseAnswers = 0;
  onLostAnswer: (() => void) | null = null;
  mostInFlight = 0;
  #inFlight = 0;
  #sessionsEnded = false;
  readonly #directory = mkdtempSync(join(tmpdir(), "dfs-memory-cluster-"));
  readonly #engine: RaftMetadata;
  readonly #metadata: MetadataStore;
  readonly #queries: Queries;
  readonly #grantLeaseMs: number;
  #master: { stop(closeActive?: boolean): unknown } | null = null;

  constructor({
    workers = 5,
    config = {},
    grantLeaseMs = 60_000,
    blockTimeoutMs = 20_000,
    hedgeAfterMs = 100,
    downloadPatience,
    silentAfterMs,
  }: ClusterOptions = {}) {
    const ports = freePorts(workers + 1);
    const url = (n: number) => `http://127.0.0.1:${ports[n]}`;
    this.#grantLeaseMs = grantLeaseMs;
    this.workers = Array.from(
      { length: workers },
      (_, n) => new MemoryWorker(`worker-${n + 1}`, url(n + 1), `zone-${n}`),
    );
    this.config = checkConfig({
      ...loadConfig(),
      masters: [{ id: "master-1", url: url(0) }],
      workers: this.workers.map(({ id, url, zone }) => ({ id, url, zone })),
      gateways: [],
      chunkSizeBytes: CHUNK,
      blockSizeBytes: BLOCK,
      readAheadBytes: 6 * BLOCK,
      inlineChunkBytes: BLOCK,
      ...config,
    });
    const directory = this.#directory;
    this.#engine = loneEngine(directory, CLUSTER_ID);
    this.#metadata = this.#engine.store;
    this.#queries = this.#engine.queries;
    this.openGateway = (gatewayId) =>
      asSystem(
        openBackend({
          config: this.config,
          gatewayId,
          secret: SECRET,
          log,
          timeouts: { blockMs: blockTimeoutMs, sealMs: 20_000, messageMs: 5000 },
          hedgeAfterMs,
          downloadPatience,
          silentAfterMs,
        }),
      );
    this.data = this.openGateway("gateway-1");
  }

  async start(): Promise<this> {
    await untilReady(this.#engine);
    for (const worker of this.workers) {
      worker.start();
      const { id: workerId, url, zone } = worker;
      await this.#engine.propose({
        type: "REGISTER_WORKER",
        workerId,
        url,
        zone,
        incarnation: `disk-${workerId}`,
        capacityBytes: 1 << 30,
      });
    }
    this.startMaster();
    return this;
  }

  async stop(): Promise<void> {
    await this.data.close();
    this.stopMaster();
    for (const worker of this.workers) if (worker.isUp) void worker.kill();
    this.#engine.close();
    rmSync(this.#directory, { recursive: true });
  }

  startMaster(): void {
    const identity = { nodeId: "master-1", credentials: sharedSecret("master-1", SECRET), clusterId: () => CLUSTER_ID };
    this.#master = new Elysia(SERVER_OPTIONS)
      .use(mailbox(MasterMailbox, this.#handlers(), identity, log))
      .listen(listenOptions(this.config.masters[0]?.url as string));
  }

  stopMaster(): void {
    this.#master?.stop(true);
    this.#master = null;
  }

  worker(id: string): MemoryWorker {
    const worker = this.workers.find((worker) => worker.id === id);
    if (!worker) throw new Error(`no worker ${id}`);
    return worker;
  }

  propose(command: Command): Promise<unknown> {
    return this.#engine.propose(command);
  }

  /** As if every session so far had been idle for too long. */
  endSessions(): void {
    this.#sessionsEnded = true;
  }

  async #execute(proposal: Parameters<RaftMetadata["execute"]>[0]) {
    if (proposal.sessionId === 0) this.#sessionsEnded = false;
    else if (this.#sessionsEnded) throw new Refusal("SESSION_EXPIRED", "The session has ended");
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
    const outcome = await this.#engine.execute(proposal).finally(() => this.#inFlight--);
    if (proposal.sessionId === 0 || this.loseAnswers === 0) return outcome;
    this.loseAnswers--;
    this.onLostAnswer?.();
    throw new Refusal("NOT_READY", "The answer got lost");
  }

  /** All that lies on workers without being sealed. */
  openChunks(): number {
    return this.workers.flatMap(({ chunks }) => [...chunks.values()]).filter(({ sealed }) => sealed === null).length;
  }

  locate(path: string) {
    return this.#queries.locate(path, 0, 1000);
  }

  #place(count: number, exclude: string[]): string[] {
    const able = this.workers.filter(({ id, isUp }) => isUp && !exclude.includes(id));
    return able.slice(0, count).map(({ id }) => id);
  }

  #handlers(): Handlers<typeof MasterMailbox> {
    const no = () => {
      throw new Refusal("INTERNAL", "The memory master does not do that");
    };
    const addresses = () => this.workers.map(({ address }) => address);
    const standing = new Standing();
    const handlers: Handlers<typeof MasterMailbox> = {
      RAFT: no,
      PASS_ON: no,
      PASSED_ON: no,
      MASTER_STATUS: () => standing.status(this.#engine, this.config.masters[0]?.url as string, 0, () => null),
      CHANGE_MASTERS: no,
      TRANSFER_LEADERSHIP: no,
      READ_INDEX: no,
      EXECUTE: (proposal) => this.#execute(proposal),
      PLACE_CHUNKS: async ({ count, replicationFactor, minReplicas, exclude }) => {
        const workerIds = this.#place(replicationFactor, exclude);
        if (workerIds.length < minReplicas)
          throw new Refusal("NOT_ENOUGH_WORKERS", `${workerIds.length} live workers, ${minReplicas} needed`);
        const decision = { atLogTime: 0, rule: "the first ones", candidates: [] };
        const leaseMs = this.#grantLeaseMs;
        const granted = await this.#engine.propose({
          type: "GRANT_CHUNKS",
          gatewayId: "gateway-1",
          count,
          leaseMs,
          decision,
        });
        return { ...granted, leaseMs, placements: Array(count).fill(workerIds), workers: addresses() };
      },
      REPLACE_WORKERS: ({ count, holders, exclude }) => ({
        workers: this.#place(count, [...holders, ...exclude]).map((id) => this.worker(id).address),
      }),
      STAT: ({ path }) => ({ entry: this.#queries.stat(path), index: 0 }),
      LOCATE: ({ path, etag, offset, limit }) => {
        const { entry, chunks } = this.#queries.locate(path, offset, limit);
        if (etag !== null && (entry?.kind !== "file" || entry.etag !== etag))
          throw new Refusal("PRECONDITION_FAILED", `${path} was replaced or deleted while it was read`);
        return { entry, chunks, workers: addresses(), index: 0 };
      },
      LIST: no,
      UPLOAD_STATUS: ({ uploadId }) => ({ upload: this.#upload(uploadId) }),
      EXPLAIN: no,
      REPORT_REPLICA: (report) => {
        this.reports.push(report);
        return { accepted: true };
      },
      CLUSTER_STATE: () => ({ ...EMPTY_STATE, clusterId: CLUSTER_ID }),
      REGISTER: no,
      HEARTBEAT: no,
      RECONCILE: no,
    };
    for (const [type, handler] of Object.entries(handlers))
      Object.assign(handlers, {
        [type]: (message: never, sender: string) => {
          this.asked[type] = (this.asked[type] ?? 0) + 1;
          return (handler as (message: never, sender: string) => unknown)(message, sender);
        },
      });
    return handlers;
  }

  #upload(uploadId: number) {
    const [row] = this.#metadata.rows("upload", { uploadId });
    return row
      ? {
          path: row.path,
          offset: row.offset,
          crc32: row.crc32,
          chunkCount: row.chunkCount,
          chunkSizeBytes: row.chunkSizeBytes,
          replicationFactor: row.replicationFactor,
          minReplicas: row.minReplicas,
          expiresInMs: 1000,
          contentType: row.contentType,
          userMetadata: row.userMetadata,
        }
      : null;
  }
}

const EMPTY_STATE = {
  leader: "master-1",
  term: 1,
  masters: [],
  steward: "steady",
  workers: [],
  files: { files: 0, directories: 0, bytes: 0 },
  redundancy: { chunks: 0, full: 0, below: {} },
  repairs: [],
  repairQueue: 0,
  garbage: 0,
  reasons: [],
};
