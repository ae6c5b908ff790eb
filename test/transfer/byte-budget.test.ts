/** The queue of those that wait for memory. */
import { expect, test } from "bun:test";
import { BlockBuffers } from "../../gateway/transfer/buffers.ts";
import { ByteBudget } from "../../gateway/transfer/byte-budget.ts";

const present = new AbortController().signal;
/** Settles what is ready to be settled. */
const turn = () => new Promise(setImmediate);

function budgetWithQueue(limit: number) {
  const budget = new ByteBudget(limit);
  const granted: string[] = [];
  const ask = (name: string, bytes: number, signal = present) =>
    budget.take(bytes, signal).then(
      () => granted.push(name),
      (error) => granted.push(`${name}: ${error.message}`),
    );
  return { budget, granted, ask };
}

test("those that wait are served in order of asking, and none passes by", async () => {
  const { budget, granted, ask } = budgetWithQueue(10);
  void ask("a", 8);
  void ask("b", 6);
  void ask("c", 1);
  expect(budget.tryTake(1)).toBe(false);
  await turn();
  expect(granted).toEqual(["a"]);
  budget.give(8);
  await turn();
  expect(granted).toEqual(["a", "b", "c"]);
  expect(budget.inUseBytes).toBe(7);
});

test("one that leaves the queue takes nothing, and those behind it are served", async () => {
  const { budget, granted, ask } = budgetWithQueue(10);
  const client = new AbortController();
  void ask("a", 5);
  void ask("b", 8, client.signal);
  void ask("c", 5);
  client.abort(new Error("gone"));
  await turn();
  expect(granted.toSorted()).toEqual(["a", "b: gone", "c"]);
  expect([budget.inUseBytes, budget.waitingCount]).toEqual([10, 0]);
  void ask("d", 1, client.signal);
  await turn();
  expect(granted).toContain("d: gone");
  expect(budget.inUseBytes).toBe(10);
});

test("what is larger than the limit is granted when nothing else is held", async () => {
  const { budget, granted, ask } = budgetWithQueue(10);
  void ask("small", 1);
  void ask("large", 20);
  await turn();
  expect(granted).toEqual(["small"]);
  budget.give(1);
  await turn();
  expect([granted, budget.inUseBytes]).toEqual([["small", "large"], 20]);
});

test("an upload gets a block at once if it has none, and waits for another while memory is full", async () => {
  const buffers = new BlockBuffers(64, 128);
  const [first, second] = [buffers.share(), buffers.share()];
  const held = [await first.take(64, present), await first.take(64, present)];
  const own = await second.take(64, present);
  expect(buffers.inUseBytes).toBe(3 * 64);
  let got: Uint8Array | null = null;
  void second.take(64, present).then((buffer) => {
    got = buffer;
  });
  await turn();
  expect(got).toBeNull();
  second.give(own);
  await turn();
  expect(got).not.toBeNull();
  for (const buffer of held) first.give(buffer);
  second.give(got as unknown as Uint8Array<ArrayBuffer>);
  expect(buffers.inUseBytes).toBe(0);
});

test("small buffers count for as much as they are long", async () => {
  const buffers = new BlockBuffers(64, 128);
  const share = buffers.share();
  const [stage, small] = [share.stage(7), await share.take(16, present)];
  expect([stage.length, small.length, buffers.inUseBytes]).toEqual([7, 16, 23]);
  share.give(stage);
  share.give(small);
  expect(buffers.inUseBytes).toBe(0);
});
