/**
 * Starts every node of config.json on this machine, each as its own process, and stops them again: `npm start`.
 *
 * The launcher reports a node that ends, with the reason; the others go on. As shipped it does not start the node again, so
 * that a person can watch how the cluster handles the loss; with `restart` it does. Nodes write to
 * `<dataDirectory>/<id>/node.log`; the launcher shows warnings and errors too.
 */
import { closeSync, mkdirSync, openSync, renameSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { settleNodeData } from "../databases/node-data.ts";
import { openLauncherControl } from "./launcher/control.ts";
import { followLog, type LogFollower, LogLevel } from "./launcher/node-logs.ts";
import { Supervisor } from "./launcher/supervisor.ts";
import type { Config } from "./messages/config.ts";
import { checkNodeId, DEFAULT_CONFIG_PATH, loadConfig } from "./node/config.ts";
import { loadSecret } from "./node/identity/secret.ts";
import { ExitCode, LAUNCHED_ENV, nodeCommand, run, StartRefused } from "./node/lifecycle.ts";

const PROJECT = resolve(import.meta.dir, "..");
const LOG_KEPT_BYTES = 16 << 20;
const READY_POLL_MS = 200;
const READY_PATIENCE_MS = 15_000;
/** A node that has not stopped after this long is killed. */
const STOP_PATIENCE_MS = 10_000;
/** The terminal sends a Ctrl-C to the launcher, and npm sends it once more: two signals this close are one press. */
const SAME_PRESS_MS = 400;

type Kind = "gateway" | "worker" | "master";
const SCRIPTS: Record<Kind, string> = {
  master: "actors/master.ts",
  worker: "actors/worker.ts",
  gateway: "gateway/gateway.ts",
};
/** Gateways first, so that no client meets half a cluster; masters last, so that the others can still reach them. */
const STOP_ORDER: Kind[] = ["gateway", "worker", "master"];

interface NodeOfConfig {
  kind: Kind;
  id: string;
  url: string;
}

interface Started extends NodeOfConfig {
  /** The node's data directory. */
  directory: string;
  logPath: string;
  /** The byte of the log at which this run begins. */
  logStart: number;
  process: Bun.Subprocess;
}

interface Node extends Started {
  log: LogFollower;
}

const say = (line: string): void => console.log(line);

function nodesOf(config: Config): NodeOfConfig[] {
  const of = (kind: Kind, nodes: { id: string; url: string }[]) => nodes.map(({ id, url }) => ({ kind, id, url }));
  return [...of("master", config.masters), ...of("worker", config.workers), ...of("gateway", config.gateways)];
}

/** @throws StartRefused if a port is taken, before any node is started */
function checkPorts(config: Config): void {
  const taken: string[] = [];
  for (const { id, url } of nodesOf(config)) {
    const { hostname, port } = new URL(url);
    try {
      Bun.listen({ hostname: hostname.replace(/^\[|\]$/g, ""), port: Number(port), socket: { data() {} } }).stop(true);
    } catch (cause) {
      const reason = (cause as { code?: string }).code === "EADDRINUSE" ? "is taken" : (cause as Error).message;
      taken.push(`  port ${port} of ${id} (${url}) ${reason}`);
    }
  }
  if (taken.length > 0)
    throw new StartRefused(
      `The cluster cannot start:\n${taken.join("\n")}\n` +
        "Is a cluster running already? Then use that one, stop it with Ctrl-C, or name another configuration with --config.",
      ExitCode.dataDirectoryRefused,
    );
}

/** Opens a node's log for appending. A log that has grown large is first renamed to `.1`, in place of the one before. */
function openLog(path: string): number {
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_KEPT_BYTES) renameSync(path, `${path}.1`);
  return openSync(path, "a", 0o600);
}

function startNode(config: Config, configPath: string, node: NodeOfConfig, args: string[]): Started {
  const directory = settleNodeData(config.dataDirectory, checkNodeId(node.id));
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const logPath = join(directory, "node.log");
  const log = openLog(logPath);
  const logStart = statSync(logPath).size;
  // Each node has a process group of its own: a Ctrl-C reaches the launcher alone, which stops the nodes in order.
  // The open pipe to a node's standard input is its proof that the launcher lives; the node stops when it closes.
  const child = Bun.spawn([process.execPath, SCRIPTS[node.kind], "--id", node.id, "--config", configPath, ...args], {
    cwd: PROJECT,
    env: { ...Bun.env, [LAUNCHED_ENV]: "1" },
    stdin: "pipe",
    stdout: log,
    stderr: log,
    detached: true,
  });
  closeSync(log);
  const { kind, id, url } = node;
  return { kind, id, url, directory, logPath, logStart, process: child };
}

/** @returns null once the gateway takes requests; until then what it waits for */
async function notReadyBecause(url: string): Promise<string | null> {
  try {
    const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2000) });
    if (response.ok) return null;
    const body = (await response.json().catch(() => ({}))) as { detail?: string; message?: string };
    return body.detail ?? body.message ?? `it answers ${response.status}`;
  } catch {
    return "it does not answer yet";
  }
}

/** The hints name npm if npm started the launcher, else bun. */
const isNpm = !(Bun.env.npm_config_user_agent ?? "bun").startsWith("bun");
const runner = (): string => (isNpm ? "npm run" : "bun run");
/** `-s`, because npm prints its banner into the output of `get … -`; `--`, because npm keeps flags for itself. */
const dfs = isNpm ? "npm run -s dfs --" : "bun run dfs";

const isRunning = ({ process: child }: Node): boolean => child.exitCode === null && child.signalCode === null;

async function stopAll(nodes: readonly Node[], signal: NodeJS.Signals): Promise<void> {
  for (const kind of STOP_ORDER) {
    const running = nodes.filter((node) => node.kind === kind && isRunning(node));
    for (const { process: child } of running) child.kill(signal);
    const patience = setTimeout(() => {
      for (const node of running.filter(isRunning)) {
        say(`  ${node.id} did not stop within ${STOP_PATIENCE_MS / 1000} s and was killed.`);
        node.process.kill("SIGKILL");
      }
    }, STOP_PATIENCE_MS);
    await Promise.all(running.map(({ process: child }) => child.exited));
    clearTimeout(patience);
  }
}

async function start(configPath: string): Promise<void> {
  const config = loadConfig(configPath);
  checkPorts(config);
  loadSecret(config.dataDirectory);

  let phase: "starting" | "running" | "stopping" = "starting";
  // Nodes that start or stop together warn about each other; only their errors are shown then.
  const isShown = (level: number): boolean => level >= (phase === "running" ? LogLevel.warn : LogLevel.error);
  const launch = (node: NodeOfConfig, args: string[] = []): Node => {
    const started = startNode(config, resolve(configPath), node, args);
    return { ...started, log: followLog(started, isShown) };
  };
  const supervisor = new Supervisor<Node>(
    nodesOf(config).map((node) => launch(node)),
    {
      start: launch,
      phase: () => phase,
      restarts: config.restart ?? false,
      commandFor: (node) => startAgain(node, configPath),
      say,
      failed(exitCode) {
        say("The cluster did not start; stopping what was started.");
        void finish(exitCode || ExitCode.crashed);
      },
    },
  );
  const closeControl = config.drills ? controlBy(supervisor, config) : () => {};

  async function finish(exitCode: number): Promise<never> {
    phase = "stopping";
    supervisor.stop();
    closeControl();
    await stopAll(supervisor.nodes, "SIGTERM");
    for (const { log } of supervisor.nodes) log.stop();
    say("Stopped.");
    process.exit(exitCode);
  }
  stopOnSignals(supervisor, finish);

  const [gateway] = config.gateways;
  if (gateway) await untilReady(gateway.url, () => phase === "starting");
  if (phase !== "starting") return;
  for (const { log } of supervisor.nodes) log.read();
  phase = "running";
  announce(config);
}

const controlBy = (supervisor: Supervisor<Node>, config: Config): (() => void) =>
  openLauncherControl({
    config,
    nodes: () => supervisor.nodes,
    expectEnd: (id) => supervisor.expectEnd(id),
    start(id, args) {
      if (supervisor.startAnew(id, args)) say(`  ${id} was started again by a drill.`);
    },
  });

/** The first signal stops the nodes in order, the second one kills them. */
function stopOnSignals(supervisor: Supervisor<Node>, finish: (exitCode: number) => Promise<never>): void {
  let stoppingSince = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => {
      if (stoppingSince === 0) {
        stoppingSince = Date.now();
        say("\nStopping; press Ctrl-C again to kill at once.");
        void finish(0);
      } else if (Date.now() - stoppingSince > SAME_PRESS_MS) {
        for (const { process: child } of supervisor.nodes) child.kill("SIGKILL");
        process.exit(ExitCode.crashed);
      }
    });
}

async function untilReady(url: string, isWanted: () => boolean): Promise<void> {
  const began = Date.now();
  let told = "";
  for (;;) {
    const reason = await notReadyBecause(url);
    if (reason === null || !isWanted()) return;
    if (Date.now() - began > READY_PATIENCE_MS && reason !== told) {
      say(`  Still waiting for the gateway: ${reason}`);
      told = reason;
    }
    await Bun.sleep(READY_POLL_MS);
  }
}

const startAgain = ({ kind, id }: Node, configPath: string): string =>
  `${runner()} ${kind} ${isNpm ? "-- " : ""}--id ${id}${
    resolve(configPath) === DEFAULT_CONFIG_PATH ? "" : ` --config ${resolve(configPath)}`
  }`;

function announce(config: Config): void {
  const [gateway] = config.gateways;
  const counted = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
  say(
    `${counted(config.masters.length, "master")}, ${counted(config.workers.length, "worker")} and ` +
      `${counted(config.gateways.length, "gateway")} are running. Data and logs: ${config.dataDirectory}`,
  );
  if (!gateway) return;
  const url = gateway.url;
  const at = url === "http://127.0.0.1:8080" ? "" : `DFS_URL=${url} `;
  say(`
The gateway is at ${url}

Try, in another terminal:
  ${at}${dfs} put README.md hello/README.md
  ${at}${dfs} ls hello/
  ${at}${dfs} get hello/README.md -

Ctrl-C stops everything; the files stay.`);
}

const command = nodeCommand("cluster", "Starts all nodes of config.json on this machine.").parse();
await run(() => start(command.opts<{ config: string }>().config));
