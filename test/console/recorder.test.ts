import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createActor } from "xstate";
import { livenessMachine } from "../../actors/master/leading/liveness.machine.ts";
import type { StepRecord } from "../../actors/messages/records.ts";
import { continueAs, currentCause, formatCause, parseCause, withCause } from "../../actors/node/record/cause.ts";
import { HybridClock } from "../../actors/node/record/hybrid-clock.ts";
import { payload } from "../../actors/node/record/payload.ts";
import { Recorder } from "../../actors/node/record/recorder.ts";
import { startRecording, stopRecording } from "../../actors/node/record/running-recorder.ts";
import { recordId } from "../../actors/rules/record-id.ts";
import { NodeRecords } from "../../databases/records.ts";
import { UploadProgress } from "../../gateway/transfer/upload-progress.ts";
import { ManualClock } from "../support/manual-clock.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "dfs-recorder-"));
  folders.push(made);
  return made;
}

function record(path = join(folder(), "records.db"), keepRecords = 10_000) {
  const store = new NodeRecords(path, { keepRecords });
  const time = new ManualClock();
  const recorder = new Recorder({ nodeId: "master-1", store, now: () => time.now(), timers: time });
  const all = async (): Promise<StepRecord[]> =>
    (await recorder.after({ after: { boot: 0, seq: 0 }, limit: 5000, waitMs: 0 })).records;
  return { path, store, time, recorder, all };
}

interface Watching {
  recorder: Recorder;
  time: ManualClock;
}

function watchWorker(
  { recorder, time }: Watching,
  actions: { declareDead?: () => void; declareLive?: () => void } = {},
) {
  const machine = livenessMachine.provide({ actions: { declareLive: () => {}, declareDead: () => {}, ...actions } });
  const input = {
    workerId: "worker-3",
    suspectAfterMs: 60,
    deadAfterMs: 120,
    graceMs: 5000,
    deaths: 0,
    mode: "active" as const,
  };
  const options = { id: "liveness:worker-3", input, inspect: recorder.inspect, clock: time };
  return createActor(machine, options).start();
}

test("a record tells event, edge, state before and after, what it is about, and the timers it armed", async () => {
  const { recorder, time, all } = record();
  const actor = watchWorker({ recorder, time });
  actor.send({ type: "HEARTBEAT" });
  const [started, init, heard] = await all();
  expect(started).toMatchObject({ k: "proc", e: "started", m: "process" });
  expect(init).toMatchObject({ k: "init", a: "liveness:worker-3", s: "worker-3", v: "heard.unknown|duty.active" });
  expect(heard).toMatchObject({
    n: "master-1",
    k: "tr",
    e: "HEARTBEAT",
    x: ["liveness.heard.unknown:0"],
    f: "heard.unknown|duty.active",
    v: "heard.live.listening|duty.active",
    tm: [
      { id: "after forgiveAfterMs", ms: 1200 },
      { id: "after suspectAfterMs", ms: 60 },
    ],
  });
  actor.stop();
  recorder.close();
});

test("silence is told with its cause: the timer that the last heartbeat armed", async () => {
  const { recorder, time, all } = record();
  const actor = watchWorker({ recorder, time });
  actor.send({ type: "HEARTBEAT" });
  time.pass(60);
  time.pass(60);
  const records = (await all()).filter(({ m }) => m === "liveness");
  const [, heard, suspect, dead] = records as [StepRecord, StepRecord, StepRecord, StepRecord];
  expect([suspect.e, dead.e]).toEqual(["after suspectAfterMs", "after deadAfterSuspicionMs"]);
  expect([suspect.w, dead.w]).toEqual([recordId(heard), recordId(suspect)]);
  actor.stop();
  recorder.close();
});

test("what an action starts is a consequence of the step it belongs to, not of the one before", async () => {
  const { recorder, time, all } = record();
  let during: string | undefined;
  const actor = watchWorker({ recorder, time }, { declareLive: () => (during = currentCause()?.id) });
  actor.send({ type: "HEARTBEAT" });
  const heard = (await all()).find(({ e }) => e === "HEARTBEAT") as StepRecord;
  expect(during).toBe(recordId(heard));
  actor.stop();
  recorder.close();
});

test("a cause travels in a header, and its effect has the higher clock even where the wall clock is behind", async () => {
  const ahead = new HybridClock(() => Date.now() + 60_000);
  const header = formatCause({ id: "worker-3/2/17", h: ahead.tick() });
  const { recorder, time, all } = record();
  const actor = watchWorker({ recorder, time });
  withCause(parseCause(header), () => actor.send({ type: "HEARTBEAT" }));
  const heard = (await all()).find(({ e }) => e === "HEARTBEAT") as StepRecord;
  expect(heard.w).toBe("worker-3/2/17");
  expect(heard.h > (parseCause(header)?.h as string)).toBe(true);
  expect(parseCause("worker-3/2/17; drop")).toBeUndefined();
  actor.stop();
  recorder.close();
});

test("heartbeats that change nothing are counted, the last of them to the millisecond", async () => {
  const { recorder, time, all } = record();
  const actor = watchWorker({ recorder, time });
  for (let n = 0; n < 20; n++) {
    time.pass(10);
    actor.send({ type: "HEARTBEAT" });
  }
  const lastSentAt = time.now();
  time.pass(200);
  const beats = (await all()).filter(({ e }) => e === "HEARTBEAT");
  expect(beats.length).toBeLessThan(5);
  expect(beats.reduce((sum, { r = 1 }) => sum + r, 0)).toBe(20);
  expect(beats.at(-1)?.l).toBe(lastSentAt);
  actor.stop();
  recorder.close();
});

test("records come in one order: number and clock rise together, also when an action sends to another machine", async () => {
  const { recorder, time, all } = record();
  const other = watchWorker({ recorder, time });
  const actor = watchWorker({ recorder, time }, { declareLive: () => other.send({ type: "HEARTBEAT" }) });
  actor.send({ type: "HEARTBEAT" });
  const records = await all();
  expect(records.map(({ q }) => q)).toEqual(records.map(({ q }) => q).toSorted((a, b) => a - b));
  expect(records.map(({ h }) => h)).toEqual(records.map(({ h }) => h).toSorted());
  const [cause, effect] = records.filter(({ e }) => e === "HEARTBEAT") as [StepRecord, StepRecord];
  expect(effect.w).toBe(recordId(cause));
  actor.stop();
  other.stop();
  recorder.close();
});

test("an event that no state takes is recorded as ignored", async () => {
  const { recorder, time, all } = record();
  const actor = watchWorker({ recorder, time });
  actor.send({ type: "NONSENSE" } as never);
  expect((await all()).find(({ e }) => e === "NONSENSE")).toMatchObject({
    k: "ignored",
    v: "heard.unknown|duty.active",
  });
  actor.stop();
  recorder.close();
});

test("records outlive the process, and the next start tells that the one before did not stop", async () => {
  const { path, recorder, store, time, all } = record();
  watchWorker({ recorder, time }).send({ type: "HEARTBEAT" });
  const before = await all();
  store.close(); // as after kill -9: nothing was said about a stop
  const again = record(path);
  expect(again.recorder.boot).toBe(2);
  const after = await again.all();
  expect(after.slice(0, before.length)).toEqual(before);
  expect(after.slice(before.length).map(({ e }) => e)).toEqual(["crashed", "started"]);
  again.recorder.close();
  const third = record(path);
  expect((await third.all()).slice(-2).map(({ e }) => e)).toEqual(["stopped", "started"]);
  third.recorder.close();
});

test("the ring drops the oldest, and tells a reader how many were lost", async () => {
  const { recorder, store } = record(undefined, 1000);
  for (let n = 0; n < 3000; n++) {
    recorder.mark("bookmark", `subject-${n}`);
    if (n % 100 === 0) recorder.flush();
    await (n % 49 === 0 ? Bun.sleep(0) : null);
  }
  recorder.flush();
  const body = {
    n: "master-1",
    b: 1,
    h: "0".repeat(16),
    t: 0,
    m: "mark",
    a: "mark",
    s: "x",
    k: "mark",
    e: "x",
    v: "",
  } as const;
  store.append(Array.from({ length: 3000 }, (_, n) => ({ ...body, q: 10_000 + n })));
  const { records, oldest, lost } = store.after({ boot: 1, seq: 1 }, 10_000);
  expect(records.length).toBe(1000);
  expect(records.at(-1)?.q).toBe(12_999);
  expect(oldest.seq).toBeGreaterThan(1);
  expect(lost).toBe(oldest.seq - 1);
  recorder.close();
});

test("a payload holds no secret, no bytes, and a kilobyte at most", () => {
  const kept = payload({
    clusterSecret: "hunter2",
    nested: { token: "abc" },
    block: new Uint8Array(9000),
    long: "x".repeat(5000),
    many: Array.from({ length: 100 }, (_, n) => n),
    bulk: Array.from({ length: 8 }, () => "y".repeat(200)),
  });
  const text = JSON.stringify(kept);
  expect(text).not.toContain("hunter2");
  expect(text).not.toContain("abc");
  expect(text).toContain("(9000 bytes)");
  expect(text).toContain('"…":"cut"');
  expect(text.length).toBeLessThan(1100);
});

test("refusals are told once a second per reason, the others counted", async () => {
  const { recorder, time, all } = record();
  for (let n = 0; n < 500; n++) recorder.refused("PUT /files/{path}", "TOO_FEW_REPLICAS", "1 worker of 2");
  time.pass(2100);
  const refusals = (await all()).filter(({ k }) => k === "refused");
  expect(refusals.length).toBe(2);
  expect(refusals.reduce((sum, { r = 1 }) => sum + r, 0)).toBe(500);
  recorder.close();
});

test("who waits for records gets them as soon as they are written", async () => {
  const { recorder, time } = record();
  const cursor = { boot: recorder.boot, seq: 1 };
  recorder.flush();
  const waiting = recorder.after({ after: cursor, limit: 10, waitMs: 3000 });
  watchWorker({ recorder, time });
  time.pass(100);
  expect((await waiting).records.length).toBeGreaterThan(0);
  recorder.close();
});

test("of thousands of brief uploads a few are told, the others counted; one that fails or lasts is always told", () => {
  const store = new NodeRecords(join(folder(), "records.db"), { keepRecords: 10_000 });
  startRecording("gateway-1", store);
  const told: StepRecord[] = [];
  store.append = (records) => void told.push(...records);
  try {
    const upload = (id: string) => new UploadProgress({ id, by: "system", path: id, lengthBytes: 1, startedAt: 0 });
    for (let n = 0; n < 500; n++) {
      const one = upload(`put-${n}`);
      one.tell({ type: "CHUNK_PLACED", workers: ["worker-1"] });
      if (n === 300) one.tell({ type: "FAILED", code: "TOO_FEW_REPLICAS", message: "1 of 2" });
      else for (const type of ["BODY_ENDED", "CHUNK_SEALED", "COMMITTED"] as const) one.tell({ type });
      one.end();
    }
    const long = upload("put-long");
    long.tell({ type: "CHUNK_PLACED", workers: ["worker-1"] });
    expect(long.snapshot.value).toBe("writing");
    long.watch();
    for (const type of ["BODY_ENDED", "CHUNK_SEALED", "COMMITTED"] as const) long.tell({ type });
    long.end();
  } finally {
    stopRecording();
  }
  const records = told.filter(({ m }) => m === "upload");
  const statesOf = (id: string) => records.filter(({ s }) => s === id).map(({ v }) => v);
  expect(records.filter(({ k }) => k === "init").length).toBe(5 + 1 + 1);
  expect(statesOf("put-0")).toEqual(["opening", "writing", "sealing", "committing", "done"]);
  expect(statesOf("put-300")).toEqual(["writing", "failed"]);
  expect(statesOf("put-long")).toEqual(["writing", "sealing", "committing", "done"]);
  expect(records.filter(({ k }) => k === "sum").reduce((sum, { d }) => sum + (d?.done as number), 0)).toBe(494);
});

test("what goes on as a consequence leaves its caller as it was", () => {
  const cause = { id: "worker-1/1/1", h: "0".repeat(16) };
  const before = currentCause();
  withCause(undefined, () => continueAs(cause));
  expect(currentCause()).toEqual(before);
  withCause(cause, () => {
    withCause(undefined, () => continueAs({ ...cause, id: "worker-1/1/2" }));
    expect(currentCause()).toEqual(cause);
  });
});
