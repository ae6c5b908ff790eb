/** Masters and workers as real processes over a temporary folder, for tests of the gateway's data path. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Config } from "../../actors/messages/config.ts";
import { loadConfig } from "../../actors/node/config.ts";
import { loadSecret } from "../../actors/node/identity/secret.ts";
import { LAUNCHED_ENV } from "../../actors/node/lifecycle.ts";
import { createLogger } from "../../actors/node/log.ts";
import { openBackend } from "../../gateway/backend.ts";
import { until } from "./fair-time.ts";
import { freePorts } from "./free-ports.ts";
import { asSystem, type SystemBackend } from "./system-backend.ts";

const PROJECT = resolve(import.meta.dir, "../..");

export class NodeProcesses {
  readonly config: Config;
  readonly data: SystemBackend;
  readonly #directory = mkdtempSync(join(tmpdir(), "dfs-nodes-"));
  readonly #configPath = join(this.#directory, "config.json");
  readonly #processes = new Map<string, Bun.Subprocess>();

  constructor({ workers, config }: { workers: number; config?: Partial<Config> }) {
    const ports = freePorts(workers + 1);
    const url = (n: number) => `http://127.0.0.1:${ports[n]}`;
    const defaults = loadConfig();
    writeFileSync(
      this.#configPath,
      JSON.stringify({
        ...defaults,
        masters: [{ id: "master-1", url: url(0) }],
        workers: Array.from({ length: workers }, (_, n) => ({
          id: `worker-${n + 1}`,
          url: url(n + 1),
          zone: `zone-${n + 1}`,
        })),
        gateways: [],
        dataDirectory: this.#directory,
        chunkSizeBytes: 1 << 20,
        blockSizeBytes: 1 << 16,
        inlineChunkBytes: 1 << 14,
        tinyFileBytes: 0,
        heartbeatMs: 100,
        suspectAfterMs: 400,
        deadAfterMs: 1200,
        safeModeMs: 500,
        limits: { ...defaults.limits, reservedBytes: 1 << 20 },
        logLevel: "error",
        ...config,
      }),
    );
    this.config = loadConfig(this.#configPath);
    const secret = loadSecret(this.#directory);
    const log = createLogger("gateway-1", this.config.logLevel);
    this.data = asSystem(openBackend({ config: this.config, gatewayId: "gateway-1", secret, log }));
  }

  /** Starts all of them, and waits until every worker can take chunks. */
  async start(): Promise<this> {
    this.startNode("master-1");
    for (const { id } of this.config.workers) this.startNode(id);
    await this.until(async () => {
      if (!(await this.data.ready())) return false;
      const { workers } = await this.data.operations.clusterState();
      return workers.filter(({ state }) => state === "live").length === this.config.workers.length;
    });
    return this;
  }

  startNode(id: string): void {
    const script = join(PROJECT, "actors", `${id.replace(/-\d+$/, "")}.ts`);
    const command = [process.execPath, script, "--id", id, "--config", this.#configPath];
    // The open pipe is a node's proof that we live: however we end, no node stays behind.
    const env = { ...Bun.env, [LAUNCHED_ENV]: "1" };
    this.#processes.set(id, Bun.spawn(command, { env, stdin: "pipe", stdout: "inherit", stderr: "inherit" }));
  }

  async kill9(id: string): Promise<void> {
    const child = this.#processes.get(id);
    child?.kill("SIGKILL");
    await child?.exited;
  }

  async until(isTrue: () => Promise<boolean> | boolean): Promise<void> {
    await until(String(isTrue), isTrue, { pollMs: 50 });
  }

  async stop(): Promise<void> {
    await this.data.close();
    await Promise.all([...this.#processes.keys()].map((id) => this.kill9(id)));
    rmSync(this.#directory, { recursive: true });
  }
}
