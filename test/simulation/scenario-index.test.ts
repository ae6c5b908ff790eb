/**
 * The scenarios that this system has to get right are numbered 1 to 68, and a test that shows one begins with its number:
 * `53. …`, `53b. …`. This test keeps them complete: each number is a test somewhere, or has a reason why it cannot be.
 */
import { expect, test } from "bun:test";
import { join, resolve } from "node:path";

const LAST = 68;

/** Scenarios that this design leaves no room for, each with the reason. */
const NOT_APPLICABLE: Record<number, string> = {};

const ROOT = resolve(import.meta.dir, "../..");
const NUMBERED = /\btest(?:\.\w+)*(?:\([^()]*\))?\(\s*["'`](\d+)[a-z]{0,2}\. /g;

async function scenariosShown(): Promise<Map<number, string[]>> {
  const shown = new Map<number, string[]>();
  for await (const file of new Bun.Glob("test/**/*.test.ts").scan({ cwd: ROOT }))
    for (const [, number] of (await Bun.file(join(ROOT, file)).text()).matchAll(NUMBERED))
      shown.set(Number(number), [...(shown.get(Number(number)) ?? []), file]);
  return shown;
}

test("every scenario is a test, or has a reason why it cannot be one", async () => {
  const shown = await scenariosShown();
  const numbers = Array.from({ length: LAST }, (_, n) => n + 1);
  const missing = numbers.filter((n) => !shown.has(n) && !(n in NOT_APPLICABLE));
  expect(missing).toEqual([]);
  expect([...shown.keys()].filter((n) => n < 1 || n > LAST || n in NOT_APPLICABLE)).toEqual([]);
  for (const reason of Object.values(NOT_APPLICABLE)) expect(reason.length).toBeGreaterThan(20);
});
