/** Workers in processes of their own. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { until } from "../support/fair-time.ts";
import { SECRET, testConfig } from "./support.ts";

const SCRIPT = resolve(import.meta.dir, "../../actors/worker.ts");

export const spawnWorker = (folder: string, ...flags: string[]) => spawnLogging(folder, "ignore", ...flags);

export function spawnLogging<Out extends "ignore" | "pipe">(folder: string, stdout: Out, ...flags: string[]) {
  const config = join(folder, "config.json");
  mkdirSync(folder, { recursive: true });
  writeFileSync(config, JSON.stringify({ ...testConfig(), dataDirectory: "." }));
  return Bun.spawn([process.execPath, SCRIPT, "--config", config, ...flags], {
    env: { ...Bun.env, DFS_CLUSTER_SECRET: SECRET },
    stdout,
    stderr: "pipe",
  });
}

export async function untilListening(url: string): Promise<void> {
  await until(`${url} asks for a leader`, async () => {
    const ready = await fetch(`${url}/health/ready`).then((answer) => answer.text());
    return ready.includes("a leader");
  });
}
