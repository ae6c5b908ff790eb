import { afterAll, expect, test } from "bun:test";
import type { StepRecord } from "../../actors/messages/records.ts";
import { recordId } from "../../actors/rules/record-id.ts";
import { formatRecording, openRecording } from "../../gateway/console/recording.ts";
import { LifeThread } from "./system/lives.ts";
import type { Trouble, TroubleKind } from "./system/nemesis.ts";
import { isSystemFailure } from "./system/simulate-system.ts";

const thread = new LifeThread();
afterAll(() => thread.end());

const trouble = (kind: TroubleKind, atMs: number, whom: number): Trouble => ({ kind, atMs, whom, forMs: 2000 });

/** A master, a worker and a gateway are killed in it, and start again. */
const ORDER = {
  seed: 1,
  stormMs: 8000,
  plan: [
    trouble("kill", 7000, 0),
    trouble("power", 8000, 0.5),
    trouble("kill", 11_000, 0.99),
    trouble("isolate", 9000, 0),
  ],
  knobs: { newLeaderKiller: 0 },
};
const recorded = thread.record(ORDER);

async function story() {
  const { recording } = (await recorded) ?? {};
  if (!recording) throw new Error("the life was not over in time");
  const told = new Map(recording.records.map((record) => [recordId(record), record]));
  const causeOf = ({ w }: StepRecord): StepRecord | undefined => (w === undefined ? undefined : told.get(w));
  return { ...recording, causeOf };
}

test("a life is the same with and without its recording", async () => {
  const { life } = (await recorded) ?? {};
  expect(await thread.live(ORDER)).toEqual(life as NonNullable<typeof life>);
  expect(life).toMatchObject({ seed: ORDER.seed, elections: expect.any(Number) });
});

test("a recorded life opens like any recording: all kinds of nodes, each machine as it was drawn", async () => {
  const { recording } = (await recorded) ?? {};
  if (!recording) throw new Error("the life was not over in time");
  const read = await openRecording(new TextEncoder().encode(formatRecording(recording)));
  if (!read.ok) throw new Error(read.message);
  const opened = read.recording;
  expect(opened).toEqual(recording);
  const { nodes, machines, seed } = opened.header;
  expect(seed).toBe(String(ORDER.seed));
  expect(new Set(nodes.map(({ kind }) => kind))).toEqual(new Set(["master", "worker", "gateway"]));
  expect(machines.map(({ chart }) => chart.machine).sort()).toEqual(
    ["liveness", "raft", "repair", "steward", "upload", "worker"], //
  );
  for (const { chart, layout } of machines) expect(layout?.hash).toBe(chart.hash);
  const machinesTold = new Set(opened.records.map(({ m }) => m));
  for (const machine of ["raft", "liveness", "steward", "worker", "upload", "process", "requests"])
    expect(machinesTold).toContain(machine);
});

test("an election is told with its cause: the vote of another master", async () => {
  const { records, causeOf } = await story();
  const elected = records.filter(({ m, f, v }) => m === "raft" && v.startsWith("leader") && f === "candidate");
  expect(elected.length).toBeGreaterThan(0);
  for (const leader of elected) {
    const voter = causeOf(leader);
    expect(voter).toMatchObject({ m: "raft", s: expect.stringMatching(/^master-/) });
    expect(voter?.n).not.toBe(leader.n);
  }
});

test("every cause is told, and before what it caused, on whichever node", async () => {
  const { records, causeOf } = await story();
  const caused = records.filter(({ w }) => w !== undefined);
  for (const record of caused) {
    const cause = causeOf(record);
    expect(cause, `the cause of ${recordId(record)}`).toBeDefined();
    expect((cause as StepRecord).h < record.h, `${record.w} before ${recordId(record)}`).toBe(true);
  }
  const across = caused.flatMap((record) => {
    const cause = causeOf(record) as StepRecord;
    return cause.n === record.n ? [] : [`${cause.m} of ${cause.n.split("-")[0]} → ${record.m}`];
  });
  expect(new Set(across)).toContain("worker of worker → liveness");
});

test("what a timer does is caused by the step of the same actor that armed it", async () => {
  const { records, causeOf } = await story();
  const patienceEnded = records.filter(({ m, e, f }) => m === "raft" && e === "after doubtMs" && f);
  expect(patienceEnded.length).toBeGreaterThan(0);
  for (const step of patienceEnded) {
    const { n, a } = step;
    expect(causeOf(step)).toMatchObject({ n, a });
  }
});

test("what was killed says at its next start that it crashed, and its own last record that it was killed", async () => {
  const { header, records } = await story();
  const crashed = records.filter(({ e }) => e === "crashed");
  const kindOf = new Map(header.nodes.map(({ id, kind }) => [id, kind]));
  expect(crashed.map(({ n }) => kindOf.get(n))).toEqual(["master", "worker", "gateway"]);
  for (const { n, b } of crashed) {
    const last = records.findLast((record) => record.n === n && record.b === b - 1);
    expect(last).toMatchObject({ k: "mark", e: expect.stringMatching(/^(kill|power lost)$/) });
  }
});

test("cut links stand in the margin of the records of those who send over them, until they are mended", async () => {
  const { records } = await story();
  const marks = records.filter(({ e }) => e === "cut" || e === "healed");
  const cuts = marks.filter(({ e }) => e === "cut");
  const healed = marks.filter(({ e }) => e === "healed");
  expect(healed.length).toBeGreaterThan(0);
  for (const { d } of cuts) expect(d?.peers).toBeString();
  for (const mark of healed) expect(cuts.some(({ n, t }) => n === mark.n && t < mark.t)).toBe(true);
});

test("a life that breaks a rule says so in the last record", async () => {
  const nobodyHears = { maxDelayMs: 10_000_000 };
  const { life, recording } = (await thread.record({ seed: 2, stormMs: 1000, plan: [], knobs: nobodyHears })) ?? {};
  if (!life || !isSystemFailure(life)) throw new Error("nothing broke");
  expect(recording?.records.at(-1)).toMatchObject({ k: "mark", e: `breaks ${life.rule}`, t: Math.floor(life.atMs) });
});
