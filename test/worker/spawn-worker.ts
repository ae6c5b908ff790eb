/** Workers in processes of their own. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { SECRET, testConfig } from "./support.ts";

const SCRIPT = resolve(import.meta.dir, "../../actors/worker.ts");

export function spawnWorker(folder: string, ...flags: string[]) {
  const config = join(folder, "config.json");
  mkdirSync(folder, { recursive: true });
  writeFileSync(config, JSON.stringify({ ...testConfig(), dataDirectory: "." }));
  return Bun.spawn([process.execPath, SCRIPT, "--config", config, ...flags], {
    env: { ...Bun.env, DFS_CLUSTER_SECRET: SECRET },
    stdout: "ignore",
    stderr: "pipe",
  });
}

export async function untilListening(url: string): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    const ready = await fetch(`${url}/health/ready`).then(
      (answer) => answer.text(),
      () => "not there",
    );
    if (ready.includes("a leader")) return;
    await Bun.sleep(25);
  }
  throw new Error(`${url} does not answer`);
}
