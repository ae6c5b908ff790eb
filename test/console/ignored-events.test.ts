/** Nothing vanishes: what no state of a machine takes is in the node's log, whether recording is on or not. */
import { afterAll, expect, test } from "bun:test";
import { type AnyStateMachine, createActor } from "xstate";
import { raftMachine } from "../../actors/master/group/raft.machine.ts";
import { livenessMachine } from "../../actors/master/leading/liveness.machine.ts";
import { repairMachine } from "../../actors/master/leading/repair.machine.ts";
import { stewardMachine } from "../../actors/master/leading/steward.machine.ts";
import type { Logger } from "../../actors/node/log.ts";
import { IgnoredEvents } from "../../actors/node/record/inspector.ts";
import { startingState } from "../../actors/rules/raft/state.ts";
import { workerMachine } from "../../actors/worker/worker.machine.ts";
import { uploadMachine } from "../../gateway/transfer/upload.machine.ts";
import { blankRaft } from "../support/blank-raft.ts";
import { ManualClock } from "../support/manual-clock.ts";

const actors: { stop(): unknown }[] = [];
afterAll(() => {
  for (const actor of actors) actor.stop();
});

function watch(machine: AnyStateMachine, input: unknown, now = () => 0) {
  const told: Record<string, unknown>[] = [];
  const log = { warn: (entry: Record<string, unknown>) => told.push(entry) } as unknown as Logger;
  const { inspect } = new IgnoredEvents(log, now);
  const actor = createActor(machine, { id: `${machine.id}:1`, input, clock: new ManualClock() as never, inspect });
  actor.start();
  actors.push(actor);
  return { told, send: (type: string, fields = {}) => actor.send({ type, ...fields }) };
}

const raftInput = {
  ...startingState(
    { id: "a", timings: { heartbeatMs: 100, electionMs: 1000 }, maxAppendEntries: 1, maxInflight: 1 },
    blankRaft({ voters: [["a", "b", "c"]], learners: [] }),
  ),
  ports: { now: () => 0, random: () => 0, mayLead: () => true, effects: [] },
};
const unexpected: string[] = [];
const worker = workerMachine.provide({
  actions: { register: () => {}, noteUnexpected: ({ event }) => void unexpected.push(event.type) },
});
const liveness = livenessMachine.provide({ actions: { declareLive: () => {}, declareDead: () => {} } });

/** Each machine, an event that its first state has no use for, and where it stands. */
const MACHINES: [AnyStateMachine, unknown, string, string][] = [
  [raftMachine, raftInput, "client.unheardOf", "follower.trusting"],
  [liveness, { suspectAfterMs: 1, deadAfterMs: 2, graceMs: 1, deaths: 0 }, "FORGET", "heard.unknown|duty.active"],
  [stewardMachine, { safeModeMs: 1, pauseMs: 1 }, "RESUME", "safeMode"],
  [repairMachine, { timeoutMs: 1 }, "COPIED", "queued"],
  [uploadMachine, { id: "1", path: "p", lengthBytes: 1, startedAt: 0 }, "COMMITTED", "opening"],
];

for (const [machine, input, type, state] of MACHINES)
  test(`an event that ${machine.id} does not take is told, with the state in which it stood`, () => {
    const { told, send } = watch(machine, input);
    expect(told).toEqual([]);
    send(type);
    expect(told).toEqual([
      { event: "event-ignored", machine: machine.id, actor: `${machine.id}:1`, type, state, untold: 0 },
    ]);
  });

test("worker has a root that takes what no state does, and tells it", () => {
  const { told, send } = watch(worker, { heartbeatMs: 1, orphanAfterMs: 1, drainMs: 1 });
  send("OPENED");
  send("OPENED");
  expect([told, unexpected]).toEqual([[], ["OPENED"]]);
});

test("what is taken, and what ordinary life brings late, is not told", () => {
  const raft = watch(raftMachine, raftInput);
  raft.send("host.late");
  raft.send("disk.flushed", { lastIndex: 9, lastTerm: 9, at: 0 });
  const steward = watch(stewardMachine, { safeModeMs: 1, pauseMs: 1 });
  for (const type of ["ALL_WELL", "ALL_REPORTED", "TROUBLE", "TROUBLE"]) steward.send(type);
  expect([raft.told, steward.told]).toEqual([[], []]);
});

test("a flood is told once a minute, with how many there were", () => {
  let now = 0;
  const { told, send } = watch(repairMachine, { timeoutMs: 1 }, () => now);
  for (let n = 0; n < 100_000; n++) send("COPIED");
  expect(told.map(({ untold }) => untold)).toEqual([0]);
  now += 60_000;
  send("COPIED");
  expect(told.map(({ untold }) => untold)).toEqual([0, 99_999]);
});
