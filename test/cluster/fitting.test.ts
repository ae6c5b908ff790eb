/** How many of those that wait share a message, a flush or a transaction. */
import { expect, test } from "bun:test";
import { fitting } from "../../actors/rules/fitting.ts";

const count = (sizes: number[], mostBytes: number, most?: number): number =>
  fitting(sizes, (size) => size, mostBytes, most);

test("as many as fit go together, from the first on", () => {
  expect(count([], 10)).toBe(0);
  expect(count([3, 3, 3], 10)).toBe(3);
  expect(count([3, 3, 4], 10)).toBe(3);
  expect(count([3, 3, 5], 10)).toBe(2);
  expect(count([5, 100, 1], 10)).toBe(1);
});

test("one goes at least, however long it is, and no more than may", () => {
  expect(count([100, 1], 10)).toBe(1);
  expect(count([1, 1, 1], 10, 2)).toBe(2);
  expect(count([1, 1, 1], 10, 3)).toBe(3);
});
