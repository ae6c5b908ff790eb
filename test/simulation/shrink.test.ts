/** A failing life is worth more when it is small. */
import { expect, test } from "bun:test";
import { CALM, type Knobs } from "./knobs.ts";
import { PLANTED_BUGS } from "./planted-bugs.ts";
import { shrink } from "./shrink.ts";
import { type Failure, isFailure, simulateRaft } from "./simulate-raft.ts";

const troubles = (knobs: Knobs): number =>
  (Object.keys(CALM) as (keyof Knobs)[]).filter((name) => knobs[name] !== CALM[name]).length;

test("a failing seed is made smaller in time and weather, and still breaks the same rule", () => {
  const { options } = PLANTED_BUGS.find(({ name }) => name.includes("retransmission")) as (typeof PLANTED_BUGS)[number];
  let failure: Failure | undefined;
  for (let seed = 1; seed < 100 && !failure; seed++) {
    const life = simulateRaft(seed, options);
    if (isFailure(life)) failure = life;
  }
  const found = failure as Failure;
  const small = shrink(found, options);
  expect(small.rule).toBe(found.rule);
  expect(troubles(small.knobs)).toBeLessThan(troubles(found.knobs));
  expect(small.stormMs).toBeLessThan(found.stormMs);
  expect(simulateRaft(small.seed, { ...options, knobs: small.knobs, stormMs: small.stormMs })).toMatchObject({
    rule: found.rule,
    message: small.message,
  });
});
