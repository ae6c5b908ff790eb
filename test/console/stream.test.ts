import { expect, test } from "bun:test";
import { gzipSync } from "bun";
import { createMachine } from "xstate";
import { chartOf } from "../../actors/node/record/chart.ts";
import { HybridClock } from "../../actors/node/record/hybrid-clock.ts";
import { recordId } from "../../actors/rules/record-id.ts";
import { FollowedRecords } from "../../databases/records.ts";
import type { Recording } from "../../gateway/console/api.ts";
import { toMachineConfig, toMermaid } from "../../gateway/console/chart-export.ts";
import { Merger } from "../../gateway/console/merge.ts";
import { beginOf, endOf } from "../../gateway/console/order.ts";
import { formatRecording, openRecording } from "../../gateway/console/recording.ts";
import { MACHINES } from "./draw-machines.ts";
import { BEGIN, story } from "./story.ts";

const step = (v: string) => ({ m: "worker", e: "GO", f: "x", v });

test("records of nodes whose clocks differ come out in causal order", () => {
  const ahead = new HybridClock(() => BEGIN + 60_000);
  const behind = new HybridClock(() => BEGIN);
  const tell = story();
  const cause = { ...tell("worker-1", 60_000, step("a")), h: ahead.tick() };
  behind.observe(cause.h);
  const effect = { ...tell("master-1", 0, step("b")), h: behind.tick(), w: recordId(cause) };
  const merger = new Merger();
  merger.push("worker-1", [], beginOf(BEGIN), 0);
  merger.push("master-1", [effect], behind.peek(), 0);
  expect(merger.take(10)).toEqual([]); // worker-1 may still tell something older
  merger.push("worker-1", [cause], endOf(BEGIN + 60_000), 20);
  expect(merger.take(20).map(({ record, late }) => [record.n, late])).toEqual([
    ["worker-1", false],
    ["master-1", false],
  ]);
});

test("a node that promises nothing holds the stream up no longer than the patience; what comes later is marked late", () => {
  const tell = story();
  const merger = new Merger();
  const early = tell("worker-1", 100, step("a"));
  merger.push("worker-1", [], beginOf(BEGIN), 0);
  merger.push("master-1", [tell("master-1", 200, step("b"))], endOf(BEGIN + 300), 0);
  expect(merger.take(249)).toEqual([]);
  expect(merger.take(250).map(({ record, late }) => [record.n, late])).toEqual([["master-1", false]]);
  merger.push("worker-1", [early], endOf(BEGIN + 300), 400);
  expect(merger.take(400).map(({ record, late }) => [record.n, late])).toEqual([["worker-1", true]]);
});

test("nobody waits for a node that does not answer", () => {
  const tell = story();
  const merger = new Merger();
  merger.push("worker-1", [], beginOf(BEGIN), 0);
  merger.push("master-1", [tell("master-1", 200, step("b"))], endOf(BEGIN + 300), 0);
  merger.forget("worker-1");
  expect(merger.take(1)).toHaveLength(1);
});

test("the gateway's store knows each record once, finds it, its effects, and the state at an instant", () => {
  const tell = story();
  const store = new FollowedRecords(":memory:", { keepRecords: 1000 });
  const a = tell("worker-1", 100, { ...step("a"), a: "worker" });
  const b = tell("worker-1", 200, { ...step("b"), a: "worker", w: recordId(a) });
  expect(store.append([a, b]).map(({ id }) => id)).toEqual([1, 2]);
  expect(store.append([a, b])).toEqual([]);
  expect(store.find("worker-1", 1, 1)?.v).toBe("a");
  expect(store.causedBy(recordId(a), 10).map(({ v }) => v)).toEqual(["b"]);
  expect(store.before("worker-1", "worker", b.h)?.v).toBe("a");
  const at = (ms: number) => store.statesAt(endOf(BEGIN + ms), beginOf(BEGIN), 100).map(({ v }) => v);
  expect([at(50), at(150), at(250)]).toEqual([[], ["a"], ["b"]]);
  store.append([
    { ...tell("worker-1", 300, { m: "process", a: "process", k: "proc", e: "started", v: "running" }), b: 2 },
  ]);
  expect(at(350)).toEqual(["running"]);
  store.close();
});

const recording = (): Recording => {
  const tell = story();
  return {
    header: {
      ...{ format: "dfs-recording", version: 1, cluster: "c", software: "dfs", exportedAt: 3, from: 1, to: 2 },
      timings: { heartbeatMs: 1, suspectAfterMs: 2, deadAfterMs: 3, safeModeMs: 4 },
      nodes: [],
      machines: [],
    },
    keyframe: [],
    records: [tell("worker-1", 100, step("a")), tell("worker-1", 200, step("b"))],
  };
};

test("a recording reads back as it was written, gzipped or not", async () => {
  const text = formatRecording(recording());
  expect(await openRecording(new TextEncoder().encode(text))).toEqual({ ok: true, recording: recording() });
  expect(await openRecording(gzipSync(text))).toEqual({ ok: true, recording: recording() });
});

test("a broken recording, one of another version, and what is none at all are told apart", async () => {
  const text = formatRecording(recording());
  const problem = async (bytes: string | Uint8Array<ArrayBuffer>) => {
    const read = await openRecording(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
    return read.ok ? "ok" : `${read.code}: ${read.message}`;
  };
  expect(await problem("")).toBe("BAD_RECORDING: The file is empty");
  expect(await problem("hello")).toBe("BAD_RECORDING: The file is no recording of this program");
  expect(await problem(text.replace('"version":1', '"version":7'))).toBe(
    "UNKNOWN_RECORDING_VERSION: The recording has version 7; this program reads version 1",
  );
  expect(await problem(text.slice(0, -20))).toBe("BAD_RECORDING: Line 4 is no record; the file is cut off");
  expect(await problem(gzipSync(text).slice(0, 100))).toBe(
    "BAD_RECORDING: The file is cut off or damaged: it cannot be unpacked",
  );
  expect(await problem(text.replace('"keyframe"', '"other"'))).toBe("BAD_RECORDING: Line 2 is no keyframe");
  expect(await problem(text.replace(/"h":"[0-9a-f]{16}"/, '"h":"soon"'))).toBe("BAD_RECORDING: Line 3 is no record");
});

test("XState builds the same machine from what `dfs machines --json` prints", () => {
  for (const machine of MACHINES) {
    const chart = chartOf(machine);
    const copy = chartOf(createMachine(toMachineConfig(chart)));
    const plain = (one: typeof chart) =>
      one.edges.map(({ id, targets, event, guard, delay }) => [id, targets, event, guard, delay]);
    expect(copy.states.map(({ id, type, initial }) => [id, type, initial])).toEqual(
      chart.states.map(({ id, type, initial }) => [id, type, initial]),
    );
    expect(new Set(plain(copy).map(String))).toEqual(new Set(plain(chart).map(String)));
  }
});

test("a Mermaid diagram names every state and every edge", () => {
  for (const machine of MACHINES) {
    const chart = chartOf(machine);
    const text = toMermaid(chart);
    for (const { id } of chart.states.slice(1)) expect(text).toContain(` as ${id.replaceAll(".", "_")}`);
    const arrows = text.split("\n").filter((line) => line.includes("-->") && !line.includes("[*]")).length;
    expect(arrows).toBeGreaterThanOrEqual(chart.edges.filter(({ targets }) => targets.length > 0).length);
  }
});
