/** `dfs status`, `top` and `worker`: the cluster for people who run it. */
import type { WorkerMode } from "../../actors/messages/primitives.ts";
import { type Cluster, DfsError } from "../client/client.ts";
import { clusterView, ratesBetween, verdictOf } from "./cluster-view.ts";
import { ExitCode, exitCodeOf } from "./exit-code.ts";
import type { Session } from "./session.ts";

const FRAME_MS = 1000;
const SCREEN = {
  enter: "\x1b[?1049h\x1b[?25l",
  leave: "\x1b[?25h\x1b[?1049l",
  home: "\x1b[H",
  clearLine: "\x1b[K",
  clearBelow: "\x1b[J",
};

export async function status({ dfs, output, signal }: Session): Promise<number> {
  let cluster: Cluster;
  try {
    cluster = await dfs.cluster({ signal });
  } catch (error) {
    if (exitCodeOf(error) !== ExitCode.unreachable || !(error instanceof DfsError)) throw error;
    const verdict = { level: "unknown", sentence: `Unknown: ${error.message}` };
    output.result(
      { verdict, error: { code: error.code, message: error.message, next: error.next } },
      () => `${verdict.sentence}\n  ${error.next}`,
    );
    return ExitCode.unreachable;
  }
  output.result({ verdict: verdictOf(cluster), ...cluster }, () => clusterView(cluster));
  return ExitCode.ok;
}

/** One frame per second until q or Ctrl-C; on no terminal, or with `once`, a single one. */
export async function top(session: Session, once: boolean): Promise<number> {
  const { dfs, signal, output } = session;
  if (once || output.json || !process.stdout.isTTY) return status(session);
  const stop = new AbortController();
  const quit = (): void => stop.abort();
  signal.addEventListener("abort", quit);
  process.stdout.write(SCREEN.enter);
  process.stdin.setRawMode?.(true);
  process.stdin.on("data", (key) => {
    if (["q", "Q", "\x03", "\x1b"].includes(key.toString())) quit();
  });
  try {
    let before: { cluster: Cluster; atMs: number } | null = null;
    while (!stop.signal.aborted) {
      let frame: string;
      try {
        const cluster = await dfs.cluster({
          signal: AbortSignal.any([stop.signal, AbortSignal.timeout(5 * FRAME_MS)]),
        });
        const atMs = performance.now();
        frame = clusterView(cluster, before && ratesBetween(before.cluster, cluster, atMs - before.atMs));
        before = { cluster, atMs };
      } catch (error) {
        if (stop.signal.aborted) break;
        before = null;
        frame = `Unknown: ${(error as Error).message}\n  ${error instanceof DfsError ? error.next : ""}`;
      }
      const heading = `${dfs.url}  ${new Date().toLocaleTimeString("sv-SE")}  q quits`;
      process.stdout.write(SCREEN.home + fit(`${heading}\n\n${frame}`) + SCREEN.clearBelow);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, FRAME_MS);
        stop.signal.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
      });
    }
  } finally {
    process.stdin.setRawMode?.(false);
    process.stdin.pause();
    process.stdout.write(SCREEN.leave);
  }
  return ExitCode.ok;
}

/** Cut to the window, so that nothing wraps or scrolls. */
function fit(text: string): string {
  const { columns = 80, rows = 24 } = process.stdout;
  return text
    .split("\n")
    .slice(0, rows - 1)
    .map((line) => `${[...line].slice(0, columns).join("")}${SCREEN.clearLine}`)
    .join("\n");
}

const MODE_OF: Record<string, WorkerMode> = {
  activate: "active",
  drain: "draining",
  maintenance: "maintenance",
  remove: "removed",
};
export const WORKER_ORDERS = Object.keys(MODE_OF);

const AFTERWARDS: Record<WorkerMode, string> = {
  active: "it takes new chunks again.",
  draining:
    "it serves on, takes nothing new, and its copies move away; when `dfs status` says that it is drained, it can be stopped.",
  maintenance: "you may stop it; its copies are not replaced meanwhile. Afterwards: dfs worker activate",
  removed: "it does not count any more; its copies are made anew elsewhere.",
};

export async function orderWorker({ dfs, output, signal }: Session, order: string, workerId: string): Promise<number> {
  const mode = MODE_OF[order] as WorkerMode;
  try {
    await dfs.setWorkerMode(workerId, mode, { signal });
  } catch (error) {
    if (!(error instanceof DfsError) || error.code !== "NO_SUCH_WORKER") throw error;
    const ids = (await dfs.cluster({ signal })).workers.map(({ id }) => id).join(", ");
    throw new DfsError(error.code, `There is no worker ${workerId}.`, 404, `There are: ${ids || "none yet"}.`);
  }
  output.done({ worker: workerId, mode }, () => `${workerId} is ${mode} now: ${AFTERWARDS[mode]}`);
  return ExitCode.ok;
}
