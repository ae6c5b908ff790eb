/**
 * A worker node put together: its machine, chunk store, server, and what runs in the background. All I/O of the node is
 * here and below; what happens when is the machine's (`worker.machine.ts`).
 */
import { Elysia } from "elysia";
import { createActor } from "xstate";
import { ChunkIndex } from "../../databases/chunk-index.ts";
import { DatabaseRefused } from "../../databases/sqlite.ts";
import type { Config } from "../messages/config.ts";
import { Refusal } from "../messages/errors.ts";
import type { MasterMailbox } from "../messages/master.ts";
import { MAX_TERM } from "../messages/primitives.ts";
import { WorkerMailbox } from "../messages/worker.ts";
import { entrance, serve } from "../node/http/entrance.ts";
import { ExitCode, StartRefused } from "../node/lifecycle.ts";
import type { Logger } from "../node/log.ts";
import { type Identity, type MessageOf, mailbox, SERVER_OPTIONS } from "../node/messaging/mailbox.ts";
import { becauseOf } from "../node/record/cause.ts";
import { inspector } from "../node/record/inspector.ts";
import { recorder } from "../node/record/recorder.ts";
import { declareWork, longWork, RECOVERY_LIMIT_MS } from "../node/watchdog/current-work.ts";
import { blockRoutes, noTraffic } from "./blocks/block-routes.ts";
import { Copier } from "./blocks/copy-chunk.ts";
import { Fence } from "./leader/fence.ts";
import { LeaderLink } from "./leader/leader-link.ts";
import { handlers } from "./leader/orders.ts";
import { reconcilePage } from "./leader/reconcile.ts";
import { probes } from "./probes.ts";
import { RolesAtWorker } from "./roles.ts";
import { ChunkStore } from "./store/chunk-store.ts";
import { Disk } from "./store/disk.ts";
import { Ground } from "./store/ground.ts";
import { pause } from "./store/pace.ts";
import { type ScrubProgress, scrub } from "./store/scrub.ts";
import { upkeep } from "./store/upkeep.ts";
import { workerMachine } from "./worker.machine.ts";

export interface WorkerOptions {
  id: string;
  url: string;
  zone: string;
  capacityBytes?: number;
  directory: string;
  secret: string;
  config: Config;
  log: Logger;
  rhythm?: Partial<Rhythm>;
  /** The stored term is no leader's: the next registration's replaces it. */
  resetTerm?: boolean;
}

/** How often what happens beside the work. In ms. */
export interface Rhythm {
  /** Between two pages of the slow comparison with the leader. */
  reconcilePauseMs: number;
  sweepMs: number;
  /** An unsealed chunk untouched for this long is asked about. */
  idleAfterMs: number;
  /** While the disk refuses writes, a trial write this often; and as often a look at what lies in quarantine. */
  probeMs: number;
  /** A copy that was put into quarantine is read again after this, then ever more rarely. */
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
/** Blocks are counted into the record, never told one by one. */
const TRAFFIC_SAMPLE_MS = 1000;
/** Refusals that waiting does not cure. */
const NEEDS_A_PERSON: ReadonlySet<string> = new Set([
  "UNAUTHENTICATED",
  "WRONG_CLUSTER",
  "WRONG_NODE",
  "WRONG_SENDER",
  "IMPLAUSIBLE_TERM",
]);
/** A report holds at most this many chunks of a kind; the next one the rest. */
const REPORT_LIMIT = 256;

const beating = declareWork("heartbeat");
const reconciling = declareWork("reconcile");

export interface WorkerNode {
  readonly url: string;
  /** As the machine says: "registering.asking", "serving.disk.full …" */
  state(): string;
  store: ChunkStore;
  /** Finishes work under way, closes files and index. */
  stop(): Promise<void>;
}

/** @throws StartRefused if the data directory is another worker's, or cannot be used */
export async function startWorker(options: WorkerOptions): Promise<WorkerNode> {
  const { id, config, directory, log } = options;
  const rhythm = { ...RHYTHM, ...options.rhythm };
  const index = longWork("open the index", RECOVERY_LIMIT_MS, () => openIndex(directory, log));
  const me = index.beginEpoch();
  if (me.highestTerm > MAX_TERM && !options.resetTerm) {
    index.close();
    throw new StartRefused(
      `${id} cannot start: the term that it has stored, ${me.highestTerm}, is no leader's. Start it once with --reset-term, when a leader is there.`,
      ExitCode.dataDirectoryRefused,
    );
  }
  let clusterId = me.clusterId;
  const roles = new RolesAtWorker(config);
  const identity: Identity = {
    nodeId: id,
    secret: options.secret,
    clusterId: () => clusterId,
    rolesOf: roles.rolesOf,
  };
  const disk = new Disk({
    directory,
    capacityBytes: options.capacityBytes,
    reservedBytes: config.limits.reservedBytes,
  });
  const store = new ChunkStore(index, { directory, inlineChunkBytes: config.inlineChunkBytes, disk, log });
  const fence = new Fence(index, undefined, options.resetTerm);
  const copier = new Copier(identity, store);
  const leader = new LeaderLink(
    identity,
    config.masters.map(({ url }) => url),
  );
  const traffic = noTraffic();
  const scrubbed: ScrubProgress = { chunksChecked: 0, bytesChecked: 0, badFound: 0 };
  const background = new AbortController();
  /** Answers of the leader are waited for this long: long enough for a busy one, short enough to notice a dead one. */
  const askTimeoutMs = Math.max(1000, config.heartbeatMs);
  /** Why the leader refuses us, as told last. */
  let toldReason = "";
  /** Counts registrations: the comparison with the leader starts anew with each. */
  let registrations = 0;

  const machine = createActor(
    workerMachine.provide({
      actions: {
        register: () => void register(),
        sendHeartbeat: () => void sendHeartbeat(),
        reconcile: () => void reconcileOn(++registrations),
        finishWork: () => void finishWork(),
        noteUnexpected: ({ event }) => log.warn({ event: "unexpected-event", type: event.type }, "unexpected event"),
      },
    }),
    {
      id: "worker",
      input: { heartbeatMs: config.heartbeatMs, orphanAfterMs: config.suspectAfterMs, drainMs: rhythm.drainMs },
      inspect: inspector(),
    },
  );
  const stopped = new Promise<void>((resolve) => {
    let last = "";
    machine.subscribe({
      next: (snapshot) => {
        const state = describeState(snapshot.value);
        // Heartbeats come and go twice a second; what people want to see is everything else.
        const shown = state.replace(/ pulse\.\w+/, "").replace(/\.(asking|waiting)$/, "");
        if (shown !== last) log.info({ event: "state", state: shown, why: snapshot.context.refusedBecause }, shown);
        last = shown;
        if (snapshot.status === "done") resolve();
      },
      error: (err) => {
        log.fatal({ event: "machine-failed", err }, "the worker's machine failed");
        process.exit(ExitCode.crashed);
      },
    });
  });
  machine.start();
  recorder()?.sample("traffic", TRAFFIC_SAMPLE_MS, () => {
    const { blocksWritten, bytesWritten, blocksRead, bytesRead, requests } = traffic;
    return { blocksWritten, bytesWritten, blocksRead, bytesRead, requests };
  });

  const states = () => machine.getSnapshot();
  const assertReady = (kind: "read" | "write") => {
    const snapshot = states();
    if (snapshot.matches("starting")) throw new Refusal("NOT_READY", `${id} is still starting`);
    if (snapshot.status === "done" || (kind === "write" && snapshot.matches("draining")))
      throw new Refusal("NOT_READY", `${id} is stopping`);
  };

  const app = new Elysia({ name: "worker", ...SERVER_OPTIONS })
    .use(entrance(log))
    .use(blockRoutes({ identity, store, traffic, log, assertReady }))
    .use(mailbox(WorkerMailbox, handlers({ store, fence, copier, traffic, log, assertReady }), identity, log))
    .use(probes({ id, store, index, disk, traffic, scrubbed, copier, snapshot: states }));
  serve(app, options.url);

  const found = await longWork("recover", RECOVERY_LIMIT_MS, () => store.recover());
  log.info(
    { event: "opened", directory, incarnation: me.incarnation, epoch: me.epoch, ...found, ...store.totals },
    "the data directory is open",
  );
  machine.send({ type: "OPENED" });
  void upkeep(store, disk, new Ground([directory, index.path], store.folders.all), {
    ...rhythm,
    keepMs: config.trash.keepMs,
    signal: background.signal,
    log,
    onLost: (path) => endWithout(path, log),
  });
  void scrub(index, store, { ...config.scrub, signal: background.signal, log }, scrubbed);

  async function register(): Promise<void> {
    const askedAt = fence.now;
    try {
      const { capacityBytes, freeBytes } = disk.space(store.usedBytes);
      const answer = await leader.ask<"REGISTER">(
        {
          type: "REGISTER",
          workerId: id,
          url: options.url,
          zone: options.zone,
          incarnation: me.incarnation,
          epoch: me.epoch,
          clusterId,
          capacityBytes,
          freeBytes,
        },
        askTimeoutMs,
      );
      if (background.signal.aborted) return;
      fence.follow(answer.term);
      fence.noteLeaderTime(answer.term, answer.leaderTimeMs, askedAt);
      if (clusterId === null) {
        index.joinCluster(answer.clusterId);
        clusterId = answer.clusterId;
      }
      roles.learn(answer.masters);
      const { term, mode, heartbeatMs } = answer;
      store.takesNew = mode === "active";
      becauseOf(answer, () => machine.send({ type: "REGISTERED", term, mode, heartbeatMs }));
    } catch (error) {
      tellSilence(error);
    }
  }

  async function sendHeartbeat(): Promise<void> {
    beating.begins();
    const askedAt = fence.now;
    try {
      const { capacityBytes, freeBytes, condition } = disk.space(store.usedBytes);
      machine.send({ type: "DISK", condition });
      const { chunkCount, openChunks, trashBytes } = store.totals;
      const heartbeat: MessageOf<typeof MasterMailbox, "HEARTBEAT"> = {
        type: "HEARTBEAT",
        workerId: id,
        incarnation: me.incarnation,
        epoch: me.epoch,
        condition,
        mode: states().context.mode,
        capacityBytes,
        freeBytes,
        trashBytes,
        chunkCount,
        openChunks,
        load: traffic.requests,
        copying: copier.chunkIds(),
        badReplicas: index.unreported(REPORT_LIMIT),
        idleOpenChunks: store.idleOpenChunks(REPORT_LIMIT, rhythm.idleAfterMs),
      };
      const answer = await leader.ask<"HEARTBEAT">(heartbeat, askTimeoutMs);
      if (background.signal.aborted) return;
      fence.pass(answer.term);
      fence.noteLeaderTime(answer.term, answer.leaderTimeMs, askedAt);
      store.takesNew = answer.mode === "active";
      becauseOf(answer, () => machine.send({ type: "ACKNOWLEDGED", term: answer.term, mode: answer.mode }));
      if (answer.acknowledged.length > 0)
        await store.commits.add(false, () => {
          for (const chunkId of answer.acknowledged) index.acknowledge(chunkId);
        });
      const stillIdle = new Set(store.idleOpenChunks(REPORT_LIMIT, rhythm.idleAfterMs));
      for (const chunkId of answer.discard) if (stillIdle.has(chunkId)) await store.abort(chunkId);
    } catch (error) {
      if (error instanceof Refusal && error.code === "UNKNOWN_WORKER") machine.send({ type: "UNKNOWN_HERE" });
      else tellSilence(error);
    }
  }

  function tellSilence(error: unknown): void {
    if (background.signal.aborted) return;
    if (error instanceof Refusal && (error.code === "STALE_TERM" || error.code === "IMPLAUSIBLE_TERM"))
      leader.distrust();
    if (!(error instanceof Refusal))
      log.error({ event: "report-failed", err: disk.refusal(error) }, "a report to the leader failed");
    const { silentMs } = leader;
    const reason = (error as Error).message;
    if (error instanceof Refusal && NEEDS_A_PERSON.has(error.code) && reason !== toldReason) {
      toldReason = reason;
      log.warn({ event: "refused-by-leader", code: error.code }, `the leader does not take ${id} in: ${reason}`);
    }
    machine.send({ type: "LEADER_SILENT", silentMs, reason });
  }

  /** Once around quickly after each registration, then slowly for ever. */
  async function reconcileOn(registration: number): Promise<void> {
    const { signal } = background;
    let quick = true;
    await pause(0, signal); // until the transition that called this is over, and the machine says "serving"
    for (let fromId = 0; !signal.aborted && registration === registrations && states().matches("serving"); ) {
      const { term } = states().context;
      reconciling.begins();
      try {
        const next = await reconcilePage(
          {
            index,
            ask: (page) =>
              leader.ask<"RECONCILE">(
                { type: "RECONCILE", workerId: id, incarnation: me.incarnation, epoch: me.epoch, ...page },
                Math.max(10_000, askTimeoutMs),
              ),
            trash: async (chunkIds, decidedAt) => {
              fence.pass(term);
              for (let at = 0; at < chunkIds.length; at += 500)
                await store.trash(chunkIds.slice(at, at + 500), decidedAt);
            },
          },
          fromId,
        );
        if (next === null) quick = false;
        fromId = next ?? 0;
      } catch (error) {
        disk.refusal(error);
        log.debug({ event: "reconcile-failed", reason: (error as Error).message }, "a page could not be compared");
        await pause(config.heartbeatMs, signal);
        continue;
      }
      await pause(quick ? 0 : rhythm.reconcilePauseMs, signal);
    }
  }

  async function finishWork(): Promise<void> {
    background.abort();
    while (traffic.requests > 0 && states().status === "active") await Bun.sleep(10);
    if (states().status === "active") machine.send({ type: "DRAINED" });
  }

  return {
    url: options.url,
    state: () => describeState(states().value),
    store,
    async stop() {
      machine.send({ type: "STOP" });
      await stopped;
      background.abort();
      await app.stop(true);
      await store.close();
    },
  };
}

/** Whatever would be acknowledged from now on would be gone with the process. */
function endWithout(path: string, log: Logger): never {
  log.fatal({ event: "ground-lost", path }, `${path} is not there any more, or not the one that this worker opened`);
  process.exit(ExitCode.diskFailed);
}

function openIndex(directory: string, log: Logger): ChunkIndex {
  try {
    const index = new ChunkIndex(directory);
    if (index.setAside)
      log.error(
        { event: "index-damaged", setAside: index.setAside },
        "the damaged index was put aside; chunks in it are lost",
      );
    return index;
  } catch (error) {
    if (error instanceof DatabaseRefused && (error.why === "inUse" || error.why === "newer"))
      throw new StartRefused(error.message, ExitCode.dataDirectoryRefused);
    throw new StartRefused(`Cannot use ${directory}: ${(error as Error).message}`, ExitCode.diskFailed);
  }
}

/** `{serving: {disk: "full", pulse: "resting"}}` as "serving.disk.full pulse.resting". */
function describeState(value: unknown): string {
  if (typeof value === "string") return value;
  return Object.entries(value as Record<string, unknown>)
    .map(([name, inner]) => `${name}.${describeState(inner)}`)
    .join(" ");
}
