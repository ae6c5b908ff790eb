/** What a test run leaves behind when it is killed: nothing. */
import { afterEach, expect, test } from "bun:test";
import { resolve } from "node:path";
import { until } from "../support/fair-time.ts";
import { endCluster, nodesRunning, type SmallCluster, smallCluster } from "../support/launcher.ts";

const LAUNCHER = resolve(import.meta.dir, "../support/launcher.ts");
let cluster: SmallCluster;
afterEach(() => endCluster(cluster));

test("a test that is killed takes the cluster that it launched with it", async () => {
  cluster = smallCluster();
  const { configPath } = cluster;
  const script = `
    const { launch } = await import(${JSON.stringify(LAUNCHER)});
    const launched = launch({ configPath: ${JSON.stringify(configPath)} });
    await launched.until("Ctrl-C stops everything");
    console.log(launched.child.pid);
    await launched.exited;`;
  const killed = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  const { value } = await killed.stdout.getReader().read();
  const launcherPid = Number(new TextDecoder().decode(value));
  expect(nodesRunning(cluster).size).toBe(5);

  killed.kill("SIGKILL");
  await killed.exited;
  await until("all nodes have ended", () => nodesRunning(cluster).size === 0);
  await until("their launcher has, too", () => !isRunning(launcherPid));
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
