/** What the page makes of records, without a browser. */
import { expect, test } from "bun:test";
import type { StepRecord } from "../../gateway/console/api.ts";
import { compareRecords } from "../../gateway/console/order.ts";
import { latencyBuckets, quantile } from "../../gateway/console/page/cluster/latency.ts";
import { linesOf, statesOfPart, tokenStates } from "../../gateway/console/page/failover/chart-text.ts";
import { EventParser } from "../../gateway/console/page/failover/event-parser.ts";
import { matcherOf } from "../../gateway/console/page/failover/record-filter.ts";
import { shortState, toneOf } from "../../gateway/console/page/failover/tones.ts";
import { Trace } from "../../gateway/console/page/failover/trace.ts";
import { parseHash } from "../../gateway/console/page/location-hash.ts";
import { statesAt } from "../../gateway/console/state-at.ts";
import { seeded } from "../support/random.ts";
import { syntheticRecording } from "./synthetic-recording.ts";

const { records } = syntheticRecording({ workers: 4, events: 600 });

function traceOf(list: typeof records): Trace {
  const trace = new Trace();
  trace.begin([]);
  trace.add(list);
  return trace;
}

test("an instant is the same whether looked up or replayed", () => {
  const trace = traceOf(records);
  for (const at of [0.001, 15, 1000, 20_000, 21_450, 33_000, 46_300, 59_999]) {
    const h = `${Math.floor(trace.timeOf(at)).toString(16).padStart(12, "0")}ffff`;
    const replayed = statesAt([], records, h)
      .filter(({ m, z }) => m !== "process" && m !== "requests" && !z)
      .map(({ n, a, v }) => `${n} ${a} ${v}`);
    const down = new Set(["master-1"].filter(() => trace.lifeAt("master-1", at + 0.99) === null));
    const looked = trace
      .actorsAt(trace.positionOf(h))
      .filter(({ track, isOver }) => track.m !== "process" && !isOver)
      .map(({ track, step }) => `${track.n} ${track.a} ${step.v}`);
    expect(looked.sort()).toEqual(replayed.filter((line) => !down.has(line.split(" ")[0] as string)).sort());
  }
});

test("records that come late, twice or in any order give the same trace", () => {
  const straight = traceOf(records);
  const random = seeded(7);
  const shuffled = records.map((record) => ({ record, at: random() })).sort((a, b) => a.at - b.at);
  const trace = new Trace();
  trace.positionOf(records[0]?.h as string);
  for (const { record } of shuffled) trace.add([record]);
  trace.add(records);
  expect(trace.records).toEqual([...records].sort(compareRecords));
  expect(trace.at).toEqual(straight.at);
  for (const [key, track] of straight.tracks) expect(trace.tracks.get(key)?.changes).toEqual(track.changes);
});

test("a wall clock that jumps bends nothing: positions follow the hybrid clock", () => {
  const jumped = records.map((record, n) => ({ ...record, t: record.t - (n > 300 ? 3_600_000 : 0) }));
  expect(traceOf(jumped).at).toEqual(traceOf(records).at);
});

test("a killed node is down from its last sign of life until it starts again", () => {
  const trace = traceOf(records);
  expect(trace.lifeAt("master-1", 19_000)?.boot).toBe(1);
  expect(trace.lifeAt("master-1", 25_000)).toBeNull();
  expect(trace.lifeAt("master-1", 33_000)?.boot).toBe(2);
});

test("C6. a killed node was alive until others last heard of it; what it recorded last may be lost", () => {
  const trace = traceOf(records);
  const [first] = trace.lives.get("master-1") ?? [];
  if (!first) throw new Error("master-1 never ran");
  expect(first.to).toBe(20_000);
  expect(trace.endOf("master-1", first)).toBe(20_004);
  expect(trace.lifeAt("master-1", 20_003)?.boot).toBe(1);
  expect(trace.lifeAt("master-1", 20_005)).toBeNull();
  // Whatever order they come in, and for a worker by the leader's count of its heartbeats.
  const backwards = new Trace();
  backwards.positionOf(records[0]?.h as string);
  for (const record of records.toReversed()) backwards.add([record]);
  const [same] = backwards.lives.get("master-1") ?? [];
  expect(same && backwards.endOf("master-1", same)).toBe(20_004);
  const beat = records.find(({ m, s, l }) => m === "liveness" && s === "worker-1" && l !== undefined) as StepRecord;
  const until = traceOf(records.filter((record) => record.n !== "worker-1" || record.t < beat.t));
  const [worker] = until.lives.get("worker-1") ?? [];
  expect(worker && until.endOf("worker-1", worker)).toBeCloseTo(40_000, 0);
});

test("C7. how long a state lasts is a lower bound unless what led to it is held", () => {
  const beginning = (trace: Trace, node: string, at: number) => {
    const [track] = trace.mainTracks.get(node) ?? [];
    return track?.changes.findLast((change) => change.at <= at)?.isBeginning;
  };
  const whole = traceOf(records);
  expect(beginning(whole, "worker-2", 30_000)).toBe(true);
  expect(whole.lives.get("gateway-1")?.[0]?.hasStart).toBe(true);
  const late = traceOf(records.filter(({ t }) => t > (records[0]?.t as number) + 25_000));
  expect(beginning(late, "worker-2", 30_000)).toBe(false);
  // An actor of a keyframe says what it is, not since when.
  const begun = new Trace();
  const { n, b, q, h, t, m, a, s, v } = records.find((one) => one.n === "worker-2" && one.m === "worker") as StepRecord;
  begun.begin([{ n, b, q, h, t, m, a, s, v }]);
  expect(begun.mainTracks.get("worker-2")?.[0]?.changes[0]?.isBeginning).toBe(false);
});

test("forgetting the oldest records keeps what they led to", () => {
  const trace = traceOf(records);
  const before = traceOf(records)
    .actorsAt(59_999)
    .map(({ track, step }) => `${track.key} ${step.v}`);
  trace.trim(100);
  expect(trace.records.length).toBe(100);
  expect(trace.actorsAt(59_999).map(({ track, step }) => `${track.key} ${step.v}`)).toEqual(before);
});

test("states are said in a word or two, and coloured by their worst part", () => {
  expect(shortState("leader.beating.waiting|leader.office.ready|leader.transfer.idle")).toBe("leader");
  expect(shortState("leader.beating.waiting|leader.office.opening")).toBe("leader, opening");
  expect(shortState("heard.live.listening|duty.draining")).toBe("live, draining");
  expect(shortState("serving.disk.full|serving.pulse.resting")).toBe("serving, full");
  expect(toneOf("liveness", "heard.dead|duty.active")).toBe("down");
  expect(toneOf("worker", "serving.disk.readOnly|serving.pulse.beating")).toBe("wary");
  expect(toneOf("a-new-machine", "anything")).toBe("passive");
});

test("a token sits in the innermost state that says all of a value", () => {
  expect(tokenStates("raft", "leader.beating.waiting|leader.office.ready")).toEqual(["raft.leader"]);
  expect(tokenStates("raft", "follower")).toEqual(["raft.follower"]);
  expect(tokenStates("liveness", "heard.dead|duty.active")).toEqual(["liveness.heard.dead", "liveness.duty.active"]);
  expect(statesOfPart("worker", "serving.disk.full")).toEqual([
    "worker.serving",
    "worker.serving.disk",
    "worker.serving.disk.full",
  ]);
});

test("what a state does is written into its box", () => {
  const { header } = syntheticRecording({ events: 100 });
  const raft = header.machines.find(({ chart }) => chart.machine === "raft")?.chart;
  const candidate = raft?.states.find(({ id }) => id === "raft.candidate");
  if (!raft || !candidate) throw new Error("no candidate");
  expect(linesOf(raft, candidate).map(({ text }) => text)).toContain("entry / startElection");
});

test("a filter takes words anywhere, and words for one column", () => {
  const found = (text: string): number => records.filter(matcherOf(text)).length;
  expect(found("")).toBe(records.length);
  expect(found("machine:raft node:master-2 candidate")).toBeGreaterThan(0);
  expect(found("subject:worker-1 dead")).toBe(1);
  expect(found("no such thing")).toBe(0);
});

test("server-sent events are cut where they end, wherever the network cut them", () => {
  const text = 'event: records\nid: 4\ndata: {"a":1}\n\n:hb\n\nevent: nodes\ndata: [1,\ndata: 2]\n\n';
  for (let cut = 0; cut < text.length; cut++) {
    const parser = new EventParser();
    const events = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
    expect(events).toEqual([
      { event: "records", data: '{"a":1}', id: "4" },
      { event: "nodes", data: "[1,\n2]", id: null },
    ]);
  }
});

test("links lead back to the folder, the instant and the event they were copied from", () => {
  expect(parseHash("#/files/a%20b/c%2Fd").folder).toBe("a b/c/d/");
  expect(parseHash("#/failover?t=5&e=m/1/2").params.get("e")).toBe("m/1/2");
  expect(parseHash("").view).toBe("files");
  expect(parseHash("#/nonsense/%E0%A4%A").view).toBe("files");
});

test("latency between two looks is what grew, not what was there", () => {
  const metrics = (fast: number, slow: number): string =>
    `dfs_gateway_http_request_seconds_bucket{le="0.1",method="GET",route="/files/{path}"} ${fast}
dfs_gateway_http_request_seconds_bucket{le="0.5",method="GET",route="/files/{path}"} ${fast + slow}
dfs_gateway_http_request_seconds_bucket{le="+Inf",method="GET",route="/files/{path}"} ${fast + slow}
dfs_gateway_http_request_seconds_bucket{le="0.1",method="GET",route="/metrics"} 1000`;
  const before = latencyBuckets(metrics(10, 0));
  expect(quantile(before, before, 0.5)).toBeNull();
  expect(quantile(before, latencyBuckets(metrics(10, 4)), 0.5)).toBeCloseTo(0.3);
});
