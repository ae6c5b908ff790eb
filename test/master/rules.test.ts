import { describe, expect, test } from "bun:test";
import { chooseTrim, classifyReplicas, type Holder, indispensable } from "../../actors/rules/redundancy/classify.ts";
import { Layouts } from "../../actors/rules/redundancy/layouts.ts";
import {
  type Candidate,
  choose as chooseFrom,
  evensOut,
  explain,
  type PlacementWish,
  rejection,
} from "../../actors/rules/redundancy/placement.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";
import { afterFailure, isOfTheTarget, resting } from "../../actors/rules/redundancy/target-rests.ts";
import { SEED, seeded } from "../support/random.ts";

const worker = (id: string, more: Partial<Candidate> = {}): Candidate => ({
  id,
  zone: id,
  liveness: "live",
  mode: "active",
  condition: "normal",
  freeBytes: 100,
  capacityBytes: 100,
  reservedBytes: 0,
  load: 0,
  chunkCount: 0,
  ...more,
});
const wish = (more = {}) => ({
  count: 3,
  sizeBytes: 10,
  exclude: new Set<string>(),
  holders: new Set<string>(),
  ...more,
});

const choose = (workers: Candidate[], what: PlacementWish, random: () => number): string[] =>
  chooseFrom(workers, new Layouts(workers, 0), what, random);

describe("placement", () => {
  test(`copies go to different workers, and to different zones while there are enough  SEED=${SEED}`, () => {
    const random = seeded(SEED);
    const workers = ["a", "a", "b", "b", "c"].map((zone, n) => worker(`w${n}`, { zone }));
    for (let n = 0; n < 200; n++) {
      const chosen = choose(workers, wish(), random);
      expect(new Set(chosen).size).toBe(3);
      expect(new Set(chosen.map((id) => workers.find((w) => w.id === id)?.zone)).size).toBe(3);
    }
  });

  test("41. fewer zones than copies is no reason to make fewer copies", () => {
    const workers = ["w1", "w2", "w3"].map((id) => worker(id, { zone: "one" }));
    expect(choose(workers, wish(), Math.random)).toHaveLength(3);
    expect(explain(workers, wish(), 0, "test").rule).toContain("over 1 zones, fewer than copies");
  });

  test("a new copy avoids the zones of those that exist", () => {
    const workers = [worker("w1", { zone: "a" }), worker("w2", { zone: "a" }), worker("w3", { zone: "b" })];
    expect(choose(workers, wish({ count: 1, holders: new Set(["w1"]) }), Math.random)).toEqual(["w3"]);
  });

  test.each([
    [{ liveness: "dead" as const }, "dead"],
    [{ liveness: "suspect" as const }, "suspect"],
    [{ mode: "draining" as const }, "draining"],
    [{ mode: "maintenance" as const }, "maintenance"],
    [{ condition: "full" as const }, "full"],
    [{ condition: "readOnly" as const }, "readOnly"],
    [{ freeBytes: 15, reservedBytes: 6 }, "too little free space"],
  ])("%p gets nothing, and the reason is said", (more, reason) => {
    expect(rejection(worker("w1", more), wish())).toBe(reason);
    expect(explain([worker("w1", more)], wish(), 0, "test").candidates[0]?.rejected).toBe(reason);
  });

  test("a chunk is moved only where it fits, and only if that evens out", () => {
    const full = worker("full", { freeBytes: 25 });
    const small = worker("small", { freeBytes: 49, capacityBytes: 60 });
    expect(evensOut(full, worker("empty", { freeBytes: 90 }), 10)).toBe(true);
    expect(evensOut(full, small, 20)).toBe(true);
    expect(evensOut(full, small, 50)).toBe(false);
    expect(evensOut(full, small, 40)).toBe(false);
    expect(evensOut(full, { ...small, reservedBytes: 40 }, 10)).toBe(false);
    expect(evensOut(full, { ...small, condition: "full" }, 1)).toBe(false);
  });

  test("a worker not yet heard by a new leader is better than none", () => {
    expect(choose([worker("w1", { liveness: "unknown" })], wish({ count: 1 }), Math.random)).toEqual(["w1"]);
  });

  test(`emptier and idler workers get more, never all  SEED=${SEED}`, () => {
    const random = seeded(SEED);
    const workers = [worker("empty"), worker("half", { freeBytes: 50 }), worker("busy", { load: 64 })];
    const times: Record<string, number> = { empty: 0, half: 0, busy: 0 };
    for (let n = 0; n < 3000; n++)
      for (const id of choose(workers, wish({ count: 1 }), random)) times[id] = (times[id] ?? 0) + 1;
    expect(times.empty).toBeGreaterThan((times.half ?? 0) * 1.5);
    expect(times.half).toBeGreaterThan(times.busy ?? 0);
    expect(times.busy).toBeGreaterThan(0);
  });
});

describe("what a replica set needs", () => {
  const known: Record<string, Holder> = {
    live: { liveness: "live", mode: "active" },
    live2: { liveness: "live", mode: "active" },
    live3: { liveness: "live", mode: "active" },
    live4: { liveness: "live", mode: "active" },
    suspect: { liveness: "suspect", mode: "active" },
    unknown: { liveness: "unknown", mode: "active" },
    dead: { liveness: "dead", mode: "active" },
    draining: { liveness: "live", mode: "draining" },
    away: { liveness: "suspect", mode: "maintenance" },
  };
  const need = (...holders: string[]) => classifyReplicas(holders, (id) => known[id], copies(3)).need;

  test("three copies on workers that are not dead are healthy, suspicion or maintenance aside", () => {
    expect(need("live", "live2", "live3")).toBe("healthy");
    expect(need("live", "suspect", "unknown")).toBe("healthy");
    expect(need("live", "live2", "away")).toBe("healthy");
  });
  test("a dead worker's copy does not count, and no copy left is lost", () => {
    expect(need("live", "live2", "dead")).toBe("copy");
    expect(need("dead")).toBe("lost");
    expect(need("stranger")).toBe("lost");
    expect(need()).toBe("lost");
  });
  test("a draining worker's copy counts until it is replaced, then is the one to go", () => {
    expect(need("live", "live2", "draining")).toBe("copy");
    expect(need("live", "live2", "live3", "draining")).toBe("trim");
    expect(
      chooseTrim(
        ["live", "live2", "draining"].map((id) => ({ id, zone: id, mode: known[id]?.mode ?? "active", freeShare: 1 })),
      ),
    ).toBe("draining");
  });
  test("F4. a worker can be spared if enough sure copies are left, and those on a failing disk are not sure", () => {
    const all = () => true;
    expect(indispensable(["a", "b", "c"], all, 2)).toEqual([]);
    expect(indispensable(["a", "b"], all, 2)).toEqual(["a", "b"]);
    expect(indispensable(["a", "b", "c"], (id) => id !== "a", 2)).toEqual(["b", "c"]);
    expect(indispensable(["a", "b", "c", "d"], (id) => id !== "a", 2)).toEqual([]);
  });
  test("one copy too many goes from a shared zone first, then from the fullest worker", () => {
    expect(need("live", "live2", "live3", "live4")).toBe("trim");
    const holder = (id: string, zone: string, freeShare: number) => ({ id, zone, mode: "active" as const, freeShare });
    expect(chooseTrim([holder("a", "z1", 0.1), holder("b", "z2", 0.9), holder("c", "z2", 0.5)])).toBe("c");
    expect(chooseTrim([holder("a", "z1", 0.9), holder("b", "z2", 0.1)])).toBe("b");
    expect(chooseTrim([])).toBeNull();
  });
});

test("F4. a worker where copies fail rests longer after each failure, up to a minute, and begins anew after a quiet while", () => {
  let rest = afterFailure(undefined, 0);
  const lasted = [rest.until];
  for (let n = 0; n < 5; n++) {
    const at = rest.until;
    rest = afterFailure(rest, at);
    lasted.push(rest.until - at);
  }
  expect(lasted).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  expect(resting(new Map([["a", rest]]), rest.until - 1)).toEqual(["a"]);
  expect(resting(new Map([["a", rest]]), rest.until)).toEqual([]);
  expect(afterFailure(rest, rest.until + 60_001).failures).toBe(1);
  expect(["NO_SPACE", "READ_ONLY", "INTERNAL"].every(isOfTheTarget)).toBeTrue();
  expect(["SOURCE_UNAVAILABLE", "STALE_TERM", "PEER_UNREACHABLE", "CHUNK_SEALED"].some(isOfTheTarget)).toBeFalse();
});
