/** Which combinations of workers chunks come to lie on: how many, how evenly, and what joins, deaths and repairs add. */
import { describe, expect, test } from "bun:test";
import { KeptVerdicts } from "../../actors/rules/redundancy/kept-verdicts.ts";
import { Layouts } from "../../actors/rules/redundancy/layouts.ts";
import { choose } from "../../actors/rules/redundancy/placement.ts";
import { type PlannedCopy, planRepairs, type RepairWorker } from "../../actors/rules/redundancy/repair-plan.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";
import { pick, SEED, seeded } from "../support/random.ts";

const TIB = 2 ** 40;
const LENGTH = 2 ** 27;

const worker = (n: number, zone: string, more: Partial<RepairWorker> = {}): RepairWorker => ({
  ...{ id: `worker-${n}`, zone, liveness: "live", mode: "active", condition: "normal", state: "live", isSure: true },
  ...{ freeBytes: TIB, capacityBytes: TIB, reservedBytes: 0, load: 0, chunkCount: 0 },
  ...more,
});
const cluster = (count: number, zones: number): RepairWorker[] =>
  Array.from({ length: count }, (_, n) => worker(n + 1, `zone-${n % zones}`));

const nothing = new Set<string>();
const wish = { count: 3, sizeBytes: LENGTH, exclude: nothing, holders: nothing };
const nameOf = (ids: readonly string[]): string => [...ids].sort().join();

/** Chunks by their workers: what a leader's decisions make of the cluster. */
class Chunks {
  readonly sets = new Map<string, Set<number>>();
  readonly #at = new Map<number, string>();
  readonly #random: () => number;
  workers: RepairWorker[];
  layouts: Layouts;
  #next = 1;

  constructor(workers: RepairWorker[], random: () => number) {
    this.workers = workers;
    this.layouts = new Layouts(workers, 0);
    this.#random = random;
  }

  place(count: number, more: Partial<typeof wish> = {}): string[][] {
    return Array.from({ length: count }, () => {
      const chosen = choose(this.workers, this.layouts, { ...wish, ...more }, this.#random);
      this.put(chosen);
      return chosen;
    });
  }

  put(workerIds: readonly string[]): void {
    this.#move(this.#next++, workerIds);
  }

  #move(chunkId: number, workerIds: readonly string[]): void {
    const before = this.#at.get(chunkId);
    if (before !== undefined) {
      this.sets.get(before)?.delete(chunkId);
      if (this.sets.get(before)?.size === 0) this.sets.delete(before);
    }
    const name = nameOf(workerIds);
    this.#at.set(chunkId, name);
    this.sets.set(name, (this.sets.get(name) ?? new Set()).add(chunkId));
  }

  change(workers: RepairWorker[]): void {
    this.workers = workers;
    this.layouts = new Layouts(workers, 0);
  }

  /** Carries out plan after plan until nothing is amiss. @returns all copies that were made */
  repair(): PlannedCopy[] {
    const made: PlannedCopy[] = [];
    for (let round = 0; round < 1000; round++) {
      const steps = this.#plan();
      if (steps.length === 0) return made;
      for (const step of steps) {
        const chunkId = step.do === "copy" ? step.chunk.chunkId : step.chunkId;
        const holders = (this.#at.get(chunkId) as string).split(",").filter((id) => this.#isAlive(id));
        if (step.do === "drop")
          this.#move(
            chunkId,
            holders.filter((id) => id !== step.workerId),
          );
        else {
          this.#move(chunkId, [...holders, step.targetId]);
          made.push(step);
        }
      }
    }
    throw new Error("The repairs came to no end");
  }

  readonly #isAlive = (id: string): boolean => this.workers.some((one) => one.id === id && one.liveness !== "dead");

  #plan() {
    const judged = new KeptVerdicts(2);
    for (const one of this.workers)
      judged.workerChanged(one.id, { ...one, liveness: one.liveness === "suspect" ? "live" : one.liveness });
    const rows = [...this.sets].map(([name, ids], n) => ({
      set: { id: n, scheme: copies(3), workers: name.split(","), chunkCount: ids.size },
      chunkIds: [...ids].sort((a, b) => a - b),
    }));
    judged.reset(rows.map(({ set }) => set));
    return planRepairs({
      judged,
      workers: this.workers,
      layouts: this.layouts,
      chunksOf: (setId, afterId, limit) =>
        (rows[setId]?.chunkIds ?? [])
          .filter((id) => id > afterId)
          .slice(0, limit)
          .map((chunkId) => ({ chunkId, lengthBytes: LENGTH, crc32: 0 })),
      ...{ isTaken: () => false, underWay: [], resting: nothing, askFirst: () => null },
      ...{ limits: { maxConcurrent: 64, maxPerWorker: 4 }, random: this.#random },
    }).steps;
  }
}

describe("combinations in use", () => {
  test.each([
    [20, 20],
    [20, 4],
    [50, 5],
    [100, 10],
  ])(`%p workers in %p zones use some eight per worker, and get alike  SEED=${SEED}`, (count, zones) => {
    const chunks = new Chunks(cluster(count, zones), seeded(SEED));
    const placed = chunks.place(20_000);
    expect(chunks.sets.size).toBeLessThanOrEqual(8 * count);
    const zoneOf = new Map(chunks.workers.map(({ id, zone }) => [id, zone]));
    expect(placed.every((ids) => new Set(ids.map((id) => zoneOf.get(id))).size === 3)).toBe(true);
    const times = new Map<string, number>();
    for (const id of placed.flat()) times.set(id, (times.get(id) ?? 0) + 1);
    const even = (3 * 20_000) / count;
    for (const { id } of chunks.workers) {
      expect(times.get(id)).toBeGreaterThan(0.75 * even);
      expect(times.get(id)).toBeLessThan(1.25 * even);
    }
  });

  test(`of up to ten workers any three may share a chunk  SEED=${SEED}`, () => {
    const chunks = new Chunks(cluster(10, 10), seeded(SEED));
    chunks.place(5000);
    expect(chunks.sets.size).toBe(120);
  });

  test(`every leader draws from the same layouts, in whatever order it came to know the workers  SEED=${SEED}`, () => {
    const workers = cluster(30, 6);
    const drawn = (layouts: Layouts) => {
      const random = seeded(SEED);
      return Array.from({ length: 200 }, () => choose(workers, layouts, wish, random));
    };
    expect(drawn(new Layouts([...workers].reverse(), 0))).toEqual(drawn(new Layouts(workers, 0)));
    expect(drawn(new Layouts(workers, 1))).not.toEqual(drawn(new Layouts(workers, 0)));
  });

  test(`a worker that joins brings its own combinations along, and the others stay  SEED=${SEED}`, () => {
    const chunks = new Chunks(cluster(30, 6), seeded(SEED));
    chunks.place(20_000);
    const before = new Set(chunks.sets.keys());
    chunks.change([...chunks.workers, worker(31, "zone-0")]);
    chunks.place(20_000);
    const added = [...chunks.sets.keys()].filter((name) => !before.has(name));
    expect(added.length).toBeLessThanOrEqual(8 * 6);
    expect(added.filter((name) => name.split(",").includes("worker-31")).length).toBeGreaterThan(16);
  });
});

describe("unequal workers", () => {
  const timesOf = (placed: string[][], id: string): number => placed.flat().filter((one) => one === id).length;

  test(`the emptier worker is drawn oftener, the loaded one more seldom, neither always nor never  SEED=${SEED}`, () => {
    const workers = cluster(20, 20);
    Object.assign(workers[0] as RepairWorker, { freeBytes: TIB / 4 });
    Object.assign(workers[1] as RepairWorker, { load: 48 });
    const placed = new Chunks(workers, seeded(SEED)).place(10_000);
    const even = 1500;
    for (const id of ["worker-1", "worker-2"]) {
      expect(timesOf(placed, id)).toBeLessThan(0.6 * even);
      expect(timesOf(placed, id)).toBeGreaterThan(0.05 * even);
    }
  });

  test(`a joined worker has its share at once, of small chunks more  SEED=${SEED}`, () => {
    const workers = cluster(21, 7).map((one) => ({ ...one, freeBytes: TIB / 2, chunkCount: 50_000 }));
    Object.assign(workers[20] as RepairWorker, { freeBytes: TIB, chunkCount: 0 });
    const even = (3 * 2000) / 21;
    expect(timesOf(new Chunks(workers, seeded(SEED)).place(2000), "worker-21")).toBeGreaterThan(1.2 * even);
    const small = new Chunks(workers, seeded(SEED)).place(2000, { sizeBytes: 4096 });
    expect(timesOf(small, "worker-21")).toBeGreaterThan(2 * even);
    expect(timesOf(small, "worker-21")).toBeLessThan(2000);
  });

  test(`who is full, silent, leaving or excluded is passed over, and the count of copies and zones stays  SEED=${SEED}`, () => {
    const workers = cluster(24, 6);
    Object.assign(workers[0] as RepairWorker, { liveness: "suspect" });
    Object.assign(workers[1] as RepairWorker, { mode: "draining" });
    Object.assign(workers[2] as RepairWorker, { freeBytes: 0 });
    Object.assign(workers[3] as RepairWorker, { condition: "full" });
    const zoneOf = new Map(workers.map(({ id, zone }) => [id, zone]));
    const placed = new Chunks(workers, seeded(SEED)).place(2000, { exclude: new Set(["worker-5"]) });
    for (const n of [1, 2, 3, 4, 5]) expect(timesOf(placed, `worker-${n}`)).toBe(0);
    expect(placed.every((ids) => new Set(ids.map((id) => zoneOf.get(id))).size === 3)).toBe(true);
  });

  test(`one worker in each of two zones and all others in a third: a copy in each zone  SEED=${SEED}`, () => {
    const workers = [...cluster(15, 1), worker(16, "zone-b"), worker(17, "zone-c")];
    const placed = new Chunks(workers, seeded(SEED)).place(1000);
    expect(placed.every((ids) => ids.includes("worker-16") && ids.includes("worker-17"))).toBe(true);
    for (let n = 1; n <= 15; n++) expect(timesOf(placed, `worker-${n}`)).toBeGreaterThan(20);
  });

  test(`two zones for three copies: both are used, and three different workers  SEED=${SEED}`, () => {
    const placed = new Chunks(cluster(20, 2), seeded(SEED)).place(1000);
    expect(placed.every((ids) => new Set(ids).size === 3)).toBe(true);
    expect(placed.every((ids) => new Set(ids.map((id) => Number(id.slice(7)) % 2)).size === 2)).toBe(true);
  });

  test(`more copies than a layout has workers left are found elsewhere  SEED=${SEED}`, () => {
    const workers = cluster(40, 40);
    for (const one of workers.slice(0, 36)) one.liveness = "dead";
    const placed = new Chunks(workers, seeded(SEED)).place(100);
    expect(placed.every((ids) => ids.length === 3)).toBe(true);
  });
});

describe("after deaths and repairs", () => {
  test.each(["returns", "is replaced"])(
    `each worker dies once and %s: the combinations stay bounded  SEED=${SEED}`,
    (then) => {
      const random = seeded(SEED);
      const chunks = new Chunks(cluster(20, 5), random);
      chunks.place(1500);
      for (let n = 0; n < 20; n++) {
        const dead = chunks.workers[n] as RepairWorker;
        Object.assign(dead, { liveness: "dead", state: "dead" });
        chunks.repair();
        chunks.place(50);
        if (then === "returns") Object.assign(dead, { liveness: "live", state: "live" });
        else chunks.change(chunks.workers.map((one) => (one === dead ? worker(100 + n, dead.zone) : one)));
        chunks.place(50);
      }
      expect(chunks.sets.size).toBeLessThanOrEqual(16 * 20);
      const inUse = [...chunks.sets.keys()].map((name) => name.split(","));
      const zoneOf = new Map(chunks.workers.map(({ id, zone }) => [id, zone]));
      expect(inUse.every((ids) => new Set(ids.map((id) => zoneOf.get(id))).size === 3)).toBe(true);
    },
    60_000,
  );

  test(`a dead worker's chunks are copied by many to many  SEED=${SEED}`, () => {
    const chunks = new Chunks(cluster(50, 10), seeded(SEED));
    chunks.place(3000);
    const dead = pick(seeded(SEED), chunks.workers);
    Object.assign(dead, { liveness: "dead", state: "dead" });
    const made = chunks.repair();
    expect(new Set(made.map(({ sourceIds }) => sourceIds[0])).size).toBeGreaterThan(12);
    expect(new Set(made.map(({ targetId }) => targetId)).size).toBeGreaterThan(12);
  });

  test(`combinations of no layout, from before there were any: the copies of each one go to few workers  SEED=${SEED}`, () => {
    const random = seeded(SEED);
    const chunks = new Chunks(cluster(20, 20), random);
    const ids = chunks.workers.map(({ id }) => id);
    for (let n = 0; n < 100; n++) {
      const others = [pick(random, ids.slice(1, 10)), pick(random, ids.slice(10))];
      for (let copy = 0; copy < 8; copy++) chunks.put(["worker-1", ...others]);
    }
    const before = chunks.sets.size;
    Object.assign(chunks.workers[0] as RepairWorker, { liveness: "dead", state: "dead" });
    expect(chunks.repair()).toHaveLength(800);
    expect(chunks.sets.size).toBeLessThanOrEqual(2 * before);
  });
});
