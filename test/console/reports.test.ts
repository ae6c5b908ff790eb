import { expect, test } from "bun:test";
import { recordId } from "../../actors/rules/record-id.ts";
import type { StepRecord } from "../../gateway/console/api.ts";
import { compareRecords, endOf } from "../../gateway/console/order.ts";
import { refusalsOf } from "../../gateway/console/refusals.ts";
import { reportsOf } from "../../gateway/console/reports.ts";
import { statesAt } from "../../gateway/console/state-at.ts";
import { lookupIn, whyOf } from "../../gateway/console/why.ts";
import { syntheticRecording } from "../browser/synthetic-recording.ts";
import { seeded } from "../support/random.ts";
import { BEGIN, story } from "./story.ts";

const timings = { heartbeatMs: 500, suspectAfterMs: 2000, deadAfterMs: 6000, safeModeMs: 6000 };
const LIVE = "heard.live.listening|duty.active";
const SUSPECT = "heard.suspect|duty.active";
const DEAD = "heard.dead|duty.active";

const toClient = { m: "requests", k: "refused", d: { request: "GET /files", reason: "" } } as const;
const toNode = { m: "requests", k: "refused", d: { request: "PUT_SMALL_CHUNKS", reason: "" } } as const;

/** worker-3 falls silent at 1000 and is dead at 7000; 412 chunks are copied until 9000. */
function death(): StepRecord[] {
  const tell = story();
  const liveness = { m: "liveness", a: "liveness:worker-3", s: "worker-3" };
  const repair = { m: "repair", a: "repair:7", s: "0000000000000007" };
  const short = (full: number) => ({
    m: "redundancy",
    k: "sum" as const,
    e: "counted",
    v: "",
    d: { chunks: 1000, full, below: { "2": 1000 - full } },
  });
  const beat = tell("master-1", 0, { ...liveness, e: "HEARTBEAT", v: LIVE, r: 3, l: BEGIN + 1000 });
  const suspect = tell("master-1", 3000, {
    ...liveness,
    e: "after suspectAfterMs",
    f: LIVE,
    v: SUSPECT,
    w: recordId(beat),
  });
  const dead = tell("master-1", 7000, {
    ...liveness,
    e: "after deadAfterSuspicionMs",
    f: SUSPECT,
    v: DEAD,
    w: recordId(suspect),
    x: ["liveness.heard.suspect:3"],
  });
  const trouble = tell("master-1", 7010, {
    m: "steward",
    e: "TROUBLE",
    f: "steady",
    v: "repairing",
    w: recordId(dead),
  });
  const c = { reason: "2 of 3 copies: worker-3 is dead", purpose: "redundancy", goodCopies: 2 };
  return [
    tell("gateway-1", 900, { m: "mark", k: "mark", e: "kill", v: "", s: "worker-3" }),
    beat,
    suspect,
    tell("gateway-1", 3500, {
      m: "requests",
      k: "refused",
      e: "TOO_FEW_REPLICAS",
      v: "refused",
      d: { request: "PUT /files", reason: "1 of 2" },
      r: 4,
      l: BEGIN + 4000,
    }),
    tell("gateway-1", 3600, { ...toClient, e: "TIMEOUT", v: "failed" }),
    tell("master-2", 3700, { ...toNode, e: "NOT_LEADER", v: "refused", r: 180, l: BEGIN + 6000 }),
    dead,
    trouble,
    tell("master-1", 7020, short(588)),
    tell("master-1", 7030, { ...repair, k: "init", e: "init", v: "queued", c, w: recordId(trouble) }),
    tell("master-1", 7100, { ...repair, e: "START", f: "queued", v: "copying", c }),
    tell("master-1", 8900, { ...repair, e: "COPIED", f: "copying", v: "verifying", c }),
    tell("master-1", 8950, { ...repair, e: "RECORDED", f: "verifying", v: "healed", c, z: 1 }),
    tell("master-1", 9000, short(1000)),
    tell("gateway-1", 9500, { ...toClient, e: "NO_SUCH_FILE", v: "refused" }),
  ].sort(compareRecords);
}

test("a worker's death becomes a report: phases add up, from the last heartbeat to the last copy", () => {
  const [report] = reportsOf(death(), timings);
  expect(report?.phases.map(({ name, ms }) => [name, ms])).toEqual([
    ["silence", 2000],
    ["suspicion", 4000],
    ["queue", 100],
    ["copying", 1900],
  ]);
  expect(report).toMatchObject({
    kind: "workerDeath",
    subject: "worker-3",
    from: BEGIN + 1000,
    to: BEGIN + 9000,
    totalMs: 8000,
  });
  expect(report?.phases.reduce((sum, { ms }) => sum + (ms ?? 0), 0)).toBe(8000);
});

test("it tells the chunks at risk and for how long, and what was refused or failed meanwhile, not later", () => {
  const [report] = reportsOf(death(), timings);
  expect(report?.chunksAtRisk).toEqual({ most: 412, fewestCopies: 2, from: BEGIN + 7000, to: BEGIN + 9000, ms: 2000 });
  expect(report?.clients.errors).toMatchObject({ count: 5, byCode: { TOO_FEW_REPLICAS: 4, TIMEOUT: 1 } });
  expect(report?.copies).toEqual({ healed: 1, failed: 0, cancelled: 0 });
});

test("F9. a recording's refusals are counted under their code, whatever a recording calls it", () => {
  const tell = story();
  const codes = ["__proto__", "constructor", "NO_LEADER", "__proto__"];
  const records = codes.map((e, n) =>
    tell("gateway-2", 5000 + n, { m: "requests", k: "refused", e, v: "refused", d: { request: "GET /files" } }),
  );
  const [report] = reportsOf([...death(), ...records].sort(compareRecords), timings);
  expect(new Map(Object.entries(report?.clients.refused.byCode ?? {}))).toEqual(
    new Map([
      ["__proto__", 2],
      ["constructor", 1],
    ]),
  );
  expect(report?.clients.errors.byCode).toMatchObject({ NO_LEADER: 1 });
});

test("causes are chained in words", () => {
  const because = reportsOf(death(), timings)[0]?.because;
  expect(because?.slice(0, 3)).toEqual([
    "412 chunks short",
    "because worker-3 is dead",
    "because 12 heartbeats were missed",
  ]);
  expect(because?.[3]).toMatch(/^since \d\d:\d\d:\d\d\.000$/);
  expect(because?.[4]).toBe("because of a drill: kill");
});

test("while copies are missing the report stays open", () => {
  const records = death().filter(({ t }) => t < BEGIN + 8000);
  const [report] = reportsOf(records, timings);
  expect([report?.to, report?.totalMs, report?.chunksAtRisk.ms]).toEqual([null, null, null]);
});

test("copies made faster than the leader counts are counted by themselves", () => {
  const [report] = reportsOf(
    death().filter(({ m }) => m !== "redundancy"),
    timings,
  );
  expect(report?.chunksAtRisk).toMatchObject({ most: 1, fewestCopies: 2, ms: 1950 });
  expect(report?.to).toBe(BEGIN + 8950);
});

/** master-1 leads, and is not heard after 1000; master-2 leads from 2778 on. */
function election(): StepRecord[] {
  const tell = story();
  const raft = (term: number) => ({ m: "raft", c: { term } });
  const leading = (office: string) =>
    `leader.beating.waiting|leader.quorum.watching|leader.office.${office}|leader.transfer.idle`;
  return [
    tell("master-1", 0, { ...raft(1), e: "rpc.voteReply", f: "candidate", v: leading("opening") }),
    tell("master-1", 10, { ...raft(1), e: "rpc.appendReply", f: leading("opening"), v: leading("ready") }),
    tell("master-2", 500, { ...raft(1), e: "rpc.beat", v: "follower.trusting", r: 10, l: BEGIN + 1000 }),
    tell("master-2", 2702, { ...raft(1), e: "after doubtMs", f: "follower.doubting", v: "precandidate" }),
    tell("master-2", 2731, { ...raft(2), e: "rpc.preVoteReply", f: "precandidate", v: "candidate" }),
    tell("master-2", 2753, { ...raft(2), e: "rpc.voteReply", f: "candidate", v: leading("opening") }),
    tell("gateway-1", 2760, { ...toClient, e: "NO_LEADER", v: "refused" }),
    tell("master-2", 2778, { ...raft(2), e: "rpc.appendReply", f: leading("opening"), v: leading("ready") }),
  ].sort(compareRecords);
}

test("the loss of a leader becomes a report: missed heartbeats, pre-vote, vote, first commit", () => {
  const reports = reportsOf(election(), timings);
  expect(reports).toHaveLength(1);
  expect(reports[0]).toMatchObject({
    kind: "leaderLoss",
    subject: "master-1",
    successor: "master-2",
    term: 2,
    totalMs: 1778,
  });
  expect(reports[0]?.phases.map(({ name, ms }) => [name, ms])).toEqual([
    ["missedHeartbeats", 1702],
    ["preVote", 29],
    ["vote", 22],
    ["firstCommit", 25],
  ]);
  expect(reports[0]?.clients.errors.count).toBe(1);
});

test("a leader whose own records are out of reach is known from one that followed it, and the report is the same", () => {
  const whole = reportsOf(election(), timings)[0];
  const heard = { c: { term: 1, leaderId: "master-1" }, w: "master-1/1/9" };
  const others = election()
    .filter(({ n }) => n !== "master-1")
    .map((one) => (one.e === "rpc.beat" ? { ...one, ...heard } : one));
  const [report] = reportsOf(others, timings);
  expect(report).toMatchObject({ subject: "master-1", successor: "master-2", phases: whole?.phases as object[] });
  const unheard = others.map((one) => (one.e === "rpc.beat" ? { ...one, c: undefined } : one));
  expect(reportsOf(unheard, timings)).toEqual([]);
});

test("C5. what nodes tell each other is no client's error: redirects stand apart, in the report and in the list", () => {
  const tell = story();
  const records = [
    ...election().filter(({ k }) => k !== "refused"),
    tell("master-3", 1200, { ...toNode, e: "NOT_LEADER", v: "refused", r: 180, l: BEGIN + 2000 }),
    tell("gateway-1", 1300, { ...toClient, e: "NO_SUCH_FILE", v: "refused" }),
    tell("gateway-1", 2900, { m: "clients", k: "sum", e: "counted", v: "", d: wait(1300, 2790) }),
    tell("gateway-1", 9000, { m: "clients", k: "sum", e: "counted", v: "", d: wait(5000, 8900) }),
  ].sort(compareRecords);
  const [report] = reportsOf(records, timings);
  expect(report?.clients).toMatchObject({ errors: { count: 0 }, refused: { count: 1 }, longestWaitMs: 1300 });
  expect(report?.between).toMatchObject({ count: 180, byCode: { NOT_LEADER: 180 } });
  const list = refusalsOf(records);
  expect(list).toMatchObject({ total: 1, byCode: { NO_SUCH_FILE: 1 }, between: { total: 180 } });
  expect(list.entries.map(({ code, to }) => [code, to])).toEqual([
    ["NO_SUCH_FILE", "client"],
    ["NOT_LEADER", "node"],
  ]);
});

/** A sample: `longestMs` was waited for an answer that came `at` ms into the story. */
const wait = (longestMs: number, at: number) => ({ answered: 7, longestMs, longestAt: BEGIN + at });

test("C5. records of before, which tell nothing of waits, still make a report", () => {
  const [report] = reportsOf(election(), timings);
  expect(report?.clients.longestWaitMs).toBeNull();
});

test("C6. a leader that was killed and came back was gone from the last message that others heard of it", () => {
  const tell = story();
  const steward = { m: "steward", k: "init", e: "init", v: "safeMode" } as const;
  const word = tell("master-1", 1000, { m: "steward", e: "ALL_REPORTED", f: "safeMode", v: "steady" });
  const records = [
    tell("master-1", 0, steward),
    word,
    tell("worker-1", 1440, { m: "worker", e: "ACKNOWLEDGED", v: "serving", w: "master-1/1/7" }),
    tell("worker-1", 1900, { m: "upload", e: "SENT", v: "open", w: "master-1/1/7" }),
    { ...tell("master-1", 3000, { m: "process", k: "proc", e: "started", v: "running" }), b: 2 },
    { ...tell("master-1", 3100, steward), b: 2 },
  ].sort(compareRecords);
  const [report] = reportsOf(records, timings);
  expect(report?.phases.map(({ name, ms }) => [name, ms])).toEqual([
    ["down", 1560],
    ["takingOffice", 100],
  ]);
});

test("C7. a loss whose last sign of life is older than the records took at least so long", () => {
  const whole = election();
  expect(reportsOf(whole, timings)[0]?.atLeast).toBe(false);
  expect(
    reportsOf(
      whole.filter(({ e }) => e !== "rpc.beat"),
      timings,
    )[0]?.atLeast,
  ).toBe(true);
});

test("C8. no phase takes less than no time, and their sum is the whole, whatever the nodes' clocks say", () => {
  const random = seeded(8);
  for (let round = 0; round < 200; round++) {
    const skew = new Map<string, number>();
    const told = [death(), election(), syntheticRecording({ events: 150 }).records][round % 3] as StepRecord[];
    const records = told.map((record) => {
      if (!skew.has(record.n)) skew.set(record.n, Math.round((random() - 0.5) * 6000));
      const by = (skew.get(record.n) as number) * (record.k === "proc" ? 0 : 1) + (round === 0 ? 0 : random() * 200);
      return { ...record, t: record.t + by, ...(record.l === undefined ? {} : { l: record.l + by }) };
    });
    for (const { phases, totalMs, from, to } of reportsOf(records, timings)) {
      expect(phases.filter(({ ms }) => ms !== null && ms < 0)).toEqual([]);
      if (totalMs !== null) expect(phases.reduce((sum, { ms }) => sum + (ms ?? 0), 0)).toBeCloseTo(totalMs, 3);
      expect([phases[0]?.from, phases.at(-1)?.to]).toEqual([from, to]);
      for (const [n, { from: begins }] of phases.slice(1).entries()) expect(begins).toBe(phases[n]?.to as number);
    }
  }
});

test("C8. copies that no count of chunks foretold end the report of a death, after the death itself", () => {
  const { records } = syntheticRecording({ events: 200 });
  const report = reportsOf(records, timings).find(({ kind }) => kind === "workerDeath");
  expect(report?.phases.map(({ name, ms }) => [name, ms])).toEqual([
    ["silence", 2000],
    ["suspicion", 4000],
    ["queue", 100],
    ["copying", 1740],
  ]);
});

test("a repair for worker-10 is no part of the death of worker-1", () => {
  const records = death().map((record) =>
    record.m === "repair" ? { ...record, c: { ...record.c, reason: "2 of 3 copies: worker-30 is dead" } } : record,
  );
  expect(reportsOf(records, timings)[0]?.copies.healed).toBe(0);
});

test("a single master that was started again lost the leadership to itself", () => {
  const tell = story();
  const records = [
    tell("master-1", 0, { m: "steward", k: "init", e: "init", v: "safeMode" }),
    tell("master-1", 1000, { m: "steward", e: "ALL_REPORTED", f: "safeMode", v: "steady" }),
    { ...tell("master-1", 3000, { m: "process", k: "proc", e: "crashed", v: "down" }), b: 2 },
    { ...tell("master-1", 3001, { m: "process", k: "proc", e: "started", v: "running" }), b: 2 },
    { ...tell("master-1", 3100, { m: "steward", k: "init", e: "init", v: "safeMode" }), b: 2 },
  ];
  const [report] = reportsOf(records, timings);
  expect(report?.phases.map(({ name, ms }) => [name, ms])).toEqual([
    ["down", 2001],
    ["takingOffice", 99],
  ]);
});

test("an instant is one look: every actor as it was then, the ended ones for a while", () => {
  const at = (ms: number) => Object.fromEntries(statesAt([], death(), endOf(BEGIN + ms)).map(({ a, v }) => [a, v]));
  expect(at(2999)["liveness:worker-3"]).toBe(LIVE);
  expect(at(3000)["liveness:worker-3"]).toBe(SUSPECT);
  expect(at(8000)["repair:7"]).toBe("copying");
  expect(at(8960)["repair:7"]).toBe("healed");
  expect(at(20_000)["repair:7"]).toBeUndefined();
});

test("a process that starts again begins with none of its old actors", () => {
  const tell = story();
  const records = [
    tell("worker-1", 0, { m: "worker", k: "init", e: "init", v: "starting" }),
    { ...tell("worker-1", 10, { m: "process", k: "proc", e: "started", v: "running" }), b: 2 },
  ];
  expect(statesAt([], records, endOf(BEGIN + 20)).map(({ a }) => a)).toEqual(["process"]);
});

test("why: the chain of causes over machines, what it caused, and the state before", () => {
  const records = death();
  const dead = records.find(({ v }) => v === DEAD) as StepRecord;
  const why = whyOf(dead, lookupIn(records), []);
  expect(why.causes.map(({ e }) => e)).toEqual(["after suspectAfterMs", "HEARTBEAT"]);
  expect(why.effects.map(({ m, v }) => [m, v])).toEqual([["steward", "repairing"]]);
  expect(why.before?.v).toBe(SUSPECT);
  expect(why.chainBreaksAt).toBeNull();
  expect(why.sentences[1]).toStartWith("because liveness of worker-3 at master-1 went from heard.live");
  const headless = whyOf({ ...dead, w: "master-9/1/1" }, lookupIn(records), []);
  expect(headless.chainBreaksAt).toBe("master-9/1/1");
});
