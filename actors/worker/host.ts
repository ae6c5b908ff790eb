/**
 * A worker node put together: its machine, chunk store, server, and what runs in the background. All I/O of the node is
 * here and below; what happens when is the machine's (`worker.machine.ts`).
 */

import { Elysia } from "elysia";
import { type ActorRefFrom, createActor, type SnapshotFrom } from "xstate";
import type { ChunkIndex } from "../../databases/chunk-index.ts";
import type { Config } from "../messages/config.ts";
import { Refusal } from "../messages/errors.ts";
import { WorkerMailbox } from "../messages/worker.ts";
import { entrance } from "../node/http/entrance.ts";
import { SERVER_OPTIONS, serve } from "../node/http/server-options.ts";
import type { Identity } from "../node/identity/identity.ts";
import { sharedSecret } from "../node/identity/signature.ts";
import { ExitCode } from "../node/lifecycle.ts";
import type { Logger } from "../node/log.ts";
import { mailbox } from "../node/messaging/mailbox.ts";
import { inspector } from "../node/record/inspector.ts";
import { recorder } from "../node/record/running-recorder.ts";
import { longWork, RECOVERY_LIMIT_MS } from "../node/watchdog/current-work.ts";
import { blockRoutes, noTraffic } from "./blocks/block-routes.ts";
import { Copier } from "./blocks/copy-chunk.ts";
import { Fence } from "./leader/fence.ts";
import { LeaderLink } from "./leader/leader-link.ts";
import { handlers } from "./leader/orders.ts";
import { Reconciler } from "./leader/reconcile.ts";
import { Reporting } from "./leader/reporting.ts";
import { workerMetrics } from "./metrics.ts";
import { probes } from "./probes.ts";
import { RolesAtWorker } from "./roles.ts";
import { Self } from "./self.ts";
import { ChunkStore } from "./store/chunk-store.ts";
import { Disk } from "./store/disk.ts";
import { Ground } from "./store/ground.ts";
import { openIndex } from "./store/open-index.ts";
import { type ScrubProgress, scrub } from "./store/scrub.ts";
import { upkeep } from "./store/upkeep.ts";
import { workerMachine } from "./worker.machine.ts";

export interface WorkerOptions {
  id: string;
  url: string;
  zone: string;
  capacityBytes?: number;
  /** Whether big blocks go past the page cache, where the file system takes that; buffered, if absent. */
  diskWrites?: "direct" | "buffered";
  directory: string;
  secret: string;
  config: Config;
  log: Logger;
  rhythm?: Partial<Rhythm>;
  /** The stored term is no leader's: the next registration's replaces it. */
  resetTerm?: boolean;
}

/** The rhythm of background work, ms. */
export interface Rhythm {
  /** Between two pages of the slow comparison with the leader. */
  reconcilePauseMs: number;
  sweepMs: number;
  /** An unsealed chunk untouched for this long is asked about. */
  idleAfterMs: number;
  /** Between two trial writes while the disk refuses writes, and between two looks at the quarantine. */
  probeMs: number;
  /** From a copy's quarantine to its first rereading; each one that finds it bad doubles the time to the next. */
  recheckAfterMs: number;
  /** A stop waits no longer than this for work under way. */
  drainMs: number;
}

const RHYTHM: Rhythm = {
  reconcilePauseMs: 5000,
  sweepMs: 2000,
  idleAfterMs: 60_000,
  probeMs: 10_000,
  recheckAfterMs: 60_000,
  drainMs: 5000,
};
/** Blocks are counted into the recording: a record for each would be too many. */
const TRAFFIC_SAMPLE_MS = 1000;

export interface WorkerNode {
  readonly url: string;
  readonly store: ChunkStore;
  /** As the machine says: "registering.asking", "serving.disk.full …" */
  state(): string;
  /** Finishes work under way, closes files and index. */
  stop(): Promise<void>;
}

/** @throws StartRefused if the data directory is another worker's, or cannot be used */
export async function startWorker(options: WorkerOptions): Promise<WorkerNode> {
  const worker = new WorkerHost(options);
  await worker.start();
  return worker;
}

class WorkerHost implements WorkerNode {
  readonly url: string;
  readonly store: ChunkStore;
  readonly #options: WorkerOptions;
  readonly #rhythm: Rhythm;
  readonly #index: ChunkIndex;
  readonly #self: Self;
  readonly #identity: Identity;
  readonly #disk: Disk;
  readonly #fence: Fence;
  readonly #copier: Copier;
  readonly #reporting: Reporting;
  readonly #reconciler: Reconciler;
  readonly #machine: ActorRefFrom<typeof workerMachine>;
  readonly #traffic = noTraffic();
  readonly #scrubbed: ScrubProgress = { chunksChecked: 0, bytesChecked: 0, badFound: 0 };
  /** Ends what runs in the background. */
  readonly #background = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  #server: { stop(closeActiveConnections: boolean): Promise<unknown> } | null = null;

  /** Opens the index. @throws StartRefused */
  constructor(options: WorkerOptions) {
    const { id, url, config, directory, secret, log, resetTerm = false } = options;
    const { heartbeatMs } = config;
    this.url = url;
    this.#options = options;
    this.#rhythm = { ...RHYTHM, ...options.rhythm };
    const index = longWork("open the index", RECOVERY_LIMIT_MS, () => openIndex(directory, log));
    const self = new Self(options, index, resetTerm);
    const roles = new RolesAtWorker(config);
    this.#index = index;
    this.#self = self;
    this.#identity = {
      nodeId: id,
      credentials: sharedSecret(id, secret),
      clusterId: () => self.clusterId,
      rolesOf: roles.rolesOf,
    };
    const { capacityBytes, diskWrites = "buffered" } = options;
    this.#disk = new Disk({ directory, capacityBytes, reservedBytes: config.limits.reservedBytes });
    const { inlineChunkBytes } = config;
    const writesDirect = diskWrites === "direct";
    this.store = new ChunkStore(index, { directory, inlineChunkBytes, disk: this.#disk, log, writesDirect });
    this.#fence = new Fence(index, this.store.commits, undefined, resetTerm);
    this.#copier = new Copier(this.#identity, this.store);
    this.#machine = this.#createMachine();
    const shared = {
      self,
      index,
      log,
      heartbeatMs,
      store: this.store,
      disk: this.#disk,
      fence: this.#fence,
      leader: new LeaderLink(
        this.#identity,
        config.masters.map((master) => master.url),
      ),
      signal: this.#background.signal,
    };
    this.#reporting = new Reporting({
      ...shared,
      roles,
      traffic: this.#traffic,
      copier: this.#copier,
      idleAfterMs: this.#rhythm.idleAfterMs,
      notify: (event) => this.#machine.send(event),
      mode: () => this.#snapshot().context.mode,
    });
    this.#reconciler = new Reconciler({
      ...shared,
      pauseMs: this.#rhythm.reconcilePauseMs,
      servingTerm: () => (this.#isServing() ? this.#snapshot().context.term : null),
    });
  }

  #createMachine(): ActorRefFrom<typeof workerMachine> {
    const { config, log } = this.#options;
    return createActor(
      workerMachine.provide({
        actions: {
          register: () => void this.#reporting.register(),
          sendHeartbeat: () => void this.#reporting.sendHeartbeat(),
          reconcile: () => void this.#reconciler.run(),
          finishWork: () => void this.#finishWork(),
          noteUnexpected: ({ event }) => log.warn({ event: "unexpected-event", type: event.type }, "unexpected event"),
        },
      }),
      {
        id: "worker",
        input: {
          heartbeatMs: config.heartbeatMs,
          orphanAfterMs: config.suspectAfterMs,
          drainMs: this.#rhythm.drainMs,
        },
        inspect: inspector(),
      },
    );
  }

  /** Listens, recovers the store, and begins everything that runs in the background. @throws StartRefused */
  async start(): Promise<void> {
    this.#startMachine();
    this.#sampleTraffic();
    this.#listen();
    const { directory, log } = this.#options;
    const found = await longWork("recover", RECOVERY_LIMIT_MS, () => this.store.recover());
    const { incarnation, epoch } = this.#self;
    log.info(
      { event: "opened", directory, incarnation, epoch, ...found, ...this.store.totals },
      "the data directory is open",
    );
    this.#machine.send({ type: "OPENED" });
    this.#beginUpkeep();
  }

  #startMachine(): void {
    const { log } = this.#options;
    let last = "";
    this.#machine.subscribe({
      next: (snapshot) => {
        const state = describeState(snapshot.value);
        // The pulse and the questions to masters change all the time; the log shows all other changes.
        const shown = state.replace(/ pulse\.\w+/, "").replace(/\.(asking|waiting)$/, "");
        if (shown !== last) log.info({ event: "state", state: shown, why: snapshot.context.refusedBecause }, shown);
        last = shown;
        if (snapshot.status === "done") this.#ended.resolve();
      },
      error: (err) => {
        log.fatal({ event: "machine-failed", err }, "the worker's machine failed");
        process.exit(ExitCode.crashed);
      },
    });
    this.#machine.start();
  }

  #sampleTraffic(): void {
    recorder()?.sample("traffic", TRAFFIC_SAMPLE_MS, () => {
      const { blocksWritten, bytesWritten, blocksRead, bytesRead, requests } = this.#traffic;
      return { blocksWritten, bytesWritten, blocksRead, bytesRead, requests };
    });
  }

  #listen(): void {
    const { id, url, log } = this.#options;
    const identity = this.#identity;
    const disk = this.#disk;
    const parts = {
      log,
      store: this.store,
      fence: this.#fence,
      copier: this.#copier,
      traffic: this.#traffic,
      assertReady: (kind: "read" | "write") => this.#assertReady(kind),
    };
    const metrics = workerMetrics({
      ...parts,
      disk,
      scrubbed: this.#scrubbed,
      isServing: () => this.#isServing(),
    });
    const app = new Elysia({ name: "worker", ...SERVER_OPTIONS })
      .use(entrance(log))
      .use(blockRoutes({ identity, ...parts }))
      .use(mailbox(WorkerMailbox, handlers(parts), identity, log))
      .use(probes({ id, store: this.store, disk, metrics, snapshot: () => this.#snapshot() }));
    serve(app, url);
    this.#server = app;
  }

  #beginUpkeep(): void {
    const { directory, config, log } = this.#options;
    const { signal } = this.#background;
    const index = this.#index;
    void upkeep(this.store, this.#disk, new Ground([directory, index.path], this.store.folders.all), {
      ...this.#rhythm,
      keepMs: config.trash.keepMs,
      signal,
      log,
      onLost: (path) => endWithout(path, log),
    });
    void scrub(index, this.store, { ...config.scrub, signal, log }, this.#scrubbed);
  }

  #snapshot(): SnapshotFrom<typeof workerMachine> {
    return this.#machine.getSnapshot();
  }

  #isServing(): boolean {
    return this.#snapshot().matches("serving");
  }

  state(): string {
    return describeState(this.#snapshot().value);
  }

  /** @throws NOT_READY while starting, and for writes while stopping */
  #assertReady(kind: "read" | "write"): void {
    const { id } = this.#self;
    const snapshot = this.#snapshot();
    if (snapshot.matches("starting")) throw new Refusal("NOT_READY", `${id} is still starting`);
    if (snapshot.status === "done" || (kind === "write" && snapshot.matches("draining")))
      throw new Refusal("NOT_READY", `${id} is stopping`);
  }

  async #finishWork(): Promise<void> {
    this.#background.abort();
    const isActive = () => this.#snapshot().status === "active";
    while (this.#traffic.requests > 0 && isActive()) await Bun.sleep(10);
    if (isActive()) this.#machine.send({ type: "DRAINED" });
  }

  async stop(): Promise<void> {
    this.#machine.send({ type: "STOP" });
    await this.#ended.promise;
    this.#background.abort();
    await this.#server?.stop(true);
    await this.store.close();
  }
}

/** Without its data directory or index a worker must end: what it acknowledged from now on would be gone with the process. */
function endWithout(path: string, log: Logger): never {
  log.fatal({ event: "ground-lost", path }, `${path} is not there any more, or not the one that this worker opened`);
  process.exit(ExitCode.diskFailed);
}

/** `{serving: {disk: "full", pulse: "resting"}}` as "serving.disk.full pulse.resting". */
function describeState(value: unknown): string {
  if (typeof value === "string") return value;
  return Object.entries(value as Record<string, unknown>)
    .map(([name, inner]) => `${name}.${describeState(inner)}`)
    .join(" ");
}
