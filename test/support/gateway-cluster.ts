/**
 * A cluster in one process as a gateway sees it: the leader's office answers on a socket, over workers whose steps a test
 * may delay, refuse or cut off. Its time stands still, so nothing falls silent and nothing is repaired.
 */

import { Elysia } from "elysia";
import { Membership } from "../../actors/master/group/membership.ts";
import { Standing } from "../../actors/master/group/standing.ts";
import type { Command } from "../../actors/messages/commands.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { checkConfig, loadConfig } from "../../actors/node/config.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type AnswerOf, type Handlers, type MessageOf, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { PROGRAM_VERSION } from "../../actors/rules/decide/cluster-version.ts";
import { openBackend } from "../../gateway/backend.ts";
import type { DownloadPatience } from "../../gateway/transfer/downloads.ts";
import { CLUSTER_ID, ManualCluster, SECRET } from "./manual-cluster.ts";
import type { ManualWorker } from "./manual-worker.ts";
import { asSystem, type SystemBackend } from "./system-backend.ts";

export { SECRET } from "./manual-cluster.ts";
export type { ManualWorker, Step } from "./manual-worker.ts";

export const BLOCK = 4096;
export const CHUNK = 16 * BLOCK;
const log = createLogger("test", "silent" as "debug");

/** Until the leader has heard every worker and left its safe mode. */
const SETTLING_MS = 1000;

type Message<T extends keyof typeof MasterMailbox> = MessageOf<typeof MasterMailbox, T>;

export interface ClusterOptions {
  workers?: number;
  config?: Partial<Config>;
  grantLeaseMs?: number;
  blockTimeoutMs?: number;
  hedgeAfterMs?: number;
  downloadPatience?: DownloadPatience;
  silentAfterMs?: number;
}

export class GatewayCluster extends ManualCluster {
  readonly data: SystemBackend;
  /** Another gateway of the cluster; to be closed by the test. */
  readonly openGateway: (gatewayId: string) => SystemBackend;
  readonly reports: Message<"REPORT_REPLICA">[] = [];
  /** How many messages of each type have come to the master. */
  readonly asked: Record<string, number> = {};
  /** So many answers to commands get lost from now on. */
  loseAnswers = 0;
  onLostAnswer: (() => void) | null = null;
  mostInFlight = 0;
  #inFlight = 0;
  #sessionsEnded = false;
  readonly #grantLeaseMs: number;
  #members: Membership | null = null;
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
    const shipped = loadConfig();
    super({
      zones: Array.from({ length: workers }, (_, n) => `zone-${n}`),
      prefix: "worker-",
      config: {
        gateways: [],
        chunkSizeBytes: CHUNK,
        blockSizeBytes: BLOCK,
        readAheadBytes: 6 * BLOCK,
        inlineChunkBytes: BLOCK,
        limits: { ...shipped.limits, reservedBytes: 0 },
        ...config,
      },
    });
    checkConfig(this.config);
    this.#grantLeaseMs = grantLeaseMs;
    const timeouts = { blockMs: blockTimeoutMs, sealMs: 20_000, messageMs: 5000 };
    const patience = { timeouts, hedgeAfterMs, downloadPatience, silentAfterMs };
    this.openGateway = (gatewayId) =>
      asSystem(openBackend({ config: this.config, gatewayId, secret: SECRET, log, ...patience }));
    this.data = this.openGateway("gateway-1");
  }

  /** All workers have registered, and the master answers. */
  async up(): Promise<this> {
    await this.open();
    for (const worker of this.workers) worker.capacityBytes = 1 << 30;
    await this.pass(SETTLING_MS);
    this.startMaster();
    if (this.config.tinyFileBytes !== 0) await this.takeTinyFiles();
    return this;
  }

  /** As masters of this program do that are as many as a file wants copies: here one stands for three. */
  async takeTinyFiles(): Promise<void> {
    await this.propose({ type: "SET_CLUSTER_VERSION", version: PROGRAM_VERSION });
    this.engine.voters = () => ["master-1", "master-2", "master-3"];
  }

  override async stop(): Promise<void> {
    await this.data.close();
    this.stopMaster();
    await super.stop();
  }

  startMaster(): void {
    const identity = { nodeId: "master-1", credentials: sharedSecret("master-1", SECRET), clusterId: () => CLUSTER_ID };
    this.#master = new Elysia(SERVER_OPTIONS)
      .use(mailbox(MasterMailbox, this.#handlers(), identity, log))
      .listen(listenOptions(this.config.masters[0]?.url as string));
  }

  stopMaster(): void {
    this.#members?.stop();
    this.#master?.stop(true);
    this.#master = null;
  }

  worker(id: string): ManualWorker {
    const worker = this.workers.find((worker) => worker.id === id);
    if (!worker) throw new Error(`no worker ${id}`);
    return worker;
  }

  propose(command: Command): Promise<unknown> {
    return this.engine.propose(command);
  }

  /** As if every session so far had been idle for too long. */
  endSessions(): void {
    this.#sessionsEnded = true;
  }

  /** How many chunks lie on workers without being sealed. */
  openChunks(): number {
    return this.workers.reduce((sum, { store }) => sum + store.totals.openChunks, 0);
  }

  locate(path: string) {
    return this.engine.queries.locate(path, 0, 1000);
  }

  #handlers(): Handlers<typeof MasterMailbox> {
    const no = () => {
      throw new Refusal("INTERNAL", "This master is a group of one");
    };
    const standing = new Standing();
    const membership = this.#membership();
    const handlers: Handlers<typeof MasterMailbox> = {
      ...this.office.handlers,
      RAFT: no,
      PASS_ON: no,
      PASSED_ON: no,
      CHANGE_MASTERS: ({ change, id, url }) => membership.change(change, id, url),
      TRANSFER_LEADERSHIP: async ({ to }) => ({ leader: await membership.transfer(to) }),
      MASTER_STATUS: () => standing.status(this.engine, this.config.masters[0]?.url as string, 0, () => null),
      EXECUTE: (proposal, sender) => this.#execute(proposal, sender),
      PLACE_CHUNKS: (wish) => this.#place(wish),
      REPLACE_WORKERS: ({ count, holders, exclude }) => ({
        workers: this.#firstUp(count, [...holders, ...exclude]).map(({ address }) => address),
      }),
      REPORT_REPLICA: (report, sender) => {
        this.reports.push(report);
        return this.office.handlers.REPORT_REPLICA(report, sender);
      },
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

  #membership(): Membership {
    const { engine, config } = this;
    const self = { url: config.masters[0]?.url as string, incarnation: "the-only-one" };
    this.#members?.stop();
    this.#members = new Membership({ metadata: engine, self, heard: () => null, log });
    return this.#members;
  }

  async #execute(proposal: Message<"EXECUTE">, sender: string): Promise<AnswerOf<typeof MasterMailbox, "EXECUTE">> {
    if (proposal.sessionId === 0) this.#sessionsEnded = false;
    else if (this.#sessionsEnded) throw new Refusal("SESSION_EXPIRED", "The session has ended");
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
    try {
      const outcome = await this.office.handlers.EXECUTE(proposal, sender);
      if (proposal.sessionId === 0 || this.loseAnswers === 0) return outcome;
    } finally {
      this.#inFlight--;
    }
    this.loseAnswers--;
    this.onLostAnswer?.();
    throw new Refusal("NOT_READY", "The answer got lost");
  }

  /** On the first workers that are up, so that a test can name those that it harms. */
  async #place({ gatewayId, count, replicationFactor, minReplicas, exclude }: Message<"PLACE_CHUNKS">) {
    const chosen = this.#firstUp(replicationFactor, exclude);
    if (chosen.length < minReplicas)
      throw new Refusal("NOT_ENOUGH_WORKERS", `${chosen.length} live workers, ${minReplicas} needed`);
    const decision = { atLogTime: 0, rule: "the first ones", candidates: [] };
    const leaseMs = this.#grantLeaseMs;
    const granted = await this.engine.propose({ type: "GRANT_CHUNKS", gatewayId, count, leaseMs, decision });
    const placements = Array(count).fill(chosen.map(({ id }) => id));
    return { ...granted, leaseMs, placements, workers: chosen.map(({ address }) => address) };
  }

  #firstUp(count: number, exclude: string[]): ManualWorker[] {
    return this.workers.filter(({ id, isUp }) => isUp && !exclude.includes(id)).slice(0, count);
  }
}
