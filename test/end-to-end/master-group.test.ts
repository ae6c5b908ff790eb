/** The group of masters changes while it works: real processes join, leave, lose their disks and get snapshots. */
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { MasterGroup } from "../../gateway/client/client.ts";
import { runDfs } from "../support/command-line.ts";
import { freePorts } from "../support/free-ports.ts";
import { BOTH_KINDS, expectOneHistory, tinyOrLonger, WHOLE_LOG } from "../support/judge-load.ts";
import { SEED, seeded } from "../support/random.ts";
import { RealCluster } from "../support/real-cluster.ts";
import { RecordedLoad } from "../support/recorded-load.ts";

const _PROJECT = join(import.meta.dir, "../..");

let cluster: RealCluster;
afterEach(() => cluster?.stop());

const group = (): Promise<MasterGroup> => cluster.client.masters();
const master = async (id: string) => (await group()).masters.find((one) => one.id === id);
const leader = async (): Promise<string> => (await group()).leader ?? "nobody";
const follower = async (): Promise<string> =>
  (await group()).masters.find(({ role, member }) => role === "follower" && member === "voter")?.id ?? "nobody";
const untilVoter = (id: string) =>
  cluster.until(`${id} votes`, 20_000, async () => (await master(id))?.member === "voter");

/** Puts small files without pause; what was acknowledged must be there afterwards. */
function writing(prefix: string, lanes = 4) {
  const acknowledged: string[] = [];
  let failures = 0;
  let isStopping = false;
  const running = Array.from({ length: lanes }, async (_, lane) => {
    for (let n = 0; !isStopping; n++) {
      const path = `${prefix}/${lane}-${n}`;
      const response = await fetch(cluster.fileUrl(path), { method: "PUT", body: path }).catch(() => null);
      await response?.arrayBuffer().catch(() => null);
      if (response?.ok) acknowledged.push(path);
      else failures++;
    }
  });
  return {
    get failures() {
      return failures;
    },
    acknowledged,
    async stop(): Promise<void> {
      isStopping = true;
      await Promise.all(running);
    },
  };
}

async function expectAll(paths: string[]): Promise<void> {
  expect(paths.length).toBeGreaterThan(20);
  for (let at = 0; at < paths.length; at += 32)
    await Promise.all(
      paths.slice(at, at + 32).map(async (path) => {
        expect(await (await fetch(cluster.fileUrl(path))).text(), path).toBe(path);
      }),
    );
}

async function startExtra(id: string): Promise<string> {
  const [port] = freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  cluster.startNode("master", id, ["--url", url, "--join"]);
  return url;
}

const dfs = (...args: string[]) => runDfs({ url: cluster.url, files: cluster.folder, folder: cluster.folder }, ...args);

describe("who belongs to the masters", () => {
  test("19b. under load a fourth master joins, learns and votes; the leader is removed; nothing acknowledged is lost", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3 });
    const load = writing("load");
    const url = await startExtra("master-4");
    const added = await dfs("masters", "add", "master-4", url);
    expect([added.exitCode, added.stderr]).toEqual([0, ""]);
    await untilVoter("master-4");
    const first = await leader();
    const removed = await dfs("masters", "remove", first);
    expect([removed.exitCode, removed.stderr]).toEqual([0, ""]);
    expect(await leader()).not.toBe(first);
    await Bun.sleep(500);
    // Three are left of four: one more may fail.
    const next = await leader();
    await cluster.kill(next);
    await cluster.until("another leads", 20_000, async () => ![next, "nobody", first].includes(await leader()));
    await Bun.sleep(1000);
    await load.stop();
    await expectAll(load.acknowledged);
    // The removed one neither campaigns nor disturbs: its term is that in which it was told.
    const { term } = await group();
    await Bun.sleep(3000);
    expect((await group()).term).toBe(term);
    expect((await master(first))?.role).toBe("follower");
    const again = await dfs("masters", "add", first, cluster.config.masters.find(({ id }) => id === first)?.url ?? "");
    expect([again.exitCode, again.stderr]).toEqual([5, expect.stringContaining("never taken again")]);
  });

  test("21c. leadership is handed over under load, again and again, and no write fails", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3 });
    const load = writing("load");
    await Bun.sleep(500);
    for (let n = 0; n < 6; n++) {
      const to = await follower();
      const handed = await dfs("masters", "transfer", to);
      expect([handed.exitCode, handed.stderr]).toEqual([0, ""]);
      await cluster.until(`${to} leads`, 10_000, async () => (await leader()) === to);
    }
    await load.stop();
    expect(load.failures).toBe(0);
    await expectAll(load.acknowledged);
    expect((await dfs("masters", "transfer", "master-9")).exitCode).toBe(3);
  });

  test(`20. a master whose disk was wiped is refused under its old id and joins under a new one; the load notices nothing wrong  SEED=${SEED}`, async () => {
    cluster = await RealCluster.start({
      masters: 3,
      workers: 3,
      gateways: 2,
      config: { ...BOTH_KINDS, raft: WHOLE_LOG },
    });
    const random = seeded(SEED);
    const { gateways } = cluster.config;
    const load = new RecordedLoad({ gateways, random, paddingBytes: tinyOrLonger(random) }).start();
    await cluster.until("all are known by their data", 10_000, async () => {
      const told = await fetch(`${cluster.url}/cluster/masters`).then((r) => r.json() as Promise<MasterGroup>);
      return told.masters.every(({ member, lag }) => member === "voter" && lag !== null);
    });
    await Bun.sleep(1500);
    const wiped = await follower();
    await cluster.kill(wiped);
    rmSync(cluster.dataOf(wiped), { recursive: true });
    mkdirSync(cluster.dataOf(wiped));
    cluster.restart(wiped);
    await cluster.until("it stops", 10_000, async () => !cluster.isRunning(wiped));
    expect(cluster.logOf(wiped)).toContain("start it under a new id with --join");
    const url = await startExtra("master-4");
    expect((await dfs("masters", "add", "master-4", url)).exitCode).toBe(0);
    await untilVoter("master-4");
    expect((await dfs("masters", "remove", wiped)).exitCode).toBe(0);
    const shown = await dfs("masters");
    expect(shown.stdout).toMatch(new RegExp(`${wiped} .*removed`));
    const members = ["master-1", "master-2", "master-3", "master-4"].filter((id) => id !== wiped);
    await expectOneHistory(cluster, load, members);
  });

  test("one master's data is extended to three: what the data says counts, until the others are added", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3, single: true });
    await fetch(cluster.fileUrl("before"), { method: "PUT", body: "before" });
    await cluster.kill("master-1", "SIGTERM");
    for (const id of ["master-1", "master-2", "master-3"]) cluster.startNode("master", id);
    await cluster.ready();
    expect(cluster.logOf("master-1")).toContain("the data counts");
    for (const id of ["master-2", "master-3"]) {
      await cluster.until(`${id} waits`, 10_000, async () => cluster.logOf(id).includes("waits to be added"));
      const { url } = cluster.config.masters.find((one) => one.id === id) as { url: string };
      expect((await dfs("masters", "add", id, url)).exitCode).toBe(0);
      await untilVoter(id);
    }
    await cluster.kill("master-1");
    await cluster.until("another leads", 20_000, async () => ["master-2", "master-3"].includes(await leader()));
    expect(await (await fetch(cluster.fileUrl("before"))).text()).toBe("before");
  });
});

describe("snapshots", () => {
  const raft = { heartbeatMs: 100, electionMs: 1000, keepEntries: 20, maxStaleMs: 5000 };

  test("22b. a follower that was away while the log was cut back gets the state whole, also when it is killed over it", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3, config: { ...BOTH_KINDS, raft } });
    const away = await follower();
    await cluster.kill(away);
    const load = writing("load", 8);
    const base = async () => (await master(await leader()))?.lastIndex ?? 0;
    await cluster.until("many entries", 60_000, async () => (await base()) > 600);
    await Bun.sleep(2500);
    const generations = () => {
      const folder = join(cluster.dataOf(away), "state");
      return existsSync(folder) ? readdirSync(folder).sort().join() : "";
    };
    // Killed as soon as the new generation's folder is there: before, within or just after the install.
    for (let n = 0; n < 3; n++) {
      const before = generations();
      cluster.restart(away);
      for (let waited = 0; generations() === before && waited < 8000; waited += 2) await Bun.sleep(2);
      await Bun.sleep(n * 4);
      await cluster.kill(away);
      await Bun.sleep(2500);
    }
    cluster.restart(away);
    await cluster.until("it has caught up", 30_000, async () => ((await master(away))?.lag ?? 1000) < 50);
    await load.stop();
    expect(cluster.logOf(away)).toContain("snapshot-installed");
    await cluster.until("no lag", 10_000, async () => (await master(away))?.lag === 0);
    expect((await dfs("masters", "transfer", away)).exitCode).toBe(0);
    await cluster.until("it leads", 10_000, async () => (await leader()) === away);
    await expectAll(load.acknowledged);
  });

  test("28c. a master that lost its applied state, with a log that cannot build it, takes the leader's", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3, config: { ...BOTH_KINDS, raft } });
    const load = writing("load", 8);
    const hurt = await follower();
    await cluster.until("many entries", 60_000, async () => ((await master(hurt))?.appliedIndex ?? 0) > 400);
    await Bun.sleep(2500);
    await cluster.kill(hurt);
    for (const end of ["", "-wal", "-shm"])
      rmSync(join(cluster.dataOf(hurt), `dfs_metadata.db${end}`), { force: true });
    cluster.restart(hurt);
    await cluster.until("it is back", 20_000, async () => ((await master(hurt))?.lag ?? 1000) < 50);
    expect(cluster.logOf(hurt)).toContain("state-rebuilt");
    await load.stop();
    await cluster.until("no lag", 10_000, async () => (await master(hurt))?.lag === 0);
    await expectAll(load.acknowledged);
  });
});

describe("answers of a stated age", () => {
  test("any master answers eventual reads, within the bound, and also for a while after the leader is gone", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3 });
    await fetch(cluster.fileUrl("old"), { method: "PUT", body: "old" });
    await Bun.sleep(800);
    const eventual = (init?: RequestInit) => fetch(`${cluster.fileUrl("old")}?consistency=eventual`, init);
    const ageOf = (response: Response) => Number(response.headers.get("x-dfs-age-ms"));
    for (let n = 0; n < 20; n++) {
      const response = await eventual({ method: n % 2 ? "GET" : "HEAD" });
      expect(response.status).toBe(200);
      expect(ageOf(response)).toBeLessThan(5000);
      if (n % 2) expect(await response.text()).toBe("old");
    }
    const page = await fetch(`${cluster.url}/files?consistency=eventual`);
    expect(ageOf(page)).toBeGreaterThan(0);
    expect(((await page.json()) as { entries: unknown[] }).entries).toHaveLength(1);

    const [first, second] = [await leader(), await follower()];
    await Promise.all([cluster.kill(first), cluster.kill(second)]);
    const orphaned = await eventual();
    expect([orphaned.status, await orphaned.text()]).toEqual([200, "old"]);
    await Bun.sleep(5500);
    const tooOld = await eventual();
    expect(tooOld.status).toBe(503);
    const view = await group();
    expect(view.leader).toBeNull();
    expect(view.masters.filter(({ role }) => role !== "unknown")).toHaveLength(1);
  });
});

describe("backup and restore", () => {
  test("a backup made under load is restored into a new group, with the files of that moment; newer chunks are kept in the trash", async () => {
    const trash = { keepMs: 86_400_000, deleteGraceMs: 0 };
    cluster = await RealCluster.start({ masters: 3, workers: 3, config: { trash } });
    const deleted = new Uint8Array(300_000).fill(7);
    await fetch(cluster.fileUrl("deleted"), { method: "PUT", body: deleted });
    const load = writing("load");
    await cluster.until("enough is written", 20_000, async () => load.acknowledged.length > 40);
    const before = [...load.acknowledged];
    const file = join(cluster.folder, "metadata.backup");
    const made = await dfs("backup", file);
    expect([made.exitCode, existsSync(file)]).toEqual([0, true]);
    expect((await fetch(cluster.fileUrl("deleted"), { method: "DELETE" })).status).toBe(204);
    await Bun.sleep(1000);
    await load.stop();
    await cluster.until("the deleted file is in the trash", 20_000, async () => (await cluster.view()).garbage === 0);
    const after = load.acknowledged.slice(-4);
    await cluster.kill("gateway-1");
    for (const id of ["master-1", "master-2", "master-3"]) {
      await cluster.kill(id);
      rmSync(cluster.dataOf(id), { recursive: true });
    }
    const tampered = join(cluster.folder, "tampered.backup");
    const bytes = readFileSync(file);
    bytes[bytes.length - 100] = (bytes[bytes.length - 100] as number) ^ 1;
    await Bun.write(tampered, bytes);
    cluster.startNode("master", "master-1", ["--restore", tampered]);
    await cluster.until("refused", 10_000, async () => !cluster.isRunning("master-1"));
    expect(cluster.logOf("master-1")).toContain("is damaged");
    rmSync(cluster.dataOf("master-1"), { recursive: true });

    cluster.startNode("master", "master-1", ["--restore", file]);
    for (const id of ["master-2", "master-3"]) cluster.startNode("master", id);
    cluster.restart("gateway-1");
    await cluster.ready(30_000);
    await expectAll(before);
    for (const path of after) expect((await fetch(cluster.fileUrl(path))).status).toBe(404);
    expect((await fetch(cluster.fileUrl("new"), { method: "PUT", body: "new" })).status).toBe(201);
    for (const id of ["master-2", "master-3"]) {
      const { url } = cluster.config.masters.find((one) => one.id === id) as { url: string };
      expect((await dfs("masters", "add", id, url)).exitCode).toBe(0);
      await untilVoter(id);
    }
    await cluster.until("what nobody knows is in the trash", 60_000, async () =>
      (await cluster.view()).workers.some(({ trashBytes }) => trashBytes > 0),
    );
    // Each worker compares its inventory with the leader's within seconds of its registration.
    await Bun.sleep(8000);
    await cluster.untilRedundant();
    await expectAll(before);
    const back = await fetch(cluster.fileUrl("deleted"));
    expect(Buffer.compare(await back.bytes(), deleted)).toBe(0);
  });
});
