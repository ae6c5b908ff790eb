/** Drills on a cluster that the launcher runs, and the command line's part of the console. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { About, Drill, DrillList, RecordPage } from "../../gateway/console/api.ts";
import { runDfs } from "../support/command-line.ts";
import { launch, type SmallCluster, smallCluster } from "../support/launcher.ts";

let cluster: SmallCluster;
let running: ReturnType<typeof launch>;

beforeAll(async () => {
  cluster = smallCluster();
  running = launch(cluster);
  await running.until("are running");
});

afterAll(async () => {
  running?.child.kill("SIGTERM");
  await running?.exited;
  cluster?.remove();
});

const ask = async <T>(path: string): Promise<T> =>
  (await (await fetch(`${cluster.url}/console/api/${path}`)).json()) as T;

const start = (request: Record<string, unknown>): Promise<Response> =>
  fetch(`${cluster.url}/console/api/drills`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
  });

async function drill(request: Record<string, unknown>): Promise<Drill> {
  const begun = (await (await start(request)).json()) as Drill;
  for (;;) {
    const found = (await ask<DrillList>("drills")).drills.find(({ id }) => id === begun.id);
    if (found && found.state !== "running") return found;
    await Bun.sleep(200);
  }
}

test("drills are allowed where config and launcher allow them, through a socket for its owner alone", async () => {
  expect((await ask<About>("about")).drills).toEqual({ allowed: true, reason: "" });
  expect(statSync(join(cluster.folder, "data", "launcher.sock")).mode & 0o077).toBe(0);
  const { nodes } = await ask<DrillList>("drills");
  expect(nodes.filter(({ running: runs }) => runs).length).toBe(5);
});

test("a drill that makes no sense is refused with its reason", async () => {
  const code = async (request: Record<string, unknown>) =>
    ((await (await start(request)).json()) as { code: string }).code;
  expect(await code({ kind: "kill", node: "worker-9" })).toBe("NO_SUCH_NODE");
  expect(await code({ kind: "kill", node: "gateway-1" })).toBe("INVALID_PARAMETER");
  expect(await code({ kind: "fill", node: "master-1" })).toBe("INVALID_PARAMETER");
  expect(await code({ kind: "cut", node: "worker-1" })).toBe("INVALID_PARAMETER");
  expect(await code({ kind: "explode", node: "worker-1" })).toBe("INVALID_BODY");
});

test("killing a worker: it is back, nothing is lost, and every budget was measured", async () => {
  const { steps, budgets } = await drill({ kind: "kill", node: "worker-2", durationMs: 1500 });
  expect(steps[0]?.text).toBe("worker-2 was killed");
  expect(budgets.map(({ name }) => name)).toEqual(["writesBack", "redundancyBack", "nothingLost"]);
  expect(budgets.every(({ ok }) => ok !== null)).toBe(true);
  expect(budgets.find(({ name }) => name === "nothingLost")).toMatchObject({ ok: true });
  const { records } = await ask<RecordPage>(`records?from=0&to=${Date.now()}&limit=5000&machine=mark`);
  expect(records.map(({ e, s }) => [e, s])).toContainEqual(["kill", "worker-2"]);
});

test("a damaged copy is found, replaced, and never read to a client", async () => {
  const { state, steps, budgets } = await drill({ kind: "corrupt", node: "worker-1" });
  expect([state, steps.map(({ text }) => text).join("; ")]).toEqual(["passed", expect.stringContaining("was changed")]);
  expect(budgets.find(({ name }) => name === "nothingLost")).toMatchObject({ ok: true });
});

test("dfs record saves a recording, dfs replay refuses what is none", async () => {
  const file = join(cluster.folder, "last.recording.gz");
  const recorded = await runDfs(cluster, "record", "--json", "-o", file);
  expect([recorded.exitCode, recorded.stderr]).toEqual([0, ""]);
  expect(JSON.parse(recorded.stdout)).toMatchObject({ file, records: expect.any(Number) });
  const other = join(cluster.folder, "other.gz");
  writeFileSync(other, "hello");
  expect(await runDfs(cluster, "replay", other)).toMatchObject({
    exitCode: 1,
    stderr: expect.stringContaining("no recording"),
  });
});

test("dfs machines prints any machine, for people, for Mermaid and for XState's editor", async () => {
  expect((await runDfs(cluster, "machines", "repair")).stdout).toContain("copying: The target fetches the chunk");
  expect((await runDfs(cluster, "machines", "--mermaid", "liveness")).stdout).toStartWith("stateDiagram-v2");
  const steward = JSON.parse((await runDfs(cluster, "machines", "--json", "steward")).stdout);
  expect(steward).toMatchObject({ id: "steward", initial: "safeMode" });
  expect((await runDfs(cluster, "machines", "nothing")).stderr).toContain("There is no machine");
});
