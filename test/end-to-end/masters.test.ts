/** Three masters of real processes: leaders are killed, frozen and cut off under load, and nothing acknowledged is lost. */
import { afterEach, describe, expect, test } from "bun:test";
import type { MasterStatusAnswer } from "../../actors/messages/master.ts";
import { codeOf } from "../support/codes.ts";
import { stopwatch } from "../support/fair-time.ts";
import { BOTH_KINDS, expectOneHistory, tinyOrLonger, WHOLE_LOG } from "../support/judge-load.ts";
import { SEED, seeded } from "../support/random.ts";
import { RealCluster } from "../support/real-cluster.ts";
import { RecordedLoad } from "../support/recorded-load.ts";

const ROUNDS = 20;
const FROZEN_MS = 30_000;
/** How long links stay cut, once for each: just until it is noticed, and for longer. */
const CUTS_MS = [0, 0, 6000];
/** However the leader ends, every client writes again within this time; what other work on the machine takes away comes on top. */
const WRITES_BACK_MS = 3000;
/** By the gateway's own clock. It gives up below 2 s; on a busy machine it may be late for that. */
const REFUSED_SOON_MS = 5000;

let cluster: RealCluster;
afterEach(() => cluster?.stop());

interface Master {
  id: string;
  role: string;
  term: number;
}

async function leader(): Promise<string> {
  const asked = await fetch(`${cluster.url}/cluster`, { headers: { prefer: "wait=60" } });
  const { masters } = (await asked.json()) as { masters: Master[] };
  const found = masters.find(({ role }) => role === "leader");
  if (!found) throw new Error("nobody leads");
  return found.id;
}

const roleOf = async (id: string): Promise<string | undefined> =>
  (await cluster.client.masters()).masters.find((one) => one.id === id)?.role;

const MASTERS = ["master-1", "master-2", "master-3"];

const startCluster = async () => {
  cluster = await RealCluster.start({
    masters: 3,
    workers: 3,
    gateways: 2,
    config: { ...BOTH_KINDS, raft: WHOLE_LOG },
  });
};

function startLoad(): RecordedLoad {
  const random = seeded(SEED);
  const { gateways } = cluster.config;
  return new RecordedLoad({ gateways, random, paddingBytes: tinyOrLonger(random) }).start();
}

const summary = (times: number[]): string => {
  const sorted = [...times].sort((a, b) => a - b).map(Math.round);
  return `min ${sorted[0]} ms, median ${sorted[sorted.length >> 1]} ms, max ${sorted.at(-1)} ms`;
};

/** @returns tells which part of the time since this call the machine really had for what wanted to run */
function watchShare(): () => number {
  const fair = stopwatch();
  const began = performance.now();
  return () => fair() / (performance.now() - began);
}

const askForRead = (id: string) => codeOf(cluster.ask<"STAT">(id, { type: "STAT", path: "watched" }));
const askForChange = (id: string, timeoutMs?: number) =>
  codeOf(
    cluster.ask<"EXECUTE">(
      id,
      {
        type: "EXECUTE",
        sessionId: 0,
        seq: 0,
        lowestUnacked: 0,
        idempotencyKey: null,
        command: { type: "DELETE_PATH", path: "watched", recursive: false, condition: {} },
      },
      timeoutMs,
    ),
  );

describe("three masters", () => {
  test(`53j. kill -9 of the leader under load, ${ROUNDS} times: no acknowledged change lost or done twice, no stale read, writes resume  SEED=${SEED}`, async () => {
    await startCluster();
    const load = startLoad();
    await Bun.sleep(1000);
    const gaps: number[] = [];
    const own: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const victim = await leader();
      const share = watchShare();
      const killedAt = performance.now();
      await cluster.kill(victim);
      await cluster.until("all clients write", 20_000, async () => load.areAllBack(killedAt));
      gaps.push(load.longestGap(killedAt));
      own.push(load.longestGap(killedAt) * share());
      cluster.restart(victim);
      await cluster.until("it follows", 20_000, async () => (await roleOf(victim)) === "follower");
    }
    console.log(
      `${ROUNDS} leaders killed; writes back after ${summary(gaps)}; clients were told of ${load.changesTold} changes\n` +
        `on a machine with a processor for everything that wanted to run: ${summary(own)}`,
    );
    await expectOneHistory(cluster, load, MASTERS);
    expect(Math.max(...own)).toBeLessThan(WRITES_BACK_MS);
  });

  test(`8b. a leader frozen for 30 s is replaced; it wakes to questions from before that, answers nothing old, takes no change, and follows  SEED=${SEED}`, async () => {
    await startCluster();
    const put = (value: string) => fetch(cluster.fileUrl("watched"), { method: "PUT", body: value });
    expect((await put("old")).status).toBe(201);
    const load = startLoad();
    await Bun.sleep(500);
    const frozen = await leader();
    const share = watchShare();
    const frozenAt = performance.now();
    cluster.freeze(frozen);
    await cluster.until("all clients write", 20_000, async () => load.areAllBack(frozenAt));
    console.log(`writes back ${Math.round(load.longestGap(frozenAt))} ms after the leader froze`);
    expect(load.longestGap(frozenAt) * share()).toBeLessThan(WRITES_BACK_MS);
    const { etag } = (await (await put("new")).json()) as { etag: string };
    const read = cluster.ask<"STAT">(frozen, { type: "STAT", path: "watched" }, FROZEN_MS + 10_000);
    const seen = read.then(
      ({ entry }) => (entry as { etag?: string } | null)?.etag,
      () => "nothing",
    );
    const change = askForChange(frozen, FROZEN_MS + 10_000);
    await Bun.sleep(FROZEN_MS - (performance.now() - frozenAt));
    cluster.thaw(frozen);
    expect(["nothing", etag.replaceAll('"', "")]).toContain((await seen) as string);
    expect(await change).toBe("NOT_LEADER");
    await cluster.until("it follows", 10_000, async () => (await roleOf(frozen)) === "follower");
    expect(await (await fetch(cluster.fileUrl("watched"))).text()).toBe("new");
    await expectOneHistory(cluster, load, MASTERS);
  });

  test(`a leader cut off from the other masters, with a gateway on its side, answers no strong read and takes no change; there is no second history  SEED=${SEED}`, async () => {
    await startCluster();
    const load = startLoad();
    const leaderOf = new Map<number, string>();
    const look = async (): Promise<MasterStatusAnswer[]> => {
      const all = await Promise.all(MASTERS.map((id) => cluster.ask<"MASTER_STATUS">(id, { type: "MASTER_STATUS" })));
      for (const { id, term } of all.filter((one) => one.role === "leader")) {
        expect(leaderOf.get(term) ?? id, `who leads term ${term}`).toBe(id);
        leaderOf.set(term, id);
      }
      return all;
    };
    await Bun.sleep(500);
    await look();
    for (const [round, cutMs] of CUTS_MS.entries()) {
      const minority = await leader();
      const majority = MASTERS.filter((id) => id !== minority);
      const cutAt = performance.now();
      const share = watchShare();
      await cluster.cut([minority, "gateway-2"], majority, 60_000);
      await cluster.until("the cut-off one has stepped down, and another leads", 20_000, async () => {
        const roles = new Map((await look()).map(({ id, role }) => [id, role]));
        return roles.get(minority) !== "leader" && majority.some((id) => roles.get(id) === "leader");
      });
      const steppedDownMs = Math.round(performance.now() - cutAt);
      for (const asked of [askForRead(minority), askForChange(minority)]) expect(await asked).toBe("NOT_LEADER");
      await cluster.until("clients of the other side write", 20_000, async () => load.areAllBack(cutAt, "gateway-1"));
      const gap = Math.round(load.longestGap(cutAt, "gateway-1"));
      const own = gap * share();
      console.log(
        `cut ${round + 1}: stepped down after ${steppedDownMs} ms; writes of the others back after ${gap} ms`,
      );
      expect(own).toBeLessThan(WRITES_BACK_MS);
      await Bun.sleep(Math.max(0, cutMs - (performance.now() - cutAt)));
      await cluster.cut([minority, "gateway-2"], majority, 1);
      const healedAt = performance.now();
      await cluster.until("all clients write", 20_000, async () => load.areAllBack(healedAt));
    }
    await expectOneHistory(cluster, load, MASTERS);
  });

  test(`F14. a gateway cut off from the leader alone goes through another master, also when the leader is then killed; there is one history  SEED=${SEED}`, async () => {
    await startCluster();
    const load = startLoad();
    await Bun.sleep(500);
    for (const ends of ["healed", "killed"] as const) {
      const leads = await leader();
      const cutAt = performance.now();
      await cluster.cut([leads], ["gateway-1"], 600_000);
      await cluster.until("clients of the cut-off gateway write", 60_000, async () =>
        load.areAllBack(cutAt, "gateway-1"),
      );
      console.log(`writes of the cut-off gateway back after ${Math.round(load.longestGap(cutAt, "gateway-1"))} ms`);
      const read = await fetch(cluster.fileUrl("nothing"), { signal: AbortSignal.timeout(60_000) });
      expect(read.status).toBe(404);
      const endedAt = performance.now();
      if (ends === "healed") await cluster.cut([leads], ["gateway-1"], 1);
      else await cluster.kill(leads);
      await cluster.until("all clients write", 60_000, async () => load.areAllBack(endedAt));
      if (ends === "killed") cluster.restart(leads);
    }
    await expectOneHistory(cluster, load, MASTERS);
  });

  test("F13. two of three masters down: changes and strong reads are refused soon, with 503 and when to ask again; who asked to wait gets an answer when one is back", async () => {
    await startCluster();
    const load = startLoad();
    await Bun.sleep(1500);
    const first = await leader();
    const [last, ...others] = MASTERS.filter((id) => id !== first) as [string];
    const down = [first, ...others];
    await Promise.all(down.map((id) => cluster.kill(id)));
    const leaderAsSeen = async () => (await cluster.ask<"MASTER_STATUS">(last, { type: "MASTER_STATUS" })).leader;
    await cluster.until("the last one knows no leader", 10_000, async () => (await leaderAsSeen()) === null);
    const asked = [
      fetch(cluster.fileUrl("new"), { method: "PUT", body: "x" }),
      fetch(cluster.fileUrl("new"), { method: "DELETE" }),
      fetch(cluster.fileUrl("new")),
    ];
    for (const response of await Promise.all(asked)) {
      const refusal = (await response.json()) as { code: string; next: string; waitedMs: number };
      const { code, next, waitedMs } = refusal;
      expect([response.status, code, response.headers.get("retry-after")]).toEqual([503, "NO_LEADER", "2"]);
      expect(next).toContain("ry again");
      expect(waitedMs).toBeLessThan(REFUSED_SOON_MS);
    }
    const patient = fetch(cluster.fileUrl("new"), { headers: { prefer: "wait=60" } });
    const restartedAt = performance.now();
    cluster.restart(down[0] as string);
    await cluster.until("all clients write", 30_000, async () => load.areAllBack(restartedAt));
    expect([(await patient).status, (await patient).headers.get("preference-applied")]).toEqual([404, "wait=60"]);
    cluster.restart(down[1] as string);
    await expectOneHistory(cluster, load, MASTERS);
  });

  test("a follower that was away catches up and can lead", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3 });
    const away = (await leader()) === "master-3" ? "master-2" : "master-3";
    await cluster.kill(away);
    for (let n = 0; n < 50; n++) await fetch(cluster.fileUrl(`f${n}`), { method: "PUT", body: String(n) });
    cluster.restart(away);
    await cluster.until("it has caught up", 20_000, async () => {
      const { masters } = (await (await fetch(`${cluster.url}/cluster`)).json()) as {
        masters: (Master & { lag: number })[];
      };
      return masters.some(({ id, role, lag }) => id === away && role === "follower" && lag === 0);
    });
    const others = ["master-1", "master-2", "master-3"].filter((id) => id !== away);
    await cluster.kill(await leader());
    await cluster.until("someone leads", 20_000, async () => (await leader()) !== "");
    for (let n = 0; n < 50; n++) expect(await (await fetch(cluster.fileUrl(`f${n}`))).text()).toBe(String(n));
    expect(others).toHaveLength(2);
  });

  test("a leader that is told to stop hands over first: another leads before it is gone", async () => {
    cluster = await RealCluster.start({ masters: 3, workers: 3 });
    for (let n = 0; n < 3; n++) {
      const stopped = await leader();
      expect(await cluster.kill(stopped, "SIGTERM")).toBe(0);
      const said = cluster
        .logOf(stopped)
        .split("\n")
        .findLast((line) => line.includes('"handed-over"'));
      expect(JSON.parse(said ?? "{}").leader).toMatch(/^master-/);
      expect((await fetch(cluster.fileUrl(`after-${n}`), { method: "PUT", body: stopped })).status).toBe(201);
      cluster.restart(stopped);
      await cluster.until("it is back", 20_000, async () => {
        const { masters } = (await (await fetch(`${cluster.url}/cluster`)).json()) as { masters: Master[] };
        return masters.some(({ id, role }) => id === stopped && role === "follower");
      });
    }
  });
});
