/**
 * A cluster of real processes on real files in a temporary folder: what the end-to-end tests and the bench run against.
 * Nodes are killed, frozen and started again one by one, by their own process ids.
 */

import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Config } from "../../actors/messages/config.ts";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import type { RecordsMailbox } from "../../actors/messages/records.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { loadSecret } from "../../actors/node/identity/secret.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { LAUNCHED_ENV } from "../../actors/node/lifecycle.ts";
import type { AnswerOf, MessageOf } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { createClient, type DfsClient } from "../../gateway/client/client.ts";
import { until } from "./fair-time.ts";
import { freePorts } from "./free-ports.ts";

const PROJECT = resolve(import.meta.dir, "../..");
const SCRIPTS = { master: "actors/master.ts", worker: "actors/worker.ts", gateway: "gateway/gateway.ts" };
export type NodeKind = keyof typeof SCRIPTS;

export interface ClusterOptions {
  masters?: number;
  workers?: number;
  gateways?: number;
  /** Only the first master is started, with a configuration that lists no other; afterwards it lists them all. */
  single?: boolean;
  /** Merged into the project's own config.json. */
  config?: Partial<Config>;
  /** Where the data goes; default: the system's temporary folder. */
  parent?: string;
  /** Set to keep the folder after `stop`. */
  keep?: boolean;
  /** Added to the environment of every node. */
  env?: Record<string, string>;
  /** Another checkout of this project whose nodes and config.json are taken; keys that it does not know are left out. */
  project?: string;
  /** Runs before the first node is started: puts data where the nodes will find it. */
  prepare?(cluster: RealCluster): Promise<void>;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `known` with the values of `wanted`, as far as it has such a key, at any depth. */
export function withKnownKeys<T extends object>(known: T, wanted: object): T {
  const merged = { ...known } as Record<string, unknown>;
  for (const [key, value] of Object.entries(wanted)) {
    const before = merged[key];
    if (key in merged) merged[key] = isObject(before) && isObject(value) ? withKnownKeys(before, value) : value;
  }
  return merged as T;
}

interface RunningNode {
  kind: NodeKind;
  id: string;
  args: string[];
  /** The checkout that it runs. */
  project: string;
  process: Bun.Subprocess;
}

/** Chunks, replicas and workers as `/cluster` and `?explain` tell them; only what tests look at. */
export interface ClusterView {
  leader: string | null;
  masters: { id: string; role: string | null; lag: number | null }[];
  workers: { id: string; state: string; chunks: number; trashBytes: number; lastHeardMs: number | null }[];
  redundancy: { chunks: number; full: number; below: Record<string, number> };
  steward: string;
  term: number;
  repairs: unknown[];
  garbage: number;
}
export interface ChunkView {
  id: string;
  index: number;
  length: number;
  replicas: { worker: string; state: string; workerState: string }[];
  decision: { rule: string; candidates: unknown[] } | null;
}

export class RealCluster {
  readonly folder: string;
  readonly config: Config;
  readonly configPath: string;
  readonly client: DfsClient;
  readonly url: string;
  readonly #nodes = new Map<string, RunningNode>();
  readonly #keep: boolean;
  readonly #env: Record<string, string>;
  readonly #project: string;

  private constructor(
    folder: string,
    config: Config,
    { keep, env, project }: Required<Pick<ClusterOptions, "keep" | "env" | "project">>,
  ) {
    this.folder = folder;
    this.config = config;
    this.configPath = join(folder, "config.json");
    this.url = (config.gateways[0] as { url: string }).url;
    this.client = createClient({ url: this.url });
    this.#keep = keep;
    this.#env = env;
    this.#project = project;
  }

  /** Starts all nodes and waits until the gateway says that it is ready. */
  static async start({
    masters = 1,
    workers = 5,
    gateways = 1,
    single = false,
    config: overrides = {},
    parent = tmpdir(),
    keep = false,
    env = {},
    project = PROJECT,
    prepare,
  }: ClusterOptions = {}) {
    const folder = mkdtempSync(join(parent, "dfs-cluster-"));
    const base = JSON.parse(readFileSync(join(project, "config.json"), "utf8")) as Config;
    const ports = freePorts(masters + workers + gateways);
    const url = () => `http://127.0.0.1:${ports.pop()}`;
    const ours: Partial<Config> = {
      dataDirectory: join(folder, "data"),
      masters: Array.from({ length: masters }, (_, n) => ({ id: `master-${n + 1}`, url: url() })),
      workers: Array.from({ length: workers }, (_, n) => ({
        id: `worker-${n + 1}`,
        url: url(),
        zone: `zone-${n + 1}`,
      })),
      gateways: Array.from({ length: gateways }, (_, n) => ({ id: `gateway-${n + 1}`, url: url() })),
      heartbeatMs: 200,
      suspectAfterMs: 800,
      deadAfterMs: 2000,
      safeModeMs: 3000,
      // Most tests ask where chunks are, and put few bytes.
      tinyFileBytes: 0,
      ...overrides,
    };
    const config = project === PROJECT ? { ...base, ...ours } : withKnownKeys(base, ours);
    const cluster = new RealCluster(folder, config, { keep, env, project });
    const begun = single ? { ...config, masters: config.masters.slice(0, 1) } : config;
    writeFileSync(cluster.configPath, JSON.stringify(begun));
    try {
      await prepare?.(cluster);
      for (const { id } of begun.masters) cluster.startNode("master", id);
      for (const { id } of config.workers) cluster.startNode("worker", id);
      for (const { id } of config.gateways) cluster.startNode("gateway", id);
      await cluster.ready();
      writeFileSync(cluster.configPath, JSON.stringify(config));
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** @param project the checkout whose program it runs; left out: that of the cluster */
  startNode(kind: NodeKind, id: string, args: string[] = [], project = this.#project): void {
    mkdirSync(join(this.folder, "logs"), { recursive: true });
    const log = openSync(join(this.folder, "logs", `${id}.log`), "a");
    const process = Bun.spawn({
      cmd: [
        globalThis.process.execPath,
        join(project, SCRIPTS[kind]),
        "--id",
        id,
        "--config",
        this.configPath,
        ...args,
      ],
      cwd: project,
      // The open pipe is a node's proof that we live: however we end, no node stays behind.
      env: { ...Bun.env, ...this.#env, [LAUNCHED_ENV]: "1" },
      stdin: "pipe",
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    this.#nodes.set(id, { kind, id, args, project, process });
  }

  #node(id: string): RunningNode {
    const node = this.#nodes.get(id);
    if (!node) throw new Error(`there is no node ${id}`);
    return node;
  }

  urlOf(id: string): string {
    const { masters, workers, gateways } = this.config;
    return [...masters, ...workers, ...gateways].find((node) => node.id === id)?.url as string;
  }

  /** Asks one master itself, whether it leads or not. @throws its refusal */
  ask<T extends keyof typeof MasterMailbox>(
    id: string,
    message: MessageOf<typeof MasterMailbox, T> & { type: T },
    timeoutMs = 5000,
  ): Promise<AnswerOf<typeof MasterMailbox, T>> {
    return send<typeof MasterMailbox, T>(this.#identity, this.urlOf(id), message, { timeoutMs });
  }

  /** Nothing that one of `those` sends arrives at any of `these`, nor the other way round, while `forMs` lasts. */
  async cut(these: string[], those: string[], forMs: number): Promise<void> {
    const deafen = async (id: string, peers: string[]): Promise<void> => {
      if (this.config.gateways.some((gateway) => gateway.id === id)) return;
      const url = this.urlOf(id);
      await send<typeof RecordsMailbox, "CUT_LINK">(this.#identity, url, { type: "CUT_LINK", peers, forMs });
    };
    await Promise.all([...these.map((id) => deafen(id, those)), ...those.map((id) => deafen(id, these))]);
  }

  get #identity(): Identity {
    return {
      nodeId: "test",
      credentials: sharedSecret("test", loadSecret(this.config.dataDirectory)),
      clusterId: () => null,
    };
  }

  pid(id: string): number {
    return this.#node(id).process.pid;
  }

  pids(): { kind: NodeKind; id: string; pid: number }[] {
    return [...this.#nodes.values()].map(({ kind, id, process }) => ({ kind, id, pid: process.pid }));
  }

  dataOf(id: string): string {
    return join(this.config.dataDirectory, id);
  }

  logOf(id: string): string {
    return readFileSync(join(this.folder, "logs", `${id}.log`), "utf8");
  }

  /** SIGKILL unless told otherwise; waits until the process is gone. @returns its exit code */
  async kill(id: string, signal: "SIGKILL" | "SIGTERM" | "SIGINT" = "SIGKILL"): Promise<number | null> {
    const { process } = this.#node(id);
    process.kill(signal);
    await process.exited;
    return process.exitCode;
  }

  /** Until it ends by itself. @returns its exit code */
  async exited(id: string): Promise<number | null> {
    const { process } = this.#node(id);
    await process.exited;
    return process.exitCode;
  }

  freeze(id: string): void {
    this.#node(id).process.kill("SIGSTOP");
  }

  thaw(id: string): void {
    this.#node(id).process.kill("SIGCONT");
  }

  isRunning(id: string): boolean {
    const { process } = this.#node(id);
    return process.exitCode === null && process.signalCode === null;
  }

  /** @param project another checkout to run from now on */
  restart(id: string, project = this.#node(id).project): void {
    const { kind, args } = this.#node(id);
    this.startNode(kind, id, args, project);
  }

  async ready(timeoutMs = 60_000): Promise<void> {
    const running = this.config.masters.filter(({ id }) => this.#nodes.get(id)?.process.exitCode === null);
    await this.until("masters answer, the gateway is ready, and all workers are live", timeoutMs, async () => {
      // Another program's messages may be signed in another way; its gateway speaks for it.
      if (this.#project === PROJECT) for (const { id } of running) await this.ask(id, { type: "MASTER_STATUS" });
      for (const { url } of this.config.gateways)
        if (!(await fetch(`${url}/health/ready`).catch(() => null))?.ok) return false;
      const view = await this.view();
      return view.workers.filter(({ state }) => state === "live").length >= this.config.workers.length;
    });
  }

  /** As `until` of fair time. @throws with the last view in words */
  until(what: string, patienceMs: number, condition: () => Promise<boolean>): Promise<number> {
    const describe = (): Promise<string> => this.view().then(JSON.stringify, String);
    return until(what, condition, { patienceMs, pollMs: 50, describe });
  }

  async view(): Promise<ClusterView> {
    const response = await fetch(`${this.url}/cluster`, { signal: AbortSignal.timeout(5000) });
    return (await response.json()) as ClusterView;
  }

  async chunks(path: string): Promise<ChunkView[]> {
    const response = await fetch(`${this.fileUrl(path)}?explain`, { signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`explain: ${response.status} ${await response.text()}`);
    return ((await response.json()) as { chunks: ChunkView[] }).chunks;
  }

  fileUrl(path: string): string {
    return `${this.url}/files/${path.split("/").map(encodeURIComponent).join("/")}`;
  }

  /** Until every chunk has all its copies on workers that are not dead, and nothing is under way any more. */
  untilRedundant(timeoutMs = 60_000): Promise<number> {
    return this.until("every chunk has all its copies", timeoutMs, async () => {
      const { redundancy, steward } = await this.view();
      return redundancy.full === redundancy.chunks && steward === "steady";
    });
  }

  async stop(): Promise<void> {
    for (const { process } of this.#nodes.values()) {
      process.kill("SIGCONT");
      process.kill("SIGKILL");
    }
    await Promise.all([...this.#nodes.values()].map(({ process }) => process.exited));
    if (!this.#keep) rmSync(this.folder, { recursive: true, force: true });
  }
}
