/** What a round of repair plans, from plain data: the order of need, where copies go, and why something waits. */
import { describe, expect, test } from "bun:test";
import { KeptVerdicts } from "../../actors/rules/redundancy/kept-verdicts.ts";
import { Layouts } from "../../actors/rules/redundancy/layouts.ts";
import {
  type PlannedCopy,
  type PlannedDrop,
  planRepairs,
  type RepairView,
  type RepairWorker,
} from "../../actors/rules/redundancy/repair-plan.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";

const GIB = 2 ** 30;

const worker = (id: string, of: Partial<RepairWorker> = {}): RepairWorker => ({
  ...{ id, zone: `zone-${id}`, liveness: "live", mode: "active", condition: "normal", state: "live", isSure: true },
  ...{ freeBytes: 50 * GIB, capacityBytes: 100 * GIB, reservedBytes: 0, load: 0, chunkCount: 0 },
  ...of,
});

const dead = (id: string, zone = `zone-${id}`): RepairWorker => worker(id, { liveness: "dead", state: "dead", zone });

/** A cluster of these workers and sets; each set has `chunks` chunks of 1 GiB, with ids `100 × set id` and on. */
function view(
  workers: RepairWorker[],
  sets: { holders: string[]; chunks?: number; wanted?: number }[],
  of: Partial<RepairView> = {},
): RepairView {
  const rows = sets.map(({ holders, chunks = 1, wanted = 3 }, n) => ({
    ...{ id: n + 1, scheme: copies(wanted), workers: holders, chunkCount: chunks },
  }));
  const judged = new KeptVerdicts(2);
  for (const one of workers)
    judged.workerChanged(one.id, { ...one, liveness: one.liveness === "suspect" ? "live" : one.liveness });
  judged.reset(rows);
  return {
    judged,
    workers,
    layouts: new Layouts(workers, 0),
    chunksOf: (setId, afterId, limit) =>
      Array.from({ length: rows[setId - 1]?.chunkCount ?? 0 }, (_, n) => ({
        ...{ chunkId: 100 * setId + n, lengthBytes: GIB, crc32: 7 },
      }))
        .filter(({ chunkId }) => chunkId > afterId)
        .slice(0, limit),
    isTaken: () => false,
    underWay: [],
    resting: new Set(),
    askFirst: () => null,
    limits: { maxConcurrent: 4, maxPerWorker: 2 },
    random: () => 0.5,
    ...of,
  };
}

const copiesOf = (of: RepairView): PlannedCopy[] => planRepairs(of).steps.filter((step) => step.do === "copy");
const dropsOf = (of: RepairView): PlannedDrop[] => planRepairs(of).steps.filter((step) => step.do === "drop");

describe("copies that are missing", () => {
  test("missing copies go to a worker that holds none, from one that does, and say why in words", () => {
    const plan = copiesOf(
      view(["a", "b", "d"].map((id) => worker(id)).concat(dead("c")), [{ holders: ["a", "b", "c"] }]),
    );
    expect(plan).toEqual([
      {
        ...{ do: "copy", purpose: "redundancy", chunk: { chunkId: 100, lengthBytes: GIB, crc32: 7 } },
        ...{ sourceIds: ["a", "b"], targetId: "d", goodCopies: 2, reason: "2 of 3 copies: c is dead" },
      },
    ]);
  });

  test("chunks with the fewest good copies come first", () => {
    const workers = ["a", "b", "e", "f"].map((id) => worker(id)).concat(dead("c"), dead("d"));
    const sets = [{ holders: ["a", "b", "c"] }, { holders: ["a", "c", "d"] }];
    expect(copiesOf(view(workers, sets)).map(({ chunk, goodCopies }) => [chunk.chunkId, goodCopies])).toEqual([
      [200, 1],
      [100, 2],
    ]);
  });

  test("no more are begun than are allowed in all and at each worker, and the rest says what it waits for", () => {
    const workers = ["a", "b", "d", "e"].map((id) => worker(id)).concat(dead("c"));
    const many = view(workers, [{ holders: ["a", "b", "c"], chunks: 10 }]);
    expect(copiesOf(many)).toHaveLength(4);
    expect(planRepairs(many).waiting.get(1)).toBe("4 copies are under way, as many as are allowed");
    const narrow = view(workers, [{ holders: ["a", "b", "c"], chunks: 10 }], {
      limits: { maxConcurrent: 100, maxPerWorker: 1 },
    });
    const ways = copiesOf(narrow).map(({ sourceIds, targetId }) => `${sourceIds[0]} to ${targetId}`);
    expect(ways).toHaveLength(2);
    expect(new Set(ways.flatMap((way) => way.split(" to "))).size).toBe(4);
    expect(planRepairs(narrow).waiting.get(1)).toBe("every worker that has it gives as many copies as it may");
  });

  test("a chunk that is being copied, or rests after a failure, is passed over", () => {
    const workers = ["a", "b", "d"].map((id) => worker(id)).concat(dead("c"));
    const of = view(workers, [{ holders: ["a", "b", "c"], chunks: 3 }], { isTaken: (id) => id === 100 });
    expect(copiesOf(of).map(({ chunk }) => chunk.chunkId)).toEqual([101, 102]);
  });

  test("a target that did not answer the last order is asked again before another one makes one more", () => {
    const workers = ["a", "b", "d", "e", "f"].map((id) => worker(id)).concat(dead("c"));
    const of = view(workers, [{ holders: ["a", "b", "c"] }], { askFirst: () => "f" });
    expect(copiesOf(of).map(({ targetId }) => targetId)).toEqual(["f"]);
  });

  test("a copy keeps away from the zones of the others, also of one that takes as many copies as it may", () => {
    const workers = [worker("a", { zone: "one" }), worker("b"), worker("d", { zone: "one" }), worker("e"), dead("c")];
    for (const chance of [0.1, 0.5, 0.9]) {
      let turn = 0;
      const of = view(workers, [{ holders: ["a", "b", "c"] }], {
        underWay: Array(2).fill({ sourceId: "e", targetId: "a" }),
        random: () => (turn++ % 2 === 0 ? chance : 1 - chance),
      });
      expect(copiesOf(of).map(({ targetId }) => targetId)).toEqual(["e"]);
    }
  });

  test("a worker at which copies failed a moment ago gets none", () => {
    const workers = ["a", "b", "d"].map((id) => worker(id)).concat(dead("c"));
    const of = view(workers, [{ holders: ["a", "b", "c"] }], { resting: new Set(["d"]) });
    expect(planRepairs(of)).toEqual({
      ...{ steps: [], waiting: new Map([[1, "no worker can take a copy now"]]), othersWait: null },
    });
  });

  test("two chunks of one round do not count on the same free space", () => {
    const workers = ["a", "b"].map((id) => worker(id)).concat(dead("c"), worker("d", { freeBytes: 1.5 * GIB }));
    expect(copiesOf(view(workers, [{ holders: ["a", "b", "c"], chunks: 2 }]))).toHaveLength(1);
  });
});

describe("copies that are more than wanted", () => {
  const four = ["a", "b", "c", "d"].map((id) => worker(id));

  test("of copies that are more than wanted one goes, and proven copies stay", () => {
    expect(dropsOf(view(four, [{ holders: ["a", "b", "c", "d"] }]))).toEqual([
      { do: "drop", chunkId: 100, workerId: "a", keep: ["b", "c", "d"] },
    ]);
  });

  test("no copy goes while too few of the others are proven", () => {
    const unsure = four.map((one) => (one.id === "b" ? { ...one, isSure: false } : one));
    expect(dropsOf(view(unsure, [{ holders: ["a", "b", "c", "d"] }]))).toEqual([]);
  });

  test("a bounded number goes in one round", () => {
    expect(dropsOf(view(four, [{ holders: ["a", "b", "c", "d"], chunks: 90 }]))).toHaveLength(32);
  });
});

describe("copies that lie unwell", () => {
  test("one of two copies in a zone gets another in a zone with room", () => {
    const workers = [
      worker("a", { zone: "x" }),
      worker("b", { zone: "x" }),
      worker("c", { zone: "y" }),
      worker("d", { zone: "z" }),
    ];
    const [spread] = copiesOf(view(workers, [{ holders: ["a", "b", "c"] }]));
    expect(spread).toMatchObject({ purpose: "spread", targetId: "d" });
  });

  test("41e. none moves between zones where no two copies share one, or where no other zone has room", () => {
    const workers = [
      worker("a", { zone: "x" }),
      worker("b", { zone: "x" }),
      worker("c", { zone: "y" }),
      worker("d", { zone: "z", condition: "full" }),
      worker("e", { zone: "w" }),
    ];
    expect(copiesOf(view(workers, [{ holders: ["a", "c", "e"] }]))).toEqual([]);
    expect(copiesOf(view(workers.slice(0, 4), [{ holders: ["a", "b", "c"] }]))).toEqual([]);
  });

  for (const [claim, difference, moved] of [
    ["less than a tenth apart, workers are even", 0.09, 0],
    ["from a tenth on, one chunk moves from the fullest to the emptiest", 0.11, 1],
  ] as const)
    test(claim, () => {
      const fill = (id: string, used: number) => worker(id, { freeBytes: (1 - used) * 100 * GIB });
      const workers = [fill("a", 0.5 + difference), fill("b", 0.55), fill("c", 0.55), fill("d", 0.5)];
      const plan = copiesOf(view(workers, [{ holders: ["a", "b", "c"] }]));
      expect(plan.map(({ purpose, targetId }) => [purpose, targetId])).toEqual(Array(moved).fill(["evenness", "d"]));
    });

  test("nothing moves for evenness while a copy is missing", () => {
    const workers = [
      worker("a", { freeBytes: GIB }),
      worker("b"),
      dead("c"),
      worker("d", { freeBytes: 99 * GIB }),
      worker("e"),
    ];
    const plan = copiesOf(view(workers, [{ holders: ["a", "b", "c"] }]));
    expect(plan.map(({ purpose }) => purpose)).toEqual(["redundancy"]);
  });
});

test("the same view and the same chance give the same plan, and planning changes nothing in the view", () => {
  const workers = ["a", "b", "d", "e"].map((id) => worker(id)).concat(dead("c"));
  const of = view(workers, [{ holders: ["a", "b", "c"], chunks: 10 }]);
  const before = structuredClone(workers);
  expect(planRepairs(of)).toEqual(planRepairs(of));
  expect(workers).toEqual(before);
});
