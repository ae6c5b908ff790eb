/** Where nodes keep their data, and how an operator begins anew. */
import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { loadConfig } from "../../actors/node/config.ts";
import { loadSecret } from "../../actors/node/identity/secret.ts";
import { destroyNodeData, finishDestroying, nodesWithData, settleNodeData } from "../../databases/node-data.ts";
import { outputOf } from "../support/child-output.ts";
import { runDfs } from "../support/command-line.ts";
import { endCluster, launch, type SmallCluster, smallCluster } from "../support/launcher.ts";

const ROOT = resolve(import.meta.dir, "../..");
let cluster: SmallCluster | undefined;
afterEach(() => {
  endCluster(cluster);
  cluster = undefined;
});

/** A cluster whose configuration says where data lies as the shipped one does. */
function shippedPlaces(): SmallCluster {
  const made = smallCluster();
  writeFileSync(made.configPath, JSON.stringify({ ...made.config, dataDirectory: "databases/data" }));
  return made;
}

async function reset(of: { configPath: string }, answer: string, ...args: string[]) {
  const child = Bun.spawn([process.execPath, "actors/reset.ts", "--config", of.configPath, ...args], {
    cwd: ROOT,
    stdin: new Blob([answer]),
    stdout: "pipe",
    stderr: "pipe",
  });
  return outputOf(child);
}

test("F18. node data lies in a folder that holds nothing else, and that git ignores whole", () => {
  const { dataDirectory } = loadConfig();
  expect(dataDirectory).toBe(join(ROOT, "databases/data"));
  const ignored = Bun.spawnSync(["git", "check-ignore", "databases/data/master-1/master_metadata.db"], { cwd: ROOT });
  expect(ignored.exitCode).toBe(0);
  const sources = Bun.spawnSync(["git", "ls-files", "databases"], { cwd: ROOT }).stdout.toString().trim().split("\n");
  expect(sources.length).toBeGreaterThan(5);
  expect(sources.filter((file) => file.startsWith("databases/data/"))).toEqual([]);
});

test("F18. data of before is moved to where it belongs, with its secret, and the files are there", async () => {
  cluster = shippedPlaces();
  writeFileSync(join(cluster.files, "a"), "kept over the move");
  const first = launch(cluster);
  await first.until("Ctrl-C stops everything");
  expect((await runDfs(cluster, "put", "a")).exitCode).toBe(0);
  first.child.kill("SIGINT");
  expect(await first.exited).toBe(0);

  const place = join(cluster.folder, "databases/data");
  const former = dirname(place);
  for (const name of readdirSync(place)) renameSync(join(place, name), join(former, name));
  writeFileSync(join(former, "master-log.ts"), "source");
  const second = launch(cluster);
  await second.until("Ctrl-C stops everything");
  expect((await runDfs(cluster, "get", "a", "-")).stdout).toBe("kept over the move");
  expect(readdirSync(former).sort()).toEqual(["data", "master-log.ts"]);
  second.child.kill("SIGINT");
  expect(await second.exited).toBe(0);
});

test("F18. reset names what it will destroy, refuses while nodes run, and destroys nothing unless it is told to", async () => {
  cluster = shippedPlaces();
  writeFileSync(join(cluster.files, "a"), "to be destroyed");
  const first = launch(cluster);
  await first.until("Ctrl-C stops everything");
  expect((await runDfs(cluster, "put", "a")).exitCode).toBe(0);
  const running = await reset(cluster, "destroy\n");
  expect(running.exitCode).toBe(3);
  expect(running.stderr).toContain("worker-3 are running. Stop the cluster first");
  expect((await runDfs(cluster, "get", "a", "-")).stdout).toBe("to be destroyed");
  first.child.kill("SIGINT");
  expect(await first.exited).toBe(0);

  const place = join(cluster.folder, "databases/data");
  const before = readdirSync(place);
  writeFileSync(join(place, "notes.txt"), "not a node's");
  for (const answer of ["", "\n", "yes\n"]) {
    const asked = await reset(cluster, answer);
    expect([asked.exitCode, asked.stdout.trim().split("\n").at(-1)]).toEqual([1, "Nothing was destroyed."]);
    for (const named of ["master-1", "worker-2", "gateway-1", "cluster.secret", "metadata", "chunks"])
      expect(asked.stdout).toContain(named);
  }
  expect(readdirSync(place).sort()).toEqual([...before, "notes.txt"].sort());
  expect((await reset(cluster, "", "--yes", "worker-8")).stderr).toContain("holds no data of worker-8; it holds: ");

  expect((await reset(cluster, "", "--yes", "worker-2")).exitCode).toBe(0);
  expect(existsSync(join(place, "worker-2"))).toBe(false);
  expect(existsSync(join(place, "cluster.secret"))).toBe(true);
  const done = await reset(cluster, "destroy\n");
  expect([done.exitCode, done.stderr]).toEqual([0, ""]);
  expect(readdirSync(place)).toEqual(["notes.txt"]);
  expect((await reset(cluster, "")).stdout).toContain("Nothing to destroy");
});

test("F18. a reset that was broken off leaves each node whole or gone, and the next one ends it", () => {
  cluster = shippedPlaces();
  const place = join(cluster.folder, "databases/data");
  for (const id of ["worker-1", "worker-2"]) {
    mkdirSync(join(place, id), { recursive: true });
    writeFileSync(join(place, id, "node.log"), "{}");
  }
  renameSync(join(place, "worker-1"), join(place, ".discarded-worker-1"));
  expect(nodesWithData(place).map(({ id }) => id)).toEqual(["worker-2"]);
  for (const node of nodesWithData(place)) destroyNodeData(node);
  finishDestroying(place);
  expect(readdirSync(place)).toEqual([]);
});

test("F18. a node finds its data where it is: at its place, formerly, or nowhere yet", () => {
  cluster = shippedPlaces();
  const place = join(cluster.folder, "databases/data");
  const former = join(cluster.folder, "databases");
  mkdirSync(join(former, "worker-1"), { recursive: true });
  writeFileSync(join(former, "worker-1/node.log"), "of before");
  mkdirSync(join(former, "metadata"));
  expect(settleNodeData(place, "worker-1")).toBe(join(place, "worker-1"));
  expect(readFileSync(join(place, "worker-1/node.log"), "utf8")).toBe("of before");
  mkdirSync(join(former, "worker-1"));
  writeFileSync(join(former, "worker-1/node.log"), "put there later");
  expect(settleNodeData(place, "worker-1")).toBe(join(place, "worker-1"));
  expect(readFileSync(join(place, "worker-1/node.log"), "utf8")).toBe("of before");
  // A folder that holds no node's data is nobody's to move.
  expect(settleNodeData(place, "metadata")).toBe(join(place, "metadata"));
  expect(existsSync(join(former, "metadata"))).toBe(true);
  expect(settleNodeData(join(cluster.folder, "elsewhere"), "worker-2")).toBe(
    join(cluster.folder, "elsewhere/worker-2"),
  );
});

test("F18. the secret of before is moved, not made anew", () => {
  cluster = shippedPlaces();
  const former = join(cluster.folder, "databases");
  const secret = loadSecret(former, {});
  expect(loadSecret(join(former, "data"), {})).toBe(secret);
  expect(readdirSync(former)).toEqual(["data"]);
  expect(loadSecret(join(former, "data"), {})).toBe(secret);
});
