import { expect, test } from "bun:test";
import { blockCount, blockRun, overlap } from "../../actors/rules/byte-range.ts";
import { chooseRoute } from "../../actors/rules/redundancy/route.ts";

const workers = ["a", "b", "c"];

test("auto sends blocks of a large chunk along a chain, and a small file to each worker at once", () => {
  const question = { setting: "auto", workers, chainBroke: false } as const;
  expect(chooseRoute({ ...question, sealing: false })).toEqual([["a", "b", "c"]]);
  expect(chooseRoute({ ...question, sealing: true })).toEqual([["a"], ["b"], ["c"]]);
});

test("config.json can force either route", () => {
  const question = { workers, sealing: false, chainBroke: false } as const;
  expect(chooseRoute({ ...question, setting: "fanout" })).toEqual([["a"], ["b"], ["c"]]);
  expect(chooseRoute({ ...question, setting: "chain", sealing: true })).toEqual([["a", "b", "c"]]);
});

test("after a chain broke, every worker answers for itself", () => {
  for (const setting of ["auto", "chain", "fanout"] as const)
    expect(chooseRoute({ setting, workers, sealing: false, chainBroke: true })).toEqual([["a"], ["b"], ["c"]]);
});

test("no workers, no requests", () => {
  expect(chooseRoute({ setting: "auto", workers: [], sealing: false, chainBroke: false })).toEqual([]);
});

test("a range is cut out of runs of whole blocks, exactly", () => {
  const lengthBytes = 25;
  const content = Uint8Array.from({ length: lengthBytes }, (_, n) => n);
  for (const most of [1, 2, 3])
    for (let from = 0; from < lengthBytes; from++)
      for (let to = from + 1; to <= lengthBytes; to++) {
        const pieces: number[] = [];
        for (let at = from; at < to; ) {
          const run = blockRun(lengthBytes, 10, at, to, most);
          expect(run.count).toBeLessThanOrEqual(most);
          const blocks = content.subarray(run.first * 10, (run.first + run.count) * 10);
          expect(blocks.length).toBe(run.lengthBytes);
          pieces.push(...blocks.subarray(run.from, run.to));
          at += run.to - run.from;
        }
        expect(pieces).toEqual([...content.subarray(from, to)]);
      }
});

test("a chunk and a range overlap in the bytes that both have", () => {
  const chunk = { offset: 100, lengthBytes: 50 };
  expect(overlap(chunk, 0, 1000)).toEqual({ from: 0, to: 50 });
  expect(overlap(chunk, 110, 120)).toEqual({ from: 10, to: 20 });
  expect(overlap(chunk, 149, 150)).toEqual({ from: 49, to: 50 });
  expect(overlap(chunk, 150, 160)).toBeNull();
  expect(overlap(chunk, 0, 100)).toBeNull();
});

test("the last block may be short, and an empty chunk has none", () => {
  expect([0, 1, 10, 11].map((length) => blockCount(length, 10))).toEqual([0, 1, 1, 2]);
});
