/** When a follower campaigns: an election time after it last heard its leader, though it sets its timer seldom. */
import { expect, test } from "bun:test";
import { RaftDriver } from "../../actors/master/group/raft-driver.ts";
import type { RaftMessage } from "../../actors/messages/raft.ts";
import { blankRaft, stillPorts } from "../support/blank-raft.ts";
import { ManualClock } from "../support/manual-clock.ts";

const THREE = { voters: [["a", "b", "c"]], learners: [] };
const TIMINGS = { heartbeatMs: 100, electionMs: 1000 };
/** Drawn from [electionMs, 2 × electionMs) by chance, which is the middle here. */
const DRAWN_MS = 1500;

class CountingClock extends ManualClock {
  timers = 0;

  override setTimeout(ring: () => void, ms: number): number {
    this.timers++;
    return super.setTimeout(ring, ms);
  }
}

function follower() {
  const clock = new CountingClock();
  const asked: number[] = [];
  const ports = stillPorts({
    clock,
    send: ({ type, to }) => type === "rpc.preVote" && to === "b" && asked.push(clock.now()),
  });
  const driver = new RaftDriver("a", blankRaft(THREE), TIMINGS, ports);
  driver.start();
  const hear = (message: Partial<RaftMessage>): void =>
    driver.receive({ from: "b", to: "a", term: 1, commit: 0, readSeq: 0, ...message } as RaftMessage);
  return { clock, driver, hear, asked };
}

test("while beats come it does not campaign, and after the last one it does when its time is up", () => {
  const { clock, driver, hear, asked } = follower();
  for (let beats = 0; beats < 100; beats++) {
    hear({ type: "rpc.beat" });
    clock.pass(TIMINGS.heartbeatMs);
  }
  expect([asked, driver.role]).toEqual([[], "follower"]);
  const lastHeardAt = clock.now() - TIMINGS.heartbeatMs;
  clock.pass(5000);
  expect(asked[0]).toBe(lastHeardAt + DRAWN_MS);
});

test("a timer is set once in the shortest election time, not once a beat", () => {
  const { clock, hear } = follower();
  for (let beats = 0; beats < 300; beats++) {
    hear({ type: "rpc.beat" });
    clock.pass(TIMINGS.heartbeatMs);
  }
  expect(clock.timers).toBeLessThan(300 / (TIMINGS.electionMs / TIMINGS.heartbeatMs - 2));
});

test("a vote that it gives has it wait for what comes of it", () => {
  const { clock, driver, hear, asked } = follower();
  clock.pass(DRAWN_MS - 1);
  hear({ type: "rpc.vote", term: 1, lastIndex: 0, lastTerm: 0, transfer: false });
  const gaveAt = clock.now();
  expect(driver.state.vote).toBe("b");
  clock.pass(DRAWN_MS - 1);
  expect(asked).toEqual([]);
  clock.pass(1);
  expect(asked).toEqual([gaveAt + DRAWN_MS]);
});

test("a later term alone does not have it wait anew", () => {
  const { clock, driver, hear, asked } = follower();
  const startedAt = clock.now();
  clock.pass(DRAWN_MS - 1);
  hear({ type: "rpc.voteReply", term: 7, granted: false });
  expect(driver.state.term).toBe(7);
  clock.pass(1);
  expect(asked).toEqual([startedAt + DRAWN_MS]);
});
