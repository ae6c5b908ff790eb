/**
 * The scenarios that this system has to get right are numbered, and a test that shows one begins with its number: `53. …`,
 * `53b. …`. Their list in `test/README.md` is made from the titles.
 */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { LAST, README, scenarios, withScenarios } from "./scenarios.ts";

if (Bun.env.UPDATE_README) writeFileSync(README, withScenarios(readFileSync(README, "utf8")));

test("every scenario is shown by a test, and no test claims a number that none has", () => {
  const shown = new Set(scenarios().map(({ number }) => number));
  expect([...shown]).toEqual(Array.from({ length: LAST }, (_, n) => n + 1));
});

test("every label of a scenario stands for one test", () => {
  const labels = scenarios().map(({ label, file }) => (label.includes("…") ? `${label} ${file}` : label));
  expect(labels.filter((label, n) => labels.indexOf(label) !== n)).toEqual([]);
});

test("test/README.md lists the scenarios as the titles have them (UPDATE_README=1 writes the list)", () => {
  const readme = readFileSync(README, "utf8");
  expect(readme).toBe(withScenarios(readme));
});
