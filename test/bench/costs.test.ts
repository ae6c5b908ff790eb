/** From samples of a profiler to the page of costs. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { ACCOUNTED, staleCosts, totalsIn, withCosts } from "./costs-page.ts";
import type { Performed } from "./operations.ts";
import { costOf, type OperationCost } from "./profile/costs.ts";
import {
  type CpuProfile,
  type ProfileNode,
  sampledIn,
  secondsPerSample,
  sourceOf,
  tally,
} from "./profile/cpu-profile.ts";
import { COMPILING, NOBODYS, OTHER_THREADS, OUTSIDE, STEPS, stepOf } from "./profile/steps.ts";

const ROOT = "/home/ada/dfs";
const frame = (functionName: string, url = ""): ProfileNode["callFrame"] => ({ functionName, url });
const ours = (file: string): ProfileNode["callFrame"] => frame("f", `file://${ROOT}/${file}`);

describe("a sample", () => {
  test("lies in a file of ours, a package, a module of Bun, or a native function", () => {
    expect(sourceOf(ours("gateway/http/door.ts"), ROOT)).toBe("gateway/http/door.ts");
    expect(sourceOf(ours("node_modules/xstate/dist/x.js"), ROOT)).toBe("package xstate");
    expect(sourceOf(frame("f", "file:///else/node_modules/@a/b/c.js"), ROOT)).toBe("package @a/b");
    expect(sourceOf(frame("read", "node:fs"), ROOT)).toBe("Bun node:fs");
    expect(sourceOf(frame("fetch"), ROOT)).toBe("native fetch");
  });

  const profile: CpuProfile = {
    startTime: 0,
    endTime: 10_000,
    timeDeltas: [0, 900, 1000, 1100, 500_000, 1000],
    nodes: [
      { id: 1, callFrame: frame("(root)"), children: [2, 5] },
      { id: 2, callFrame: ours("gateway/http/door.ts"), hitCount: 2, children: [3] },
      { id: 3, callFrame: ours("node_modules/xstate/x.js"), hitCount: 3, children: [4] },
      { id: 4, callFrame: frame("fetch"), hitCount: 4 },
      { id: 5, callFrame: frame("drain"), hitCount: 1 },
    ],
  };

  test("in a package or a native function is on behalf of the file of ours that called it, if one did", () => {
    const sampled = sampledIn(profile, ROOT);
    expect([...tally(sampled, ({ source }) => source)]).toEqual([
      ["native fetch", 4],
      ["package xstate", 3],
      ["gateway/http/door.ts", 2],
      ["native drain", 1],
    ]);
    expect(Object.fromEntries(tally(sampled, ({ onBehalfOf }) => onBehalfOf ?? "nobody"))).toEqual({
      "gateway/http/door.ts": 9,
      nobody: 1,
    });
  });

  test("stands for the usual distance of two, not for a sleep between them", () => {
    expect(secondsPerSample(profile)).toBeCloseTo(0.001, 9);
    expect(secondsPerSample({ ...profile, timeDeltas: [] })).toBe(0);
  });
});

describe("steps", () => {
  test("each file of the program belongs to one, and each step has files", () => {
    const root = resolve(import.meta.dir, "../..");
    const files = [...new Bun.Glob("{actors,gateway,databases}/**/*.ts").scanSync({ cwd: root })].filter(
      (file) => !file.startsWith("databases/data/"),
    );
    const found = new Set(files.map(stepOf));
    expect(found.has(NOBODYS)).toBe(false);
    expect(STEPS.map(({ name }) => name).filter((name) => !found.has(name))).toEqual([]);
  });

  test("what no file of ours called belongs to nobody", () => {
    expect(stepOf(null)).toBe(NOBODYS);
  });
});

const sampled = (onBehalfOf: string | null, samples: number) => ({ source: "x", onBehalfOf, samples });

describe("a cost", () => {
  const door = "gateway/http/door.ts";
  const plain: Performed = {
    rate: 1,
    per: { count: 1000, unit: "ms each" },
    spent: [
      { kind: "gateway", processes: 1, seconds: 0.4, firstThreads: 0.3, compiling: 0.06 },
      { kind: "worker", processes: 5, seconds: 0.5, firstThreads: 0.5, compiling: 0 },
    ],
  };
  const cost = costOf("create-4k", plain, [
    { kind: "gateway", id: "g", javaScriptShare: 0.5, sampled: [sampled(door, 20), sampled(null, 10)] },
    { kind: "worker", id: "w1", javaScriptShare: 1, sampled: [] },
  ]);
  const of = (name: string) => cost.steps.find((step) => step.name === name)?.cost;

  test("is of one node of each kind, in microseconds of one operation, and of all nodes together", () => {
    expect(cost.total.gateway).toBeCloseTo(400, 6);
    expect(cost.total.worker).toBeCloseTo(100, 6);
    expect(cost.allNodes).toBeCloseTo(900, 6);
  });

  test("of the first thread is shared out as its samples are, as far as it was in JavaScript", () => {
    expect(of(stepOf(door))?.gateway).toBeCloseTo(100, 6);
    expect(of(NOBODYS)?.gateway).toBeCloseTo(50, 6);
    expect(of(OUTSIDE)?.gateway).toBeCloseTo(150, 6);
    expect(of(COMPILING)?.gateway).toBeCloseTo(60, 6);
    expect(of(OTHER_THREADS)?.gateway).toBeCloseTo(40, 6);
  });

  test("of a node without a sample is its event loop's", () => {
    expect(of(OUTSIDE)?.worker).toBeCloseTo(100, 6);
  });

  test("is the sum of its steps", () => {
    const sum = cost.steps.reduce((all, step) => all + (step.cost.gateway ?? 0), 0);
    expect(sum).toBeCloseTo(cost.total.gateway as number, 6);
  });
});

describe("the page of costs", () => {
  const page = readFileSync(join(import.meta.dir, "README.md"), "utf8");
  const operations = Object.keys(ACCOUNTED) as (keyof typeof ACCOUNTED)[];

  test("tells of every operation that is accounted for", () => {
    expect(operations.filter((id) => totalsIn(page, id) === null)).toEqual([]);
  });

  const cost: OperationCost = {
    id: "create-4k",
    steps: [
      { name: "door", cost: { gateway: 60.4 } },
      { name: "nothing", cost: { leader: 0.2 } },
    ],
    total: { gateway: 100.4, leader: 200, worker: 8 },
    allNodes: 348,
  };
  const written = withCosts(page, [cost], "Measured on a Tuesday.");

  test("gets new tables where the old ones were, and keeps its words", () => {
    expect(totalsIn(written, "create-4k")).toEqual({ gateway: 100, leader: 200, follower: 0, worker: 8 });
    expect(written).toContain("| door | 60 |  |  |  |");
    expect(written).not.toContain("| nothing |");
    expect(written).toContain("Measured on a Tuesday.");
    expect(totalsIn(written, "put")).toEqual(totalsIn(page, "put"));
    expect(withCosts(written, [cost], "Measured on a Tuesday.")).toBe(written);
  });

  test("is called off by a quarter or more, not by less, and not by figures from a disk", () => {
    const measured = (value: number | null, place: "disk" | "memory" = "memory") => [
      { id: "small.create.cpu.leader", place, value, label: "", unit: "ms each" },
    ];
    expect(staleCosts(written, measured(0.249))).toEqual([]);
    expect(staleCosts(written, measured(0.251))).toEqual(["create-4k, leader: 200 µs CPU on the page, 251 measured"]);
    expect(staleCosts(written, measured(0.5, "disk"))).toEqual([]);
    expect(staleCosts(written, measured(null))).toEqual([]);
  });

  test("without a place for an operation it is refused", () => {
    expect(() => withCosts("# Empty", [cost], "")).toThrow("The page of costs has no place for what");
  });
});
