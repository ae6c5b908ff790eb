/**
 * What the launcher does to its nodes when a drill asks for it. A gateway on this machine talks to it over
 * `<dataDirectory>/launcher.sock`, which only its owner can open; it is there only if config.json allows drills.
 */
import { chmodSync, closeSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../messages/config.ts";
import { Refusal } from "../messages/errors.ts";
import { checkTarget, rawPath } from "../node/http/entrance.ts";
import { throughRouter } from "../node/http/server-options.ts";
import { launcherSocket } from "../node/launcher-socket.ts";

/** One node of the launcher. */
export interface ControlledNode {
  id: string;
  kind: string;
  /** The node's data directory. */
  directory: string;
  process: Bun.Subprocess;
}

export interface LauncherParts {
  config: Config;
  nodes(): readonly ControlledNode[];
  /** Called before a drill ends a node, which the drill starts again itself. */
  expectEnd(id: string): void;
  /** Starts a node that is not running, with further arguments of the drill. */
  start(id: string, args: string[]): void;
}

const SMALLEST_CAPACITY = 1 << 20;
const frozen = new Set<string>();
const isRunning = ({ process: child }: ControlledNode): boolean => child.exitCode === null && child.signalCode === null;
const answer = (value: unknown, status = 200): Response => Response.json(value, { status });

/** @returns closes the socket */
export function openLauncherControl(parts: LauncherParts): () => void {
  const path = launcherSocket(parts.config);
  rmSync(path, { force: true });
  const server = Bun.serve({
    unix: path,
    ...throughRouter((request) => refuseOr(request, () => handle(parts, request))),
  });
  chmodSync(path, 0o600);
  return () => {
    void server.stop(true);
    rmSync(path, { force: true });
  };
}

async function refuseOr(request: Request, handle: () => Promise<Response>): Promise<Response> {
  try {
    checkTarget(request);
    return await handle();
  } catch (error) {
    if (error instanceof Refusal) return answer({ message: error.message }, error.status);
    return answer({ message: String(error) }, 500);
  }
}

async function handle(parts: LauncherParts, request: Request): Promise<Response> {
  const [, first, id, what] = rawPath(request.url).split("/");
  if (first !== "nodes") return answer({ message: "There is only /nodes" }, 404);
  if (id === undefined)
    return answer(
      parts.nodes().map((node) => ({
        id: node.id,
        kind: node.kind,
        running: isRunning(node),
        frozen: isRunning(node) && frozen.has(node.id),
        pid: isRunning(node) ? node.process.pid : null,
      })),
    );
  const node = parts.nodes().find((one) => one.id === id);
  if (!node || request.method !== "POST") return answer({ message: `There is no node ${id}` }, 404);
  const { chunkId } = ((await request.json().catch(() => null)) ?? {}) as { chunkId?: string };
  switch (what) {
    case "kill":
      parts.expectEnd(id);
      node.process.kill("SIGKILL");
      frozen.delete(id);
      await node.process.exited;
      return answer({});
    case "stop":
      parts.expectEnd(id);
      node.process.kill("SIGTERM");
      await node.process.exited;
      return answer({});
    case "freeze":
      if (isRunning(node)) node.process.kill("SIGSTOP");
      frozen.add(id);
      return answer({});
    case "thaw":
      if (isRunning(node)) node.process.kill("SIGCONT");
      frozen.delete(id);
      return answer({});
    case "start":
      if (!isRunning(node)) parts.start(id, []);
      return answer({});
    case "start-full":
      if (!isRunning(node)) parts.start(id, ["--capacity", String(SMALLEST_CAPACITY)]);
      return answer({});
    case "corrupt":
      return corrupt(node.directory, chunkId ?? "");
    default:
      return answer({ message: `There is no "${what}"` }, 404);
  }
}

/** Inverts one byte in the middle of a chunk's file. */
function corrupt(directory: string, chunkId: string): Response {
  if (!/^[0-9a-f]{16}$/.test(chunkId)) return answer({ message: "chunkId is 16 hex digits" }, 400);
  const chunks = join(directory, "chunks");
  const name = (readdirSync(chunks, { recursive: true }) as string[]).find((path) => path.includes(chunkId));
  if (!name) return answer({ message: `There is no file of chunk ${chunkId}` }, 404);
  const path = join(chunks, name);
  const file = openSync(path, "r+");
  const at = Math.floor(Math.min(statSync(path).size, 1 << 16) / 2);
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  byte[0] = (byte[0] as number) ^ 0xff;
  writeSync(file, byte, 0, 1, at);
  closeSync(file);
  return answer({ path: name, at });
}
