/**
 * A worker without a rhythm of its own: the shipped store, block routes, orders and fence, on real files behind a real
 * socket. It registers, beats and compares its inventory when the test says so, and the test may come between it and a step.
 */

import { closeSync, mkdirSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Elysia } from "elysia";
import type { Office } from "../../actors/master/leading/office.ts";
import type { Config } from "../../actors/messages/config.ts";
import type { Refusal } from "../../actors/messages/errors.ts";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import type { WorkerCondition, WorkerMode } from "../../actors/messages/primitives.ts";
import type { WorkerAddress } from "../../actors/messages/questions.ts";
import { WorkerMailbox } from "../../actors/messages/worker.ts";
import type { Clock } from "../../actors/node/clock.ts";
import { refusalResponse } from "../../actors/node/http/answers.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type AnswerOf, type Handlers, type MessageOf, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { parseChunkId } from "../../actors/rules/chunk-id.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { blockRoutes, noTraffic } from "../../actors/worker/blocks/block-routes.ts";
import { Copier } from "../../actors/worker/blocks/copy-chunk.ts";
import { Fence } from "../../actors/worker/leader/fence.ts";
import { handlers } from "../../actors/worker/leader/orders.ts";
import { reconcilePage } from "../../actors/worker/leader/reconcile.ts";
import { ChunkStore } from "../../actors/worker/store/chunk-store.ts";
import { Disk } from "../../actors/worker/store/disk.ts";
import { ChunkIndex, type StoredIdentity } from "../../databases/chunk-index.ts";

const log = createLogger("test", "silent" as "debug");
/** Greater than the log index of any decision: what is trashed with it goes. */
const AT_LAST = Number.MAX_SAFE_INTEGER;
const MAX_REPORTED = 256;

export interface Step {
  kind: "put" | "get" | "seal" | "describe" | "abort";
  chunkId: number;
  block: number;
}
type Copying = MessageOf<typeof WorkerMailbox, "COPY_CHUNK">;
type Compared = AnswerOf<typeof MasterMailbox, "RECONCILE">;

/** The shipped store, which waits for the test before it takes bytes. */
class WatchedStore extends ChunkStore {
  before: (step: Step) => Promise<void> = async () => {};

  override async writeBlock(...put: Parameters<ChunkStore["writeBlock"]>): Promise<void> {
    await this.before({ kind: "put", chunkId: put[0], block: put[1] });
    await super.writeBlock(...put);
  }

  override async sealWhole(...put: Parameters<ChunkStore["sealWhole"]>): Promise<void> {
    await this.before({ kind: "put", chunkId: put[0].chunkId, block: 0 });
    await super.sealWhole(...put);
  }
}

export interface Setting {
  folder: string;
  config: Config;
  secret: string;
  clusterId: string;
  clock: Clock;
}

/** Of one run on one disk. */
interface Parts {
  directory: string;
  index: ChunkIndex;
  me: StoredIdentity;
  store: WatchedStore;
  identity: Identity;
  fence: Fence;
  copier: Copier;
}

export class ManualWorker {
  readonly steps: Step[] = [];
  /** Runs before each step is carried out; may throw a Refusal, wait, or kill the worker. */
  fault: ((step: Step) => void | Promise<void>) | null = null;
  readonly copyOrders: Copying[] = [];
  /** Runs before an order to copy is carried out; may throw a Refusal, or wait. */
  beforeCopy: ((order: Copying) => Promise<unknown>) | null = null;
  /** Copies under way, as its heartbeats name them. */
  readonly copying = new Set<number>();
  /** What went to the trash because the leader said so. */
  readonly trashed: number[] = [];
  /** What the leader has had read back. */
  readonly verified: number[] = [];
  /** False: it is silent, but answers orders. */
  beats = true;
  /** False: it never tells what it holds. */
  tellsInventory = true;
  /** What its heartbeats say of its disk. */
  capacityBytes = 1_000_000;
  condition: WorkerCondition = "normal";
  load = 0;
  /** As the leader told it last; null: it does not know the leader yet. */
  mode: WorkerMode | null = null;
  /** How many orders it is carrying out. */
  busy = 0;
  #disks = 0;
  #parts: Parts;
  #app: { stop(closeActive?: boolean): unknown } | null = null;

  constructor(
    readonly id: string,
    readonly url: string,
    /** As its configuration says; it tells the leader when it registers. */
    public zone: string,
    readonly setting: Setting,
  ) {
    this.#parts = this.#open();
  }

  /** Opens an empty disk. */
  #open(): Parts {
    const { setting, id } = this;
    const directory = join(setting.folder, `${id}-${++this.#disks}`);
    mkdirSync(directory, { recursive: true });
    const index = new ChunkIndex(directory);
    const me = index.beginEpoch();
    const disk = new Disk({ directory, reservedBytes: 0 });
    const store = new WatchedStore(index, { directory, inlineChunkBytes: setting.config.inlineChunkBytes, disk, log });
    store.before = (step) => this.#step(step);
    const credentials = sharedSecret(id, setting.secret);
    const identity: Identity = { nodeId: id, credentials, clusterId: () => setting.clusterId };
    const fence = new Fence(index, store.commits, () => setting.clock.now());
    return { directory, index, me, store, identity, fence, copier: new Copier(identity, store) };
  }

  async start(): Promise<void> {
    const { store, identity, fence, copier } = this.#parts;
    await store.recover();
    const host = { identity, store, fence, copier, traffic: noTraffic(), log, assertReady: () => {} };
    this.#app = new Elysia(SERVER_OPTIONS)
      .onRequest(({ request }) => this.#beforeRead(request))
      .use(blockRoutes(host))
      .use(mailbox(WorkerMailbox, this.#orders(handlers(host)), identity, log))
      // A file may go while it is read, and its reader asks elsewhere. Without a handler the error would fail the test run.
      .listen({ ...listenOptions(this.url), error: () => new Response(null, { status: 500 }) });
  }

  /** As by kill -9: connections break, nothing more is answered. */
  kill(): Promise<never> {
    this.#app?.stop(true);
    this.#app = null;
    return new Promise<never>(() => {});
  }

  async stop(): Promise<void> {
    this.#app?.stop(true);
    this.#app = null;
    await this.#parts.store.close();
  }

  /** It comes back with an empty disk. */
  async wipe(): Promise<void> {
    await this.stop();
    rmSync(this.#parts.directory, { recursive: true });
    this.copying.clear();
    this.mode = null;
    this.#parts = this.#open();
    await this.start();
  }

  get isUp(): boolean {
    return this.#app !== null;
  }

  get address(): WorkerAddress {
    return { id: this.id, url: this.url, zone: this.zone, state: "live" };
  }

  get store(): ChunkStore {
    return this.#parts.store;
  }

  /** Changes with the disk; and how often that was started. */
  get me(): { incarnation: string; epoch: number } {
    const { incarnation, epoch } = this.#parts.me;
    return { incarnation, epoch };
  }

  // ── what lies on its disk ────────────────────────────────────────────────────────────────────────────────────────

  /** In the order of their ids. */
  sealedChunks(): number[] {
    return this.#parts.index.sealedAfter(-1, 10_000).map(({ chunkId }) => chunkId);
  }

  holds(chunkId: number): boolean {
    return this.store.describe(chunkId)?.state === "sealed";
  }

  /** Writes a chunk that is not sealed. @returns its length and CRC-32 */
  async begin(chunkId: number, bytes: Uint8Array<ArrayBuffer>) {
    const { blockSizeBytes } = this.setting.config;
    const crcs: number[] = [];
    for (let at = 0; at < bytes.length; at += blockSizeBytes) {
      const block = bytes.slice(at, at + blockSizeBytes);
      crcs.push(Bun.hash.crc32(block));
      await ChunkStore.prototype.writeBlock.call(
        this.store,
        chunkId,
        at / blockSizeBytes,
        blockSizeBytes,
        block,
        crcs.at(-1) as number,
      );
    }
    return { lengthBytes: bytes.length, crc32: crc32OfBlocks(crcs, bytes.length, blockSizeBytes) };
  }

  /** Has a sealed chunk. @returns its length and CRC-32 */
  async hold(chunkId: number, bytes: Uint8Array<ArrayBuffer>) {
    const written = await this.begin(chunkId, bytes);
    await this.store.seal({ chunkId, ...written }, this.setting.config.blockSizeBytes);
    return written;
  }

  /** Has a copy of what another worker holds. */
  async copyFrom(other: ManualWorker, chunkId: number): Promise<void> {
    const read = other.store.readBlocks(chunkId, 0, 1000);
    await this.hold(chunkId, new Uint8Array(await new Response(read.body).arrayBuffer()));
  }

  /** Has none of these chunks any more; of none at all, if none is named. */
  async lose(...chunkIds: number[]): Promise<void> {
    await this.store.trash(chunkIds.length > 0 ? chunkIds : this.sealedChunks(), AT_LAST);
    await this.store.sweep(0, () => true);
  }

  /** Flips a bit of a stored block, as a bad disk does. The chunk has a file: it is longer than `inlineChunkBytes`. */
  corrupt(chunkId: number, block = 0): void {
    const file = openSync(this.store.folders.file(chunkId, "sealed"), "r+");
    const at = block * this.setting.config.blockSizeBytes;
    const byte = new Uint8Array(1);
    readSync(file, byte, 0, 1, at);
    writeSync(
      file,
      byte.map((value) => value ^ 1),
      0,
      1,
      at,
    );
    closeSync(file);
  }

  // ── what it is asked ─────────────────────────────────────────────────────────────────────────────────────────────

  async #step(step: Step): Promise<void> {
    this.steps.push(step);
    await this.fault?.(step);
    if (!this.isUp) await this.kill();
  }

  async #beforeRead({ method, url }: Request): Promise<Response | undefined> {
    const { pathname, searchParams } = new URL(url);
    const [, id, first] = /^\/chunks\/(\w+)\/blocks\/(\d+)$/.exec(pathname) ?? [];
    const chunkId = id === undefined || method !== "GET" ? null : parseChunkId(id);
    if (chunkId === null) return;
    const count = Number(searchParams.get("count") ?? 1);
    try {
      for (let n = 0; n < count; n++) await this.#step({ kind: "get", chunkId, block: Number(first) + n });
    } catch (error) {
      return refusalResponse(error, log);
    }
  }

  #orders(shipped: Handlers<typeof WorkerMailbox>): Handlers<typeof WorkerMailbox> {
    const after = <T, R>(kind: Step["kind"], handle: (message: T, sender: string) => R | Promise<R>) => {
      return async (message: T & { chunkId: number }, sender: string): Promise<R> => {
        await this.#step({ kind, chunkId: message.chunkId, block: -1 });
        return await handle(message, sender);
      };
    };
    const counted = <T, R>(handle: (message: T, sender: string) => R | Promise<R>) => {
      return async (message: T, sender: string): Promise<R> => {
        this.busy++;
        try {
          return await handle(message, sender);
        } finally {
          this.busy--;
        }
      };
    };
    const copy = counted(shipped.COPY_CHUNK);
    const trash = counted(shipped.TRASH_CHUNKS);
    const verify = counted(shipped.VERIFY_CHUNK);
    return {
      ...shipped,
      SEAL_CHUNK: after("seal", shipped.SEAL_CHUNK),
      ABORT_CHUNK: after("abort", shipped.ABORT_CHUNK),
      DESCRIBE_CHUNK: after("describe", shipped.DESCRIBE_CHUNK),
      COPY_CHUNK: async (order, sender) => {
        this.copyOrders.push(order);
        this.copying.add(order.chunkId);
        try {
          await this.beforeCopy?.(order);
          return await copy(order, sender);
        } finally {
          this.copying.delete(order.chunkId);
        }
      },
      TRASH_CHUNKS: async (order, sender) => {
        const answer = await trash(order, sender);
        this.trashed.push(...answer.trashed);
        return answer;
      },
      VERIFY_CHUNK: (order, sender) => {
        this.verified.push(order.chunkId);
        return verify(order, sender);
      },
    };
  }

  /** Carries an order to copy out. */
  carryOut = (order: Copying) => this.#parts.copier.copy(order);

  // ── what it tells the leader ─────────────────────────────────────────────────────────────────────────────────────

  /** A heartbeat, or the registration that has to come before. */
  async beat(leader: Office["handlers"]): Promise<void> {
    if (this.mode === null) {
      await this.#register(leader);
      if (this.tellsInventory) await this.tellInventory(leader);
    }
    const { index, store, fence } = this.#parts;
    const { chunkCount, openChunks, trashBytes } = store.totals;
    const askedAt = fence.now;
    try {
      const answer = await leader.HEARTBEAT(
        {
          type: "HEARTBEAT",
          workerId: this.id,
          ...this.me,
          condition: this.condition,
          mode: this.mode as WorkerMode,
          capacityBytes: this.capacityBytes,
          freeBytes: this.#freeBytes,
          trashBytes,
          chunkCount,
          openChunks,
          load: this.load,
          copying: [...this.copying],
          badReplicas: index.unreported(MAX_REPORTED),
          idleOpenChunks: [],
        },
        this.id,
      );
      await fence.pass(answer.term);
      fence.noteLeaderTime(answer.term, answer.leaderTimeMs, askedAt);
      await store.commits.add(false, () => {
        for (const chunkId of answer.acknowledged) index.acknowledge(chunkId);
      });
      this.mode = answer.mode;
    } catch (error) {
      if ((error as Refusal).code !== "UNKNOWN_WORKER") throw error;
      this.mode = null;
    }
  }

  get #freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.store.usedBytes);
  }

  async #register(leader: Office["handlers"]): Promise<void> {
    const { id: workerId, url, zone, capacityBytes, setting } = this;
    const { fence } = this.#parts;
    const askedAt = fence.now;
    const about = { workerId, ...this.me, url, zone, capacityBytes, freeBytes: this.#freeBytes };
    const answer = await leader.REGISTER({ type: "REGISTER", clusterId: setting.clusterId, ...about }, workerId);
    await fence.follow(answer.term);
    fence.noteLeaderTime(answer.term, answer.leaderTimeMs, askedAt);
    this.mode = answer.mode;
  }

  /** Compares all that it holds with the metadata, and obeys. @returns what it was told last */
  async tellInventory(leader: Office["handlers"]): Promise<Compared> {
    const { index, store, fence } = this.#parts;
    const term = fence.highestTerm;
    let told: Compared | null = null;
    const host: Parameters<typeof reconcilePage>[0] = {
      index,
      settled: () => store.settled(),
      ask: async (page) => {
        told = await leader.RECONCILE({ type: "RECONCILE", workerId: this.id, ...this.me, ...page }, this.id);
        return told;
      },
      trash: async (chunkIds, decidedAt) => {
        await fence.pass(term);
        const { trashed } = await store.trash(chunkIds, decidedAt);
        this.trashed.push(...trashed);
      },
    };
    for (let from: number | null = 0; from !== null; ) from = await reconcilePage(host, from);
    if (told === null) throw new Error("No page was compared");
    return told;
  }
}
