/** Which commands are proposed together. */
import { expect, test } from "bun:test";
import { Proposals } from "../../actors/master/group/proposals.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { ManualClock } from "../support/manual-clock.ts";

/** A leader that takes everything, and commits when it is told to. */
function leader() {
  const clock = new ManualClock();
  const rounds: number[] = [];
  let index = 0;
  const proposals: Proposals = new Proposals({
    clock,
    propose: (entries) => {
      rounds.push(entries.length);
      proposals.proposed(index + 1, entries.length, 1);
      index += entries.length;
    },
    notLeader: () => new Refusal("NOT_LEADER", "not here"),
  });
  const add = (count: number) =>
    Promise.all(Array.from({ length: count }, () => proposals.add("NOOP", new Uint8Array(1))));
  const commit = (from: number, to: number) => {
    for (let n = from; n <= to; n++) proposals.applied(n, 1, { ok: true, value: null });
  };
  return { clock, rounds, proposals, add, commit };
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("commands of one turn are proposed together, at once when nothing is on its way", async () => {
  const { rounds, add, commit } = leader();
  const done = add(3);
  await turn();
  expect(rounds).toEqual([3]);
  commit(1, 3);
  expect(await done).toHaveLength(3);
});

test("what comes while others are on their way is proposed together, as soon as these are committed", async () => {
  const { rounds, add, commit } = leader();
  const first = add(2);
  await turn();
  const later = [add(1)];
  await turn();
  later.push(add(2));
  await turn();
  expect(rounds).toEqual([2]);
  commit(1, 1);
  await turn();
  expect(rounds).toEqual([2]);
  commit(2, 2);
  await turn();
  expect(rounds).toEqual([2, 3]);
  commit(3, 5);
  await Promise.all([first, ...later]);
});

test("a commit that takes long holds up nobody for more than a few milliseconds", async () => {
  const { clock, rounds, add, commit } = leader();
  const first = add(1);
  await turn();
  const second = add(1);
  await turn();
  expect(rounds).toEqual([1]);
  clock.pass(5);
  await turn();
  expect(rounds).toEqual([1, 1]);
  commit(1, 2);
  await Promise.all([first, second]);
});

test("nobody goes on gathering when another master leads, or this one stops", async () => {
  for (const end of ["deposed", "close"] as const) {
    const { proposals, add } = leader();
    const all = [add(1)];
    await turn();
    all.push(add(1));
    await turn();
    const codes = Promise.all(all.map((one) => one.catch((error) => error.code)));
    proposals[end](new Refusal("NOT_READY", "This master is stopping"));
    await turn();
    if (end === "close") expect(await codes).toEqual(["NOT_READY", "NOT_READY"]);
    else expect(proposals.size).toBe(1);
  }
});
