import { afterEach, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runDfs } from "../support/command-line.ts";
import { endCluster, launch, nodesRunning, type SmallCluster, smallCluster } from "../support/launcher.ts";

let cluster: SmallCluster | undefined;
afterEach(() => {
  endCluster(cluster);
  cluster = undefined;
});

async function untilGone(of: SmallCluster, timeoutMs: number): Promise<string[]> {
  const deadline = Date.now() + timeoutMs;
  while (nodesRunning(of).size > 0 && Date.now() < deadline) await Bun.sleep(50);
  return [...nodesRunning(of).keys()];
}

test("start, use, Ctrl-C, start again: the files of the first are there, and nothing stays behind", async () => {
  cluster = smallCluster();
  writeFileSync(join(cluster.files, "README.md"), "read me");
  const first = launch(cluster);
  await first.until("Ctrl-C stops everything");
  expect(first.printed()).toContain(`The gateway is at ${cluster.url}`);
  const commands = [...first.printed().matchAll(/ dfs (.+)/g)].map((match) => (match[1] as string).split(" "));
  expect(commands.map(([verb]) => verb)).toEqual(["put", "ls", "get"]);
  const results = [];
  for (const command of commands) results.push(await runDfs(cluster, ...command));
  expect(results.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0]);
  expect(results[2]?.stdout).toBe("read me");
  expect([...nodesRunning(cluster).keys()].sort()).toEqual([
    "gateway-1",
    "master-1",
    "worker-1",
    "worker-2",
    "worker-3",
  ]);

  first.child.kill("SIGINT");
  // npm hands the terminal's Ctrl-C on: the same press arrives twice and is not a demand to kill.
  first.child.kill("SIGINT");
  expect(await first.exited).toBe(0);
  expect(first.printed()).toEndWith("Stopped.\n");
  expect(nodesRunning(cluster).size).toBe(0);
  const secret = readFileSync(join(cluster.folder, "data/cluster.secret"), "utf8").trim();
  for (const node of ["gateway-1", "master-1", "worker-1"]) {
    const log = readFileSync(join(cluster.folder, `data/${node}/node.log`), "utf8");
    expect(log).toContain('"event":"stopping"');
    expect(log).not.toContain(secret);
  }

  const second = launch(cluster);
  await second.until("Ctrl-C stops everything");
  expect((await runDfs(cluster, "get", "hello/README.md", "-")).stdout).toBe("read me");
  second.child.kill("SIGTERM");
  expect(await second.exited).toBe(0);
  expect(nodesRunning(cluster).size).toBe(0);
});

test("three masters start together, one of them may go, and they start again", async () => {
  cluster = smallCluster({ masters: 3 });
  writeFileSync(join(cluster.files, "a"), "kept by three");
  const first = launch(cluster);
  await first.until("Ctrl-C stops everything");
  expect(first.printed()).toContain("3 masters, 3 workers and 1 gateway are running");
  expect((await runDfs(cluster, "put", "a")).exitCode).toBe(0);
  const shown = JSON.parse((await runDfs(cluster, "masters", "--json")).stdout) as {
    leader: string;
    masters: { member: string }[];
  };
  expect(shown.masters.map(({ member }) => member)).toEqual(["voter", "voter", "voter"]);
  process.kill(nodesRunning(cluster).get(shown.leader) as number, "SIGKILL");
  await first.until(`${shown.leader} was killed by SIGKILL`);
  expect((await runDfs(cluster, "get", "a", "-")).stdout).toBe("kept by three");
  first.child.kill("SIGINT");
  expect(await first.exited).toBe(0);
  const second = launch(cluster);
  await second.until("Ctrl-C stops everything");
  expect((await runDfs(cluster, "get", "a", "-")).stdout).toBe("kept by three");
  second.child.kill("SIGTERM");
  expect(await second.exited).toBe(0);
});

test("a node that dies is reported with its log and how to start it again, and the others go on", async () => {
  cluster = smallCluster();
  const launcher = launch(cluster, { npm_config_user_agent: "npm/11.0.0 node/v24.0.0" });
  await launcher.until("Ctrl-C stops everything");
  process.kill(nodesRunning(cluster).get("worker-2") as number, "SIGKILL");
  await launcher.until("worker-2 was killed by SIGKILL");
  expect(launcher.printed()).toContain(join(cluster.folder, "data/worker-2/node.log"));
  expect(launcher.printed()).toContain("npm run -s dfs -- get hello/README.md -");
  expect(launcher.printed()).toContain(`npm run worker -- --id worker-2 --config ${cluster.configPath}`);
  writeFileSync(join(cluster.files, "a"), "still here");
  expect((await runDfs(cluster, "put", "a")).exitCode).toBe(0);
  expect((await runDfs(cluster, "get", "a", "-")).stdout).toBe("still here");
  launcher.child.kill("SIGINT");
  expect(await launcher.exited).toBe(0);
});

test("a second start beside the first names node and port, stops nothing, and fails", async () => {
  cluster = smallCluster();
  const first = launch(cluster);
  await first.until("Ctrl-C stops everything");
  const before = nodesRunning(cluster);
  const second = launch(cluster);
  expect(await second.exited).not.toBe(0);
  expect(second.printed()).toContain(`of master-1 (${cluster.config.masters[0].url}) is taken`);
  expect(second.printed()).toContain("running already");
  expect(nodesRunning(cluster)).toEqual(before);
  first.child.kill("SIGKILL");
  expect(await untilGone(cluster, 12_000)).toEqual([]);
});

test("a port that another program holds is named, and what was started is stopped", async () => {
  cluster = smallCluster();
  const { port } = new URL(cluster.config.workers[1].url);
  const other = Bun.listen({ hostname: "127.0.0.1", port: Number(port), socket: { data() {} } });
  const launcher = launch(cluster);
  expect(await launcher.exited).not.toBe(0);
  expect(launcher.printed()).toContain(`port ${port} of worker-2`);
  expect(nodesRunning(cluster).size).toBe(0);
  other.stop();
});

test("a mistake in the configuration stops the start with key, value and what is allowed", async () => {
  cluster = smallCluster();
  writeFileSync(cluster.configPath, JSON.stringify({ ...cluster.config, replicationFactor: 0 }));
  const launcher = launch(cluster);
  expect(await launcher.exited).toBe(2);
  expect(launcher.printed()).toContain("replicationFactor is 0; allowed: a whole number from 1 to 16");
});

test("a second Ctrl-C kills at once", async () => {
  cluster = smallCluster();
  const launcher = launch(cluster);
  await launcher.until("Ctrl-C stops everything");
  // A worker that does not move keeps the stop waiting.
  process.kill(nodesRunning(cluster).get("worker-1") as number, "SIGSTOP");
  launcher.child.kill("SIGINT");
  await launcher.until("press Ctrl-C again");
  await Bun.sleep(600);
  expect(launcher.child.exitCode).toBeNull();
  launcher.child.kill("SIGINT");
  expect(await launcher.exited).toBe(1);
  expect(await untilGone(cluster, 2000)).toEqual([]);
});
