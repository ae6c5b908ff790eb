/** Every process that the bench starts, so that none outlives it, and load generators with what they report. */
import { join } from "node:path";
import type { LoadReport } from "./load/load-process.ts";

const BENCH = import.meta.dir;
const running = new Set<Bun.Subprocess>();

function track<P extends Bun.Subprocess>(child: P): P {
  running.add(child);
  void child.exited.then(() => running.delete(child));
  return child;
}

/** Kills whatever still runs, and waits until it is gone. */
export async function killAllChildren(): Promise<void> {
  for (const child of running) child.kill("SIGKILL");
  await Promise.all([...running].map(({ exited }) => exited));
}

/** A server of `scale/`. It says its port when it is ready, and ends with us. */
export async function startServer(script: string, args: (string | number)[]) {
  const child = track(
    Bun.spawn([process.execPath, join(BENCH, script), ...args.map(String)], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
      detached: true,
    }),
  );
  const { value } = await child.stdout.getReader().read();
  if (!value) throw new Error(`${script} did not start`);
  return {
    pid: child.pid,
    port: Number(new TextDecoder().decode(value)),
    stop: async () => {
      child.kill();
      await child.exited;
    },
  };
}

/** Runs a load generator to its end. @throws with what it printed if it failed */
export async function runLoad<Task, Result>(script: string, task: Task): Promise<LoadReport<Result>> {
  const child = track(
    Bun.spawn([process.execPath, join(BENCH, script), JSON.stringify(task)], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      detached: true,
    }),
  );
  const [printed, complaints, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode !== 0) throw new Error(`${script} failed: ${complaints.trim().slice(0, 1000) || exitCode}`);
  return JSON.parse(printed) as LoadReport<Result>;
}

/** Runs a program to its end, and hands on each line that it prints. @throws if it fails */
export async function runScript(
  script: string,
  env: Record<string, string>,
  onLine: (line: string) => void,
): Promise<void> {
  const child = track(
    Bun.spawn([process.execPath, join(BENCH, script)], {
      env: { ...Bun.env, ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
      detached: true,
    }),
  );
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() as string;
    for (const line of lines) onLine(line);
  }
  if (rest) onLine(rest);
  const exitCode = await child.exited;
  if (exitCode !== 0) throw new Error(`${script} ended with ${exitCode}`);
}
