/** Masters in weather drawn by seed: as many lives as fit into the time, and those that once found a bug. */
import { expect, test } from "bun:test";
import type { Knobs } from "./knobs.ts";
import { type Failure, isFailure, STORM_MS, simulateRaft } from "./simulate-raft.ts";

/** A life that once broke a rule: `seeds/<name>.json`. */
interface KeptSeed {
  seed: number;
  found: string;
  knobs: Partial<Knobs>;
  stormMs?: number;
}

const FOR_MS = Number(Bun.env.STORMS_MS ?? 60_000);
const SEED = Number(Bun.env.SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);

const told = ({ seed, message, atMs }: Failure): string =>
  `seed ${seed} breaks ${message} at ${Math.round(atMs)} ms; replay: SEED=${seed} bun run simulate`;

test(
  `no rule of Raft breaks in any weather, and calm brings agreement  SEED=${SEED}`,
  () => {
    const until = performance.now() + FOR_MS;
    const failures: string[] = [];
    let lives = 0;
    let events = 0;
    let cutShort = 0;
    for (let seed = SEED; lives === 0 || performance.now() < until; seed = (seed + 1) >>> 0) {
      const life = simulateRaft(seed);
      lives++;
      if (isFailure(life)) failures.push(told(life));
      else {
        events += life.events;
        if (life.cutShort) cutShort++;
      }
    }
    console.log(`${lives} seeds from ${SEED}, ${events} events, ${cutShort} cut short`);
    expect(failures).toEqual([]);
    expect(cutShort).toBeLessThanOrEqual(Math.max(2, lives / 20));
  },
  FOR_MS + 60_000,
);

const folder = new URL("seeds", import.meta.url).pathname;
for (const file of [...new Bun.Glob("*.json").scanSync(folder)].sort()) {
  const { seed, found, knobs, stormMs = STORM_MS }: KeptSeed = await Bun.file(`${folder}/${file}`).json();
  test(`kept seed ${seed} finds no longer: ${found}`, () => {
    const life = simulateRaft(seed, { knobs, stormMs });
    expect(isFailure(life) ? told(life) : "no rule broken").toBe("no rule broken");
  }, 60_000);
}
