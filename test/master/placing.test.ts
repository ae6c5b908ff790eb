/** Where a leader puts chunks: under many askers at once, with too few zones, and when a chosen worker dies. */
import { afterEach, describe, expect, test } from "bun:test";
import { ManualCluster } from "../support/manual-cluster.ts";

let cluster: ManualCluster;
const start = async (options?: Parameters<typeof ManualCluster.start>[0]) => {
  cluster = await ManualCluster.start(options);
};
afterEach(() => cluster?.stop());

const place = (more: object = {}) =>
  cluster.office.handlers.PLACE_CHUNKS(
    {
      type: "PLACE_CHUNKS",
      gatewayId: "g1",
      count: 1,
      chunkSizeBytes: 100,
      replicationFactor: 3,
      minReplicas: 2,
      exclude: [],
      ...more,
    },
    "g1",
  );
const replace = (more: object = {}) =>
  cluster.office.handlers.REPLACE_WORKERS(
    { type: "REPLACE_WORKERS", count: 1, chunkSizeBytes: 100, exclude: [], holders: [], ...more } as never,
    "g1",
  );
const ids = (workers: { id: string }[]) => workers.map(({ id }) => id).sort();

describe("askers who all see the same free space", () => {
  test("40. askers at once are promised no more space together than there is: a promise counts until it is written", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    for (const worker of cluster.workers) worker.capacityBytes = 1000;
    await cluster.pass(1000);
    const answers = await Promise.allSettled(Array.from({ length: 40 }, () => place()));
    const promised = new Map<string, number>();
    for (const answer of answers)
      if (answer.status === "fulfilled")
        for (const id of answer.value.placements.flat()) promised.set(id, (promised.get(id) ?? 0) + 100);
      else expect(answer.reason).toMatchObject({ code: "NOT_ENOUGH_WORKERS" });
    expect([...promised.values()].every((bytes) => bytes <= 1000)).toBe(true);
    expect(Math.max(...promised.values())).toBe(1000);
    const { workers } = (answers.at(-1) as PromiseRejectedResult).reason.details as { workers: Record<string, string> };
    expect(Object.values(workers)).toContain("too little free space");
  });

  test("40b. one request for places of many chunks counts its own promises, and copies for repair count like any other", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    await cluster.file("f", [1, 2], { lengthBytes: 900 });
    cluster.w(3).capacityBytes = 1000;
    cluster.w(4).capacityBytes = 1000;
    for (const n of [3, 4]) cluster.w(n).beforeCopy = () => new Promise(() => {});
    await cluster.until("a copy is on its way", () => cluster.copyOrders().length > 0);
    const target = cluster.copyOrders()[0]?.target as string;
    // Each chunk needs a third worker, so both are filled, whatever the draw.
    const { placements } = await place({ count: 20 });
    const on = (id: string) => placements.flat().filter((worker) => worker === id).length;
    expect(on(target)).toBe(1);
    expect(on(target === "w3" ? "w4" : "w3")).toBe(10);
  });

  test("40c. a promise of space that no writer used is taken back", async () => {
    await start();
    for (const worker of cluster.workers) worker.capacityBytes = 1000;
    await cluster.pass(1000);
    expect((await place({ count: 11 })).placements).toHaveLength(10);
    expect(place()).rejects.toMatchObject({ code: "NOT_ENOUGH_WORKERS" });
    await cluster.pass(25_000);
    expect((await place()).placements[0]).toHaveLength(3);
  });
});

describe("fewer zones than copies", () => {
  test("41b. fewer zones than copies: the placement and the cluster say so, and a copy moves as soon as another zone is there", async () => {
    await start({ zones: ["a", "a", "b"] });
    const { firstChunkId, placements } = await place();
    expect(cluster.engine.queries.placementOf(firstChunkId)?.rule).toContain("over 2 zones, fewer than copies");
    expect(placements[0]).toHaveLength(3);
    await cluster.file("f", [1, 2, 3]);
    await cluster.pass(5000);
    expect(await cluster.reasons()).toContain("CHUNKS_SHARE_ZONE");
    expect(cluster.copyOrders()).toEqual([]);

    await cluster.join("c");
    await cluster.until("each copy has a zone of its own", () => {
      const holders = cluster.holders("f");
      return holders.length === 3 && holders.includes("w4") && holders.includes("w3");
    });
    await cluster.pass(20_000);
    expect(cluster.copyOrders()).toEqual([{ target: "w4", chunkId: expect.any(Number) }]);
    expect(await cluster.reasons()).toEqual([]);
    const kept = cluster.holders("f").includes("w1") ? 1 : 2;
    expect(cluster.w(kept).trashed).toEqual([]);
    expect(cluster.w(3 - kept).trashed).toHaveLength(1);
  });

  test("41c. no copy moves to a zone without room, or to one whose only worker is leaving", async () => {
    await start({ zones: ["a", "a", "b"] });
    await cluster.file("f", [1, 2, 3]);
    (await cluster.join("c")).capacityBytes = 10;
    await cluster.pass(10_000);
    expect(cluster.copyOrders()).toEqual([]);
    await cluster.engine.propose({ type: "SET_WORKER_MODE", workerId: "w4", mode: "draining" });
    await cluster.office.workers.setMode("w4", "draining");
    cluster.w(4).capacityBytes = 1_000_000;
    await cluster.pass(10_000);
    expect(cluster.copyOrders()).toEqual([]);
  });

  test("41d. a missing copy comes before a shared zone, and is made in a zone of its own at once", async () => {
    await start({ zones: ["a", "a", "b", "c"] });
    await cluster.file("f", [1, 2]);
    await cluster.until("three copies in three zones", () => {
      const holders = cluster.holders("f");
      return holders.length === 3 && holders.includes("w3") && holders.includes("w4");
    });
  });

  test("41f. a worker that registers with another zone, as its configuration says by then, counts in that one: its copies spread anew", async () => {
    await start({ zones: ["a", "b", "c", "c"] });
    await cluster.file("f", [1, 2, 3]);
    await cluster.pass(5000);
    expect(await cluster.reasons()).toEqual([]);
    const moved = cluster.w(3);
    moved.zone = "a";
    moved.mode = null; // started again
    await cluster.pass(1000);
    expect((await cluster.state()).workers.map(({ zone }) => zone)).toEqual(["a", "b", "a", "c"]);
    await cluster.until("each copy has a zone of its own", () => {
      const holders = cluster.holders("f");
      return holders.length === 3 && holders.includes("w2") && holders.includes("w4");
    });
    await cluster.pass(20_000);
    expect(cluster.copyOrders()).toEqual([{ target: "w4", chunkId: expect.any(Number) }]);
    expect(await cluster.reasons()).toEqual([]);

    for (const worker of cluster.workers) worker.beats = false;
    cluster.openOffice();
    expect((await cluster.state()).workers.map(({ zone }) => zone)).toEqual(["a", "b", "a", "c"]);
  });
});

describe("more workers than a few", () => {
  const zones = Array.from({ length: 12 }, (_, n) => `zone-${n}`);
  const nameOf = (workerIds: string[]) => [...workerIds].sort().join();

  test("chunks of one request go to the same workers a few at a time, all of them to combinations of the layouts", async () => {
    await start({ zones });
    for (const worker of cluster.workers) worker.capacityBytes = 1e12;
    await cluster.pass(1000);
    const placements: string[][] = [];
    for (let n = 0; n < 10; n++) placements.push(...(await place({ count: 400 })).placements);
    expect(placements).toHaveLength(4000);
    for (let n = 0; n < placements.length; n += 8) expect(new Set(placements.slice(n, n + 8).map(nameOf)).size).toBe(1);
    expect(new Set(placements.map(nameOf)).size).toBeLessThanOrEqual(8 * 12);
    const { firstChunkId } = await place();
    expect(cluster.engine.queries.placementOf(firstChunkId)?.rule).toContain("drawn from the layouts");
  });

  test("a run of chunks ends when one of its workers is full", async () => {
    await start({ zones });
    for (const worker of cluster.workers) worker.capacityBytes = 300;
    await cluster.pass(1000);
    const { placements } = await place({ count: 12 });
    expect(placements).toHaveLength(12);
    const times = new Map<string, number>();
    for (const id of placements.flat()) times.set(id, (times.get(id) ?? 0) + 1);
    expect(Math.max(...times.values())).toBeLessThanOrEqual(3);
  });

  test("a writer that loses a worker gets one of few others each time, so few combinations are added", async () => {
    await start({ zones });
    const { placements } = await place();
    const [lost = "", ...rest] = placements[0] ?? [];
    const given = new Set<string>();
    for (let n = 0; n < 60; n++)
      for (const id of ids((await replace({ exclude: [lost], holders: rest })).workers)) given.add(id);
    expect(given.size).toBeGreaterThan(1);
    expect(given.size).toBeLessThanOrEqual(3);
  });

  test("of a worker that died every chunk has its copies again, each on one of two workers per combination", async () => {
    await start({ zones });
    const [first] = (await place()).placements as [string[]];
    const holders = first.map((id) => Number(id.slice(1)));
    for (let n = 0; n < 6; n++) await cluster.file(`f${n}`, holders);
    await cluster.pass(2000);
    const dead = holders[0] as number;
    cluster.w(dead).beats = false;
    await cluster.until("all files have three copies elsewhere", () =>
      Array.from({ length: 6 }, (_, n) => cluster.holders(`f${n}`).filter((id) => id !== `w${dead}`)).every(
        (ids) => ids.length === 3,
      ),
    );
    expect(new Set(cluster.copyOrders().map(({ target }) => target)).size).toBeLessThanOrEqual(2);
  });
});

describe("a chosen worker that dies before the writer comes to it", () => {
  test("42. a writer whose chosen worker died gets another one, never the dead one, nor one that has the chunk", async () => {
    await start({ zones: ["a", "b", "c", "d", "e"] });
    const { placements } = await place();
    const [dead = "", ...rest] = placements[0] ?? [];
    for (let n = 0; n < 20; n++) {
      const { workers } = await replace({ exclude: [dead], holders: rest });
      expect(workers).toHaveLength(1);
      expect([dead, ...rest]).not.toContain(workers[0]?.id);
    }
  });

  test("42b. no new chunk is placed on a worker that the leader has missed", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    cluster.w(1).beats = false;
    await cluster.until("it is suspect", async () => (await cluster.stateOf(1)) === "suspect");
    for (let n = 0; n < 20; n++) {
      expect((await place()).placements.flat()).not.toContain("w1");
      expect(ids((await replace({ count: 4 })).workers)).toEqual(["w2", "w3", "w4"]);
    }
  });
});
