/** Masters in weather drawn by seed: a number of lives from a fresh seed, and those that once found a bug. */
import { expect, test } from "bun:test";
import { Invariant } from "../../actors/rules/invariant.ts";
import type { Knobs } from "./knobs.ts";
import { liveMany } from "./lives.ts";
import { MASTERS } from "./masters-lives.ts";
import { type Failure, isFailure, STORM_MS, simulateRaft } from "./simulate-raft.ts";

/** A life that once broke a rule: `seeds/<name>.json`. */
interface KeptSeed {
  seed: number;
  found: string;
  knobs: Partial<Knobs>;
  stormMs?: number;
}

/** About a minute on two quiet cores. */
const LIVES = Number(Bun.env.LIVES ?? 160);
const SEED = Number(Bun.env.SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);

const tell = ({ seed, message, atMs }: Pick<Failure, "seed" | "message" | "atMs">): string =>
  `seed ${seed} breaks ${message} at ${Math.round(atMs)} ms; replay: SEED=${seed} bun run simulate`;

test(`no rule of Raft breaks in any weather, and calm brings agreement  SEED=${SEED}`, async () => {
  const wantsMore = (begun: number): boolean => begun < LIVES;
  const { lives, counts, failures, givenUp } = await liveMany(MASTERS, { from: SEED, wantsMore });
  console.log(`${lives} seeds from ${SEED}, ${counts.events} events, given up: ${givenUp.join(", ") || "none"}`);
  expect(failures.map(({ seed, failure }) => tell({ seed, ...failure }))).toEqual([]);
  expect(givenUp.length).toBeLessThanOrEqual(Math.max(2, lives / 20));
});

test("an invariant that breaks fails its life with claim, values and master, also where the exception is caught", () => {
  const planted: Invariant = new Invariant("planted: term < 1");
  const life = simulateRaft(1, {
    stormMs: 5000,
    prepare: (group) => {
      group.onSend = ({ term }) => {
        try {
          planted.check(term < 1, { term });
        } catch {}
      };
    },
  });
  expect(life).toMatchObject({
    rule: "invariant",
    message: expect.stringMatching(/^invariant: m\d: invariant broken: planted: term < 1 {"term":\d+}$/),
  });
});

const folder = new URL("seeds", import.meta.url).pathname;
for (const file of [...new Bun.Glob("*.json").scanSync(folder)].sort()) {
  const { seed, found, knobs, stormMs = STORM_MS }: KeptSeed = await Bun.file(`${folder}/${file}`).json();
  test(`kept seed ${seed} finds no longer: ${found}`, () => {
    const life = simulateRaft(seed, { knobs: { membershipEveryMs: 0, spares: 0, ...knobs }, stormMs });
    expect(isFailure(life) ? tell(life) : "no rule broken").toBe("no rule broken");
  });
}
