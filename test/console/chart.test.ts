import { expect, test } from "bun:test";
import { createActor, setup } from "xstate";
import type { StepRecord } from "../../actors/messages/records.ts";
import { chartOf, valueText } from "../../actors/node/record/chart.ts";
import { Recorder } from "../../actors/node/record/recorder.ts";
import { drawnMachines, layoutOf } from "../../gateway/console/layouts.ts";
import { layOut, MACHINES } from "./draw-machines.ts";

const machine = setup({
  types: { context: {} as { full: boolean }, events: {} as { type: "GO" } | { type: "TICK" } | { type: "END" } },
  guards: { isFull: ({ context }) => context.full },
  actions: { ring: () => {}, note: () => {} },
  delays: { patienceMs: 50 },
}).createMachine({
  id: "sample",
  context: { full: true },
  initial: "waiting",
  on: { END: ".over" },
  states: {
    waiting: {
      description: "Until somebody says go.",
      on: { GO: { target: "working", actions: "note" }, TICK: { actions: "note" } },
      after: { patienceMs: { target: "over", actions: "ring" } },
    },
    working: {
      description: "Two things at once.",
      type: "parallel",
      entry: "ring",
      states: {
        left: {
          description: "One.",
          initial: "a",
          states: {
            a: { description: "A.", always: [{ guard: "isFull", target: "b" }] },
            b: { id: "elsewhere", description: "B." },
          },
        },
        right: {
          description: "Other.",
          initial: "c",
          states: { c: { description: "C.", on: { TICK: "#elsewhere" } } },
        },
      },
    },
    over: { description: "Done.", type: "final" },
  },
});

test("a chart has every state with its kind, description, first child and actions", () => {
  const { states } = chartOf(machine);
  expect(states.map(({ id, type }) => `${id} ${type}`)).toEqual([
    "sample compound",
    "sample.waiting atomic",
    "sample.working parallel",
    "sample.working.left compound",
    "sample.working.left.a atomic",
    "sample.working.left.b atomic",
    "sample.working.right compound",
    "sample.working.right.c atomic",
    "sample.over final",
  ]);
  expect(states.find(({ id }) => id === "sample.working")).toMatchObject({
    description: "Two things at once.",
    entry: ["ring"],
    initial: null,
    parent: "sample",
  });
  expect(states.find(({ id }) => id === "sample.working.left")?.initial).toBe("sample.working.left.a");
});

test("a chart has every edge: events, delays by name, always with its guard, those without a target, ids of any kind", () => {
  const edges = chartOf(machine).edges.map(({ id, kind, event, guard, delay, targets, actions }) => [
    ...[id, kind, event, guard, delay, targets.join(), actions.join()],
  ]);
  expect(edges).toEqual([
    ["sample:0", "event", "END", null, null, "sample.over", ""],
    ["sample.waiting:0", "event", "GO", null, null, "sample.working", "note"],
    ["sample.waiting:1", "event", "TICK", null, null, "", "note"],
    ["sample.waiting:2", "after", "after patienceMs", null, "patienceMs", "sample.over", "ring"],
    ["sample.working.left.a:0", "always", "", "isFull", null, "sample.working.left.b", ""],
    ["sample.working.right.c:0", "event", "TICK", null, null, "sample.working.left.b", ""],
  ]);
});

test("what a running machine records names the edges of its chart, also when its actions were provided anew", async () => {
  const records: StepRecord[] = [];
  const store = {
    ...{ boot: 1, previous: null, close: () => {} },
    append: (batch: readonly StepRecord[]) => void records.push(...batch),
    after: () => ({ records: [], oldest: { boot: 0, seq: 0 }, lost: 0 }),
  };
  const recorder = new Recorder({ nodeId: "node-1", store });
  const actor = createActor(machine.provide({ actions: { ring: () => {} } }), {
    id: "sample:x",
    inspect: recorder.inspect,
  }).start();
  actor.send({ type: "GO" });
  actor.send({ type: "END" });
  recorder.close();
  const steps = records.filter(({ m }) => m === "sample");
  expect(steps.map(({ e, x, v }) => [e, x, v])).toEqual([
    ["init", undefined, "waiting"],
    ["GO", ["sample.waiting:0", "sample.working.left.a:0"], "working.left.b|working.right.c"],
    ["END", ["sample:0"], "over"],
  ]);
  expect(steps.at(-1)?.z).toBe(1);
  const known = new Set(chartOf(machine).edges.map(({ id }) => id));
  expect(steps.flatMap(({ x = [] }) => x).filter((id) => !known.has(id))).toEqual([]);
});

test("a change of a machine changes its hash, the same machine keeps it", () => {
  const { hash } = chartOf(machine);
  expect(chartOf(machine.provide({ actions: { ring: () => {} } })).hash).toBe(hash);
  const other = setup({}).createMachine({ id: "sample", initial: "a", states: { a: { description: "Else." } } });
  expect(chartOf(other).hash).not.toBe(hash);
});

test("values of nested and parallel states are told in one line", () => {
  expect(valueText({ heard: { live: "listening" }, duty: "active" })).toBe("heard.live.listening|duty.active");
});

test("no guard, action or delay of ours is without a name", () => {
  const unnamed = MACHINES.flatMap((one) => {
    const { states, edges, machine: id } = chartOf(one);
    const names = [
      ...states.flatMap(({ entry, exit, invoke }) => [...entry, ...exit, ...invoke]),
      ...edges.flatMap(({ guard, delay, actions }) => [
        ...actions,
        ...(guard ? [guard] : []),
        ...(delay ? [delay] : []),
      ]),
    ];
    return names.filter((name) => name === "(unnamed)" || /^\d+$/.test(name)).map((name) => `${id}: ${name}`);
  });
  expect(unnamed).toEqual([]);
});

test("the drawings are those of the machines: `bun run machines` makes them anew", async () => {
  const stale = MACHINES.map(chartOf).filter(({ machine: id, hash }) => drawnMachines().get(id)?.chart.hash !== hash);
  expect(stale.map(({ machine: id }) => id)).toEqual([]);
  const steward = chartOf(MACHINES.find(({ id }) => id === "steward") as (typeof MACHINES)[number]);
  expect(layoutOf(steward)).toEqual(await layOut(steward));
});

test("every state and every edge with a target has its place in the drawing", () => {
  for (const { chart, layout } of drawnMachines().values()) {
    const states = chart.states.slice(1).filter(({ id }) => !layout.states[id]);
    const edges = chart.edges.filter(
      ({ id, targets }) => targets.length > 0 && (layout.edges[id]?.points.length ?? 0) < 2,
    );
    expect([chart.machine, states.map(({ id }) => id), edges.map(({ id }) => id)]).toEqual([chart.machine, [], []]);
  }
});

test("a machine that nobody drew yet is told without a drawing", () => {
  expect(layoutOf(chartOf(machine))).toBeNull();
});
