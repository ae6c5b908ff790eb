/** What a leader makes of workers that fall silent, come and go, or come back as somebody else. */
import { afterEach, describe, expect, test } from "bun:test";
import { massSilence } from "../../actors/rules/redundancy/mass-silence.ts";
import { verdictOf } from "../../gateway/client/verdict.ts";
import { stopRisk } from "../../gateway/rest/health.ts";
import { ManualCluster } from "../support/manual-cluster.ts";

let cluster: ManualCluster;
const start = async (options?: Parameters<typeof ManualCluster.start>[0]) => {
  cluster = await ManualCluster.start(options);
  return cluster.config;
};
afterEach(() => cluster?.stop());

const asCluster = (state: unknown) => state as Parameters<typeof verdictOf>[0];
const four = ["a", "b", "c", "d"];

describe("a leader that stood still", () => {
  test("33b. a leader that stood still for longer than the limit of death declares no worker dead, nor even suspect, and repairs nothing", async () => {
    const { deadAfterMs } = await start({ zones: four });
    await cluster.file("f", [1, 2, 3]);
    await cluster.standStill(5 * deadAfterMs);
    expect(await Promise.all([1, 2, 3, 4].map((n) => cluster.stateOf(n)))).toEqual(["live", "live", "live", "live"]);
    await cluster.pass(2000);
    expect(cluster.copyOrders()).toEqual([]);
  });

  // One of the two lets the timer of death ring before the leader looks at its clock, the other after.
  test.each([6000, 6100])(
    "33c. a leader that stood still gives a worker that was about to be declared dead (%d ms) its time again; a dead one is declared dead then",
    async (deadAfterMs) => {
      await start({ zones: four, config: { deadAfterMs } });
      cluster.w(1).beats = false;
      await cluster.until("it is suspect", async () => (await cluster.stateOf(1)) === "suspect");
      const silentMs = (await cluster.state()).workers[0]?.lastHeardMs ?? 0;
      await cluster.pass(deadAfterMs - silentMs - 50);
      expect(await cluster.stateOf(1)).toBe("suspect");
      await cluster.standStill(2 * deadAfterMs);
      expect(await cluster.stateOf(1)).toBe("suspect");
      await cluster.pass(deadAfterMs);
      expect(await cluster.stateOf(1)).toBe("dead");
    },
  );
});

describe("a new leader", () => {
  test("34b. a new leader answers heartbeats of workers that have not registered with it by asking them to", async () => {
    await start();
    cluster.openOffice();
    for (const worker of cluster.workers) {
      worker.mode = "active";
      await cluster.beat(worker);
      expect(worker.mode as string | null).toBeNull();
      await cluster.beat(worker);
      expect(worker.mode as string | null).toBe("active");
    }
  });

  test("34c. a new leader waits the whole grace for a worker it has not heard: no death, no repair, no delete before", async () => {
    const { safeModeMs } = await start({ zones: [...four, "e"] });
    await cluster.file("short", [1, 2]);
    await cluster.file("crowded", [1, 2, 3, 4]);
    const chunkId = await cluster.file("gone", [1, 2, 3]);
    cluster.w(5).beats = false;
    cluster.openOffice();
    await cluster.engine.propose({ type: "DELETE_PATH", path: "gone", recursive: false, condition: {} });
    await cluster.pass(safeModeMs - 200);
    expect((await cluster.state()).steward).toBe("safeMode");
    expect(await cluster.stateOf(5)).toBe("unknown");
    expect(cluster.copyOrders()).toEqual([]);
    expect(cluster.holders("crowded")).toHaveLength(4);
    expect(cluster.w(1).holds(chunkId)).toBe(true);
    await cluster.pass(1000);
    expect(await cluster.stateOf(5)).toBe("dead");
    await cluster.until("then it repairs", () => cluster.holders("short").length === 3);
    await cluster.until("and trims", () => cluster.holders("crowded").length === 3);
    await cluster.until("and clears", () => !cluster.w(1).holds(chunkId));
  });

  test("34d. a new leader that stands still in its safe mode gives the workers the whole of it again", async () => {
    const { safeModeMs } = await start();
    cluster.w(3).beats = false;
    cluster.openOffice();
    await cluster.pass(1000);
    await cluster.standStill(3 * safeModeMs);
    await cluster.pass(safeModeMs - 500);
    expect((await cluster.state()).steward).toBe("safeMode");
    expect(await cluster.stateOf(3)).toBe("unknown");
  });
});

describe("F20. what a new leader has not heard is unknown, not good", () => {
  test("under a new leader chunks and free space, the verdict, the metrics and what may be stopped are unknown until each worker is heard or dead", async () => {
    await start({ zones: four });
    await cluster.file("f", [1, 2, 3]);
    await cluster.file("g", [1, 2, 3]);
    for (const worker of cluster.workers) worker.beats = false;
    cluster.openOffice();
    const atFirst = await cluster.state();
    expect(atFirst.redundancy).toMatchObject({ chunks: 2, full: 0, unknown: 2 });
    expect(verdictOf(asCluster(atFirst)).level).toBe("unknown");
    expect(await cluster.reasons()).toContain("CHUNKS_UNKNOWN");
    expect(await cluster.metrics()).toContain('dfs_master_chunks{copies="unknown"} 2');
    const unheard = { freeBytes: null, trashBytes: null, lastHeardMs: null, chunksUnknownIfStopped: 2 };
    expect(atFirst.workers[0]).toMatchObject({ ...unheard, chunksAtRiskIfStopped: 0 });

    for (const n of [1, 2, 4]) cluster.w(n).beats = true;
    await cluster.until("two of the three are heard", async () => (await cluster.stateOf(2)) === "live");
    const then = await cluster.state();
    expect(then.redundancy).toMatchObject({ full: 0, unknown: 2 });
    expect(stopRisk({ ...then, steward: "steady" }, "w1", 2)).toContain("not heard");
    expect(stopRisk({ ...then, steward: "steady" }, "w3", 2)).toBeNull();

    await cluster.until("the last is dead", async () => (await cluster.stateOf(3)) === "dead");
    await cluster.until("copies are made", async () => (await cluster.state()).redundancy.full === 2);
    expect((await cluster.state()).redundancy).toMatchObject({ unknown: 0, below: { "0": 0, "1": 0, "2": 0 } });
  });

  test("a worker in maintenance that stays away keeps its chunks unknown after the safe mode, too", async () => {
    await start({ zones: four });
    await cluster.file("f", [1, 2, 3]);
    await cluster.engine.propose({ type: "SET_WORKER_MODE", workerId: "w3", mode: "maintenance" });
    cluster.w(3).beats = false;
    cluster.openOffice();
    await cluster.until("the safe mode is over", async () => (await cluster.state()).steward !== "safeMode");
    const state = await cluster.state();
    expect([state.redundancy.full, state.redundancy.unknown]).toEqual([0, 1]);
    expect(verdictOf(asCluster(state)).sentence).toContain(
      "1 chunk of 1 has copies on workers that the leader has not",
    );
  });
});

describe("a worker that was declared dead and comes back", () => {
  test("35. copies of a worker that was declared dead and comes back count again at once, and the copy under way for them is cancelled", async () => {
    await start({ zones: four });
    await cluster.file("f", [1, 2, 3]);
    cluster.w(4).beforeCopy = () => new Promise(() => {});
    cluster.w(3).beats = false;
    await cluster.until("a copy is ordered", () => cluster.w(4).copyOrders.length > 0);
    expect((await cluster.state()).redundancy).toMatchObject({ full: 0, below: { "2": 1 } });
    cluster.w(3).beats = true;
    await cluster.until("it is heard", async () => (await cluster.stateOf(3)) === "live");
    const { redundancy, repairs } = await cluster.state();
    expect([redundancy.full, repairs.length]).toEqual([1, 0]);
    await cluster.pass(10_000);
    expect(cluster.holders("f")).toEqual(["w1", "w2", "w3"]);
    expect(cluster.copyOrders()).toHaveLength(1);
  });

  test("35c. copies of a worker that comes back when others have taken its place are too many, not unknown", async () => {
    await start({ zones: four });
    await cluster.file("f", [1, 2, 3]);
    cluster.w(3).beats = false;
    await cluster.until("another copy was made", () => cluster.holders("f").length === 4);
    expect(cluster.holders("f")).toEqual(["w1", "w2", "w3", "w4"]);
    cluster.w(3).beats = true;
    await cluster.until("one goes", () => cluster.holders("f").length === 3);
    expect(cluster.copyOrders()).toHaveLength(1);
  });
});

describe("a worker that comes and goes every twenty seconds", () => {
  test("36b. what a worker holds that comes and goes every twenty seconds is not copied again and again", async () => {
    await start({ zones: four });
    await cluster.file("f", [1, 2, 3]);
    let orders = 0;
    cluster.w(4).beforeCopy = () => {
      orders++;
      return new Promise(() => {});
    };
    const ordered: number[] = [];
    for (let round = 0; round < 12; round++) {
      cluster.w(3).beats = false;
      await cluster.pass(20_000);
      cluster.w(3).beats = true;
      await cluster.pass(20_000);
      ordered.push(orders);
    }
    expect(ordered.at(-1)).toBeLessThanOrEqual(5);
    expect(ordered.slice(6)).toEqual(Array(6).fill(ordered[5]));
  });

  test("36c. a worker that came and went is forgiven when it has stayed: its next real death is noticed as soon as the first was", async () => {
    const { deadAfterMs } = await start({ zones: four });
    const untilDead = async () => {
      cluster.w(3).beats = false;
      const from = cluster.clock.now();
      await cluster.until("it is dead", async () => (await cluster.stateOf(3)) === "dead");
      cluster.w(3).beats = true;
      await cluster.until("it is live", async () => (await cluster.stateOf(3)) === "live");
      return Math.round((cluster.clock.now() - from) / 1000);
    };
    const [first, second] = [await untilDead(), await untilDead()];
    expect(second).toBeGreaterThan(first + 2);
    await cluster.pass(21 * deadAfterMs);
    expect(Math.abs((await untilDead()) - first)).toBeLessThanOrEqual(1);
  });

  test("36d. repair begins at the second limit, not at the first: a suspect's copies still count", async () => {
    const { suspectAfterMs, deadAfterMs } = await start({ zones: four });
    expect(deadAfterMs).toBeGreaterThanOrEqual(2 * suspectAfterMs);
    await cluster.file("f", [1, 2, 3]);
    cluster.w(3).beats = false;
    await cluster.until("it is suspect", async () => (await cluster.stateOf(3)) === "suspect");
    await cluster.pass(deadAfterMs - suspectAfterMs - 600);
    expect([await cluster.stateOf(3), cluster.copyOrders().length]).toEqual(["suspect", 0]);
  });
});

describe("a worker that beats but has not told this leader what it holds", () => {
  test("37. a worker that has not told this leader what it holds is read from and written to, but no other copy is given up for its own", async () => {
    await start({ zones: four });
    await cluster.file("f", [1, 2, 3, 4]);
    for (const worker of cluster.workers) worker.tellsInventory = false;
    cluster.openOffice();
    await cluster.pass(10_000);
    expect((await cluster.state()).workers.map(({ state }) => state)).toEqual(["live", "live", "live", "live"]);
    expect(cluster.holders("f")).toHaveLength(4);
    for (const n of [1, 2]) await cluster.tellInventory(cluster.w(n));
    await cluster.pass(10_000);
    expect(cluster.holders("f")).toHaveLength(4);
    for (const n of [3, 4]) await cluster.tellInventory(cluster.w(n));
    await cluster.until("now one goes", () => cluster.holders("f").length === 3);
  });

  test("37b. a copy that turned up is not trashed before the workers of the others have told this leader what they hold", async () => {
    await start({ zones: four });
    const chunkId = await cluster.file("f", [1, 2, 3]);
    await cluster.w(4).copyFrom(cluster.w(1), chunkId);
    await cluster.w(2).lose(); // its disk forgot, under the same incarnation
    for (const worker of cluster.workers) worker.tellsInventory = false;
    cluster.openOffice();
    await cluster.pass(2000);
    expect((await cluster.tellInventory(cluster.w(4))).trash).toEqual([]);
    for (const n of [1, 3]) await cluster.tellInventory(cluster.w(n));
    expect((await cluster.tellInventory(cluster.w(4))).trash).toEqual([]);
    await cluster.tellInventory(cluster.w(2));
    const isThere = (n: number) => cluster.w(n).holds(chunkId);
    await cluster.until("three good copies", () => [1, 2, 3, 4].filter(isThere).length >= 3);
    await cluster.until("and three that count", () => cluster.holders("f").length === 3);
    for (const id of cluster.holders("f")) expect(isThere(Number(id.slice(1)))).toBe(true);
  });
});

test("38c. a worker that comes back with another disk has lost its copies at once: they are made anew without waiting", async () => {
  await start({ zones: four });
  await cluster.file("f", [1, 2, 3]);
  await cluster.w(3).wipe();
  await cluster.beat(cluster.w(3));
  expect(cluster.holders("f")).toEqual(["w1", "w2"]);
  await cluster.until("a third copy is made", () => cluster.holders("f").length === 3, 3000);
});

describe("so many silent at once that it is hardly their disks", () => {
  const racks = ["a", "a", "b", "b", "c", "c", "d", "d"];

  test("39. a whole rack falls silent: repairs wait, everybody is told, and reads go on", async () => {
    await start({ zones: racks });
    await cluster.file("f", [1, 3, 5]);
    for (const n of [1, 2]) cluster.w(n).beats = false;
    await cluster.pass(60_000);
    expect(cluster.copyOrders()).toEqual([]);
    const state = await cluster.state();
    expect(state.steward).toBe("paused");
    const alarm = state.reasons.find(({ code }) => code === "REPAIR_PAUSED");
    expect(alarm).toMatchObject({
      severity: "error",
      message: expect.stringContaining("all 2 workers of a are silent"),
    });
    expect(verdictOf(state as never).level).toBe("degraded");
    expect(await cluster.metrics()).toContain("dfs_master_repairs_paused 1");
    const located = await cluster.office.handlers.LOCATE(
      { type: "LOCATE", path: "f", etag: null, offset: 0, limit: 1 } as never,
      "tester",
    );
    expect(located.workers.map(({ id, state: workerState }) => [id, workerState]).sort()).toEqual([
      ["w1", "dead"],
      ["w3", "live"],
      ["w5", "live"],
    ]);
  });

  test("39b. when a silent rack is back, nothing was copied, and the alarm is over", async () => {
    await start({ zones: racks });
    await cluster.file("f", [1, 3, 5]);
    for (const n of [1, 2]) cluster.w(n).beats = false;
    await cluster.pass(30_000);
    for (const n of [1, 2]) cluster.w(n).beats = true;
    await cluster.pass(5000);
    expect((await cluster.state()).steward).toBe("steady");
    expect(await cluster.reasons()).toEqual([]);
    expect(await cluster.metrics()).toContain("dfs_master_repairs_paused 0");
    expect(cluster.copyOrders()).toEqual([]);
  });

  test("39c. repairs do not wait for a silent rack for ever; another rack that falls silent later is waited for again", async () => {
    const repair = { maxConcurrent: 8, maxPerWorker: 2, bytesPerSecond: 0, massSilenceMs: 60_000 };
    await start({ zones: racks, config: { repair } });
    await cluster.file("f", [1, 3, 5]);
    for (const n of [1, 2]) cluster.w(n).beats = false;
    await cluster.pass(50_000);
    expect(cluster.copyOrders()).toEqual([]);
    await cluster.until("a new copy", () => cluster.holders("f").length === 4);
    for (const n of [3, 4]) cluster.w(n).beats = false;
    await cluster.until("paused again", async () => (await cluster.state()).steward === "paused");
  });

  test("39d. an operator who removes the workers of a burnt rack ends the wait at once", async () => {
    await start({ zones: racks });
    await cluster.file("f", [1, 3, 5]);
    for (const n of [1, 2]) cluster.w(n).beats = false;
    await cluster.until("paused", async () => (await cluster.state()).steward === "paused");
    for (const workerId of ["w1", "w2"]) {
      await cluster.engine.propose({ type: "SET_WORKER_MODE", workerId, mode: "removed" });
      await cluster.office.workers.setMode(workerId, "removed");
    }
    await cluster.until("a new copy", () => cluster.holders("f").length === 3, 5000);
  });
});

test("39e. a whole zone, more than a fifth of ten workers or more, or more than half of six to nine: so many are silent together, fewer are not", () => {
  const heard = (zones: string[], silent: number[]) =>
    massSilence(zones.map((zone, n) => ({ id: `w${n}`, zone, isSilent: silent.includes(n) })));
  const racks = ["a", "a", "b", "b", "c", "c", "d", "d"];
  const each = Array.from({ length: 12 }, (_, n) => `z${n}`);
  expect(heard(racks, [0])).toBeNull();
  expect(heard(racks, [0, 2])).toBeNull();
  expect(heard(racks, [0, 1])).toBe("all 2 workers of a are silent");
  expect(heard([...racks, "e", "e", "e"], [0, 1])).toBeNull(); // a rack, but only two of eleven
  expect(heard(each, [0, 1])).toBeNull();
  expect(heard(each, [0, 1, 2])).toBe("3 of 12 workers are silent");
  expect(heard(each.slice(0, 5), [0, 1, 2])).toBeNull(); // so few that they may all be broken
  expect(heard(each.slice(0, 6), [0, 1, 2, 3])).toBe("4 of 6 workers are silent");
  expect(heard(["one", "one", "one"], [0, 1, 2])).toBeNull(); // nobody is left to repair with
});
