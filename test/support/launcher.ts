/** The launcher as a person starts it: a process of its own, on a small cluster in a temporary folder. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { until } from "./fair-time.ts";
import { freePorts } from "./free-ports.ts";

const PROJECT = resolve(import.meta.dir, "../..");

/** Writes a config.json for one master, or more, three workers and a gateway on free ports of this machine. */
export function smallCluster({ masters = 1, host = "127.0.0.1" } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "dfs-cluster-"));
  const configPath = join(folder, "config.json");
  const urls = freePorts(masters + 4).map((port) => `http://${host}:${port}`);
  const nextUrl = (): string => urls.pop() as string;
  const url = nextUrl();
  const config = {
    ...JSON.parse(readFileSync(join(PROJECT, "config.json"), "utf8")),
    masters: Array.from({ length: masters }, (_, n) => ({ id: `master-${n + 1}`, url: nextUrl() })),
    workers: [1, 2, 3].map((n) => ({ id: `worker-${n}`, url: nextUrl(), zone: `zone-${n}` })),
    gateways: [{ id: "gateway-1", url }],
    dataDirectory: "data",
    chunkSizeBytes: 8 << 20,
    heartbeatMs: 100,
    suspectAfterMs: 400,
    deadAfterMs: 1000,
    safeModeMs: 500,
  };
  config.limits = { ...config.limits, reservedBytes: 1 << 20 };
  writeFileSync(configPath, JSON.stringify(config));
  mkdirSync(join(folder, "files"));
  return {
    folder,
    configPath,
    config,
    url,
    files: join(folder, "files"),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export type SmallCluster = ReturnType<typeof smallCluster>;

/** Ends a process, and what it started, as soon as we are gone, however we end. @returns says that the process is gone */
function endWithUs(pid: number): () => void {
  // The open pipe is the proof that we live. A stopped process takes the signal when it goes on.
  const script = 'read -r gone || { kill -TERM "$1"; kill -CONT "$1"; }';
  const { stdin } = Bun.spawn(["sh", "-c", script, "sh", String(pid)], { stdin: "pipe", stderr: "ignore" });
  return () => {
    stdin.write("gone\n");
    stdin.end();
  };
}

/** Starts `actors/cluster.ts`, which ends with us; `printed()` is what has appeared on its terminal so far. */
export function launch({ configPath }: { configPath: string }, env: Record<string, string> = {}) {
  const child = Bun.spawn([process.execPath, "actors/cluster.ts", "--config", configPath], {
    cwd: PROJECT,
    env: { ...Bun.env, npm_config_user_agent: "bun", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let printed = "";
  const collect = async (stream: ReadableStream<Uint8Array>): Promise<void> => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) printed += decoder.decode(bytes, { stream: true });
  };
  void child.exited.then(endWithUs(child.pid));
  const ended = Promise.all([collect(child.stdout), collect(child.stderr), child.exited]);
  return {
    child,
    printed: () => printed,
    /** Resolves with the exit code when all that was printed has been read. */
    exited: ended.then(([, , exitCode]) => exitCode),
    async until(text: string, patienceMs = 30_000): Promise<void> {
      const isOver = (): boolean => printed.includes(text) || child.exitCode !== null;
      await until(`"${text}" is printed`, isOver, { patienceMs, describe: async () => printed });
      if (!printed.includes(text)) throw new Error(`it ended without "${text}"; printed was:\n${printed}`);
    },
  };
}

/** Kills the nodes that a test has left running, and removes the cluster's folder. */
export function endCluster(cluster: SmallCluster | undefined): void {
  if (!cluster) return;
  for (const pid of nodesRunning(cluster).values()) process.kill(pid, "SIGKILL");
  cluster.remove();
}

/** Process ids of the nodes that were started with this configuration, by node id. */
export function nodesRunning({ configPath }: { configPath: string }): Map<string, number> {
  const found = new Map<string, number>();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    try {
      const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      const id = words[words.indexOf("--id") + 1];
      if (words.includes(configPath) && words.includes("--id") && id) found.set(id, Number(entry));
    } catch {
      // it ended while we looked
    }
  return found;
}
