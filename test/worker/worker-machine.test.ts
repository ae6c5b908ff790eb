import { expect, test } from "bun:test";
import { initialTransition, transition } from "xstate";
import { type WorkerEvent, workerMachine } from "../../actors/worker/worker.machine.ts";

const input = { heartbeatMs: 500, orphanAfterMs: 2000, drainMs: 5000 };
const REGISTERED = { type: "REGISTERED", term: 3, mode: "active", heartbeatMs: 100 } as const;
const silence = (silentMs: number) => ({ type: "LEADER_SILENT", silentMs, reason: "nobody there" }) as const;

/** Runs the events through the pure machine; answers the state and the names of what the last one asked for. */
function after(...events: WorkerEvent[]) {
  let [state, actions] = initialTransition(workerMachine, input);
  for (const event of events) [state, actions] = transition(workerMachine, state, event);
  return { state, asked: actions.map(({ type }) => type).filter((type) => !type.startsWith("xstate.")) };
}

test("a worker that opened its directory asks to be registered", () => {
  const { state, asked } = after({ type: "OPENED" });
  expect(state.value).toEqual({ registering: "asking" });
  expect(asked).toEqual(["register"]);
});

test("a registered worker compares its chunks and sends a heartbeat at once, in the leader's rhythm", () => {
  const { state, asked } = after({ type: "OPENED" }, REGISTERED);
  expect(state.value).toEqual({ serving: { disk: "normal", pulse: "beating" } });
  expect(asked).toEqual(["reconcile", "sendHeartbeat"]);
  expect(state.context).toMatchObject({ term: 3, heartbeatMs: 100, refusedBecause: null });
});

test("a short silence is waited out, a long one makes an orphan, and an answer ends that", () => {
  const asking: WorkerEvent[] = [{ type: "OPENED" }];
  expect(after(...asking, silence(100)).state.value).toEqual({ registering: "waiting" });
  expect(after(...asking, silence(2000)).state.value).toEqual({ orphaned: "waiting" });
  expect(after(...asking, silence(2000), REGISTERED).state.matches("serving")).toBeTrue();
  expect(after(...asking, REGISTERED, silence(100)).state.value).toEqual({
    serving: { disk: "normal", pulse: "resting" },
  });
  expect(after(...asking, REGISTERED, silence(2000)).state.value).toEqual({ orphaned: "waiting" });
});

test("an acknowledgement of a higher term leads to a new registration, one of the same does not", () => {
  const acknowledged = (term: number) => ({ type: "ACKNOWLEDGED", term, mode: "draining" }) as const;
  expect(after({ type: "OPENED" }, REGISTERED, acknowledged(4)).state.value).toEqual({ registering: "asking" });
  const same = after({ type: "OPENED" }, REGISTERED, acknowledged(3)).state;
  expect(same.value).toEqual({ serving: { disk: "normal", pulse: "resting" } });
  expect(same.context.mode).toBe("draining");
});

test("the disk's condition moves only within serving", () => {
  const disk = (condition: "normal" | "full" | "readOnly") => ({ type: "DISK", condition }) as const;
  const at = (...events: WorkerEvent[]) => after({ type: "OPENED" }, REGISTERED, ...events).state.value;
  expect(at(disk("full"))).toEqual({ serving: { disk: "full", pulse: "beating" } });
  expect(at(disk("full"), disk("readOnly"))).toEqual({ serving: { disk: "readOnly", pulse: "beating" } });
  expect(at(disk("readOnly"), disk("normal"))).toEqual({ serving: { disk: "normal", pulse: "beating" } });
  expect(after({ type: "OPENED" }, disk("full")).state.value).toEqual({ registering: "asking" });
});

test("from every state a stop drains and then stops", () => {
  for (const before of [
    [],
    [{ type: "OPENED" }],
    [{ type: "OPENED" }, REGISTERED],
    [{ type: "OPENED" }, silence(9999)],
  ]) {
    const draining = after(...(before as WorkerEvent[]), { type: "STOP" });
    expect(draining.state.value).toBe("draining");
    expect(draining.asked).toEqual(["finishWork"]);
    expect(after(...(before as WorkerEvent[]), { type: "STOP" }, { type: "DRAINED" }).state.status).toBe("done");
  }
});

test("no event is lost in silence: the unknown is noted", () => {
  expect(after({ type: "NOBODY_KNOWS" } as never).asked).toEqual(["noteUnexpected"]);
});
