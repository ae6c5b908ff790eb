/** Planted bugs must be found, or the simulation has lost its bite. */
import { expect, test } from "bun:test";
import { PLANTED_BUGS, SCRIPTED_BUGS } from "./planted-bugs.ts";
import { Violation } from "./raft-checks.ts";
import { isFailure, simulateRaft } from "./simulate-raft.ts";

const MOST_SEEDS = 120;
const STORM_MS = 8_000;

for (const { name, options, knobs, noticedBy } of PLANTED_BUGS)
  test(`a planted bug is found within ${MOST_SEEDS} seeds: ${name}`, () => {
    const rules: string[] = [];
    let lives = 0;
    let events = 0;
    for (let seed = 1; seed <= MOST_SEEDS && !rules.some((rule) => noticedBy.includes(rule)); seed++) {
      const life = simulateRaft(seed, { ...options, ...(knobs ? { knobs } : {}), stormMs: STORM_MS });
      lives++;
      if (isFailure(life)) rules.push(life.rule);
      else events += life.events;
    }
    console.log(`${lives} seeds from 1, ${events} events without a breach: ${rules.join(", ") || "nothing found"}`);
    expect(noticedBy).toContain(rules.at(-1) ?? "nothing found");
  });

for (const { name, run } of SCRIPTED_BUGS)
  test(`a planted bug breaks its script: ${name}`, () => {
    expect(() => void run()).toThrow(Violation);
  });
