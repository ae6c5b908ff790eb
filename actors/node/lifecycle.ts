/** Starting and stopping a node's process: command-line flags, one exit path, no half-dead nodes. */
import { Command } from "commander";
import { whenBroken } from "../rules/invariant.ts";
import { ConfigError, DEFAULT_CONFIG_PATH } from "./config.ts";
import type { Logger } from "./log.ts";
import { stopTracing } from "./trace/exporter.ts";

/** Exit codes of a node, beside 0. */
export const ExitCode = {
  crashed: 1,
  badConfiguration: 2,
  dataDirectoryRefused: 3,
  diskFailed: 4,
  /** The log holds what a newer program put there. */
  programTooOld: 5,
  /** A majority of the masters built another state from the same log. */
  stateDiverged: 6,
  /** This program contradicts itself: one of its invariants does not hold. */
  invariantBroken: 7,
  /** The event loop stood still: some work did not let go of it. */
  starved: 8,
} as const;

/** A start that must not go on: says why on one line and ends the process with its code. */
export class StartRefused extends Error {
  override name = "StartRefused";
  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}

/** A command with the flags that all nodes know. commander is the ecosystem's plain, dependency-free flag parser. */
export const nodeCommand = (name: string, description: string): Command =>
  new Command(name).description(description).option("--config <file>", "configuration to read", DEFAULT_CONFIG_PATH);

/** Nodes talk to nodes alone, and never through the proxy that a machine may have for the internet. */
function ignoreProxies(): void {
  for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
    for (const spelling of [name, name.toLowerCase()]) delete process.env[spelling];
}

/** Runs `start`, and turns what can go wrong at a start into one readable line. */
export async function run(start: () => Promise<void>): Promise<void> {
  // All that a node writes, databases and sockets too, is for its own user alone.
  process.umask(0o077);
  ignoreProxies();
  try {
    await start();
  } catch (error) {
    if (error instanceof ConfigError) exitWith(error.message, ExitCode.badConfiguration);
    if (error instanceof StartRefused) exitWith(error.message, error.exitCode);
    const refusal = worldRefusal(error);
    if (refusal) exitWith(refusal.message, refusal.exitCode);
    throw error;
  }
}

const NEEDS: Record<string, string> = {
  EACCES: "permission denied. Start as the user that owns it, or name another place",
  EPERM: "not permitted. Start as the user that owns it, or name another place",
  EROFS: "the disk is read-only",
  ENOSPC: "the disk is full",
  ENOENT: "there is no such file or folder",
  ENOTDIR: "a part of the path is a file",
  EISDIR: "it is a folder",
  ENAMETOOLONG: "the name is too long for this disk",
  EEXIST: "a file of that name is in the way",
};

/** What the machine refuses, in words; null if the error is something else. */
export function worldRefusal(error: unknown): StartRefused | null {
  const { code = "", message, path, syscall } = error as NodeJS.ErrnoException;
  const port = /port (\d+)/.exec(message)?.[1];
  if (code === "EADDRINUSE")
    return new StartRefused(
      `${port ? `Port ${port}` : "The port"} is taken. Is this node running already? Otherwise give it another url in the configuration.`,
      ExitCode.dataDirectoryRefused,
    );
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return new StartRefused(
      "This machine does not have the address that the node's url names. A node's url holds the address of the machine it runs on.",
      ExitCode.badConfiguration,
    );
  if (path === undefined || NEEDS[code] === undefined) return null;
  return new StartRefused(`Cannot ${syscall ?? "use"} ${path}: ${NEEDS[code]}.`, ExitCode.dataDirectoryRefused);
}

function exitWith(message: string, code: number): never {
  console.error(message);
  process.exit(code);
}

/**
 * Ends the process at once when an invariant breaks: no later effect may reach a disk or another node. One that is mended
 * on the spot is an error in the log.
 */
export function stopOnBrokenInvariant(log: Logger): void {
  whenBroken((broken) => {
    const { claim, values, stack, isMended } = broken;
    if (isMended) {
      log.error({ event: "invariant-mended", claim, values, stack }, broken.message);
      return;
    }
    log.fatal({ event: "invariant-broken", claim, values, stack }, broken.message);
    process.exit(ExitCode.invariantBroken);
  });
}

/** Set by `cluster.ts` for its nodes: their standard input stays open as long as the launcher lives. */
export const LAUNCHED_ENV = "DFS_LAUNCHED";
const ORPHAN_PATIENCE_MS = 10_000;

/** Calls `stop` once on SIGINT or SIGTERM, and exits; a second signal exits at once. */
export function onStopSignal(log: Logger, stop: () => Promise<void>): void {
  let stopping = false;
  if (Bun.env[LAUNCHED_ENV]) stopWithLauncher();
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, async () => {
      if (stopping) process.exit(ExitCode.crashed);
      stopping = true;
      log.info({ event: "stopping", signal }, "stopping");
      await stop().catch((err) => log.error({ event: "stop-failed", err }, "stop failed"));
      await stopTracing();
      process.exit(0);
    });
}

/** No orphans: a node whose launcher was killed stops as if asked to, and within bounds. */
function stopWithLauncher(): void {
  process.stdin
    .on("end", () => {
      process.kill(process.pid, "SIGTERM");
      setTimeout(() => process.exit(ExitCode.crashed), ORPHAN_PATIENCE_MS);
    })
    .resume();
}
