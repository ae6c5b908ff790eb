import { expect, test } from "bun:test";
import { type Actor, createActor, SimulatedClock } from "xstate";
import { livenessMachine } from "../../actors/master/leading/liveness.machine.ts";

/** A watched worker under a clock that the test turns, in small ticks. */
function watch({ suspectAfterMs = 200, deadAfterMs = 800, graceMs = 1000 } = {}) {
  const clock = new SimulatedClock();
  const verdicts: string[] = [];
  const actor: Actor<typeof livenessMachine> = createActor(
    livenessMachine.provide({
      actions: { declareLive: () => verdicts.push("live"), declareDead: () => verdicts.push("dead") },
    }),
    { clock, input: { workerId: "w1", suspectAfterMs, deadAfterMs, graceMs, deaths: 0, mode: "active" } },
  ).start();
  return {
    verdicts,
    silence(ms: number) {
      for (let passed = 0; passed < ms; passed += 10) clock.increment(10);
    },
    heartbeat: () => actor.send({ type: "HEARTBEAT" }),
    send: actor.send.bind(actor),
    heard() {
      const { heard } = actor.getSnapshot().value;
      return typeof heard === "object" ? "live" : heard;
    },
    duty: () => actor.getSnapshot().value.duty,
  };
}

test("silence makes a worker suspect, then dead; a heartbeat brings it back from either", () => {
  const worker = watch();
  worker.heartbeat();
  worker.silence(190);
  expect(worker.heard()).toBe("live");
  worker.silence(20);
  expect(worker.heard()).toBe("suspect");
  worker.heartbeat();
  expect(worker.heard()).toBe("live");
  worker.silence(820);
  expect(worker.heard()).toBe("dead");
  worker.heartbeat();
  expect(worker.heard()).toBe("live");
  expect(worker.verdicts).toEqual(["live", "live", "dead", "live"]);
});

test("every heartbeat starts the silence anew", () => {
  const worker = watch();
  for (let n = 0; n < 20; n++) {
    worker.heartbeat();
    worker.silence(150);
    expect(worker.heard()).toBe("live");
  }
});

test("34. a new leader gives a worker it has not heard the full grace", () => {
  const worker = watch();
  worker.silence(990);
  expect(worker.heard()).toBe("unknown");
  worker.silence(20);
  expect(worker.heard()).toBe("dead");
});

test("33. a leader that was late itself counts nobody's silence", () => {
  const worker = watch();
  worker.heartbeat();
  worker.silence(190);
  worker.send({ type: "LEADER_WAS_LATE" });
  worker.silence(190);
  expect(worker.heard()).toBe("live");
});

test("36. a worker that keeps dying is given more time before the next repair", () => {
  const worker = watch();
  const silenceUntilDead = () => {
    worker.heartbeat();
    for (let ms = 10; ms < 10_000; ms += 10) {
      worker.silence(10);
      if (worker.heard() === "dead") return ms;
    }
    return Number.POSITIVE_INFINITY;
  };
  const patience = [1, 2, 3, 4, 5].map(silenceUntilDead);
  expect(patience).toEqual([800, 1400, 2000, 2600, 3200]);
});

test("in maintenance silence is suspected but nobody is declared dead; afterwards the clock starts again", () => {
  const worker = watch();
  worker.heartbeat();
  worker.send({ type: "MODE", mode: "maintenance" });
  worker.silence(5000);
  expect([worker.heard(), worker.duty()]).toEqual(["suspect", "maintenance"]);
  worker.send({ type: "MODE", mode: "active" });
  worker.silence(590);
  expect(worker.heard()).toBe("suspect");
  worker.silence(20);
  expect(worker.heard()).toBe("dead");
});

test.each(["draining", "maintenance", "removed", "active"] as const)(
  "%s is a duty of its own, beside being heard",
  (mode) => {
    const worker = watch();
    worker.send({ type: "MODE", mode });
    worker.heartbeat();
    expect([worker.heard(), worker.duty()]).toEqual(["live", mode]);
  },
);
