/** Whole clusters in weather drawn by seed: as many lives as fit into the time, and planted bugs that must be found. */
import { expect, test } from "bun:test";
import { ddmin } from "./ddmin.ts";
import { liveMany } from "./lives.ts";
import { CLUSTERS, LifeThread } from "./system/lives.ts";
import type { Trouble } from "./system/nemesis.ts";
import type { SystemBug } from "./system/planted-bugs.ts";
import { STILL } from "./system/system-knobs.ts";

const FOR_MS = Number(Bun.env.SYSTEM_STORMS_MS ?? 90_000);
/** The same lives in each run of the tests; `bun run simulate --of clusters --minutes 10` goes where nobody has been. */
const SEED = Number(Bun.env.SEED ?? 1);
const MOST_LIVES = 18;
/** A life takes seconds; on a machine with much else to do, minutes. */
const LONG_MS = 1_800_000;
const MOST_SEEDS = 12;
const BUGS: Record<SystemBug, { noticedBy: string[] }> = {
  "strong reads are not confirmed, and a leader does not miss its majority": { noticedBy: ["I10"] },
  "a command that is sent again takes effect again": { noticedBy: ["I8", "I10", "I13", "surprise"] },
  "flushes of chunk files do not reach the disk": { noticedBy: ["I11", "I12"] },
};

test("the smallest part that fails is found by leaving pieces out", async () => {
  const fails = async (part: readonly number[]): Promise<boolean> => part.includes(3) && part.includes(17);
  expect(await ddmin([...Array(40).keys()], fails)).toEqual([3, 17]);
});

test("a seed lives the same life again", async () => {
  const thread = new LifeThread();
  const once = await thread.live({ seed: 7, stormMs: 8000 });
  expect(await thread.live({ seed: 7, stormMs: 8000 })).toEqual(once);
  thread.end();
});

test("F14. a gateway that is cut off from the leader alone serves on through another master, and its clients are told the truth", async () => {
  const knobs = { ...STILL, gateways: 1, clients: 5, pauseMs: 50 };
  const stormMs = 8000;
  const cut = { atMs: 6500, kind: "cutOffGateway", whom: 0.5, forMs: stormMs } as const;
  const thread = new LifeThread();
  const live = (plan: Trouble[]) => thread.live({ seed: 3, knobs, plan, stormMs }, LONG_MS);
  const [whole, cutOff] = [await live([]), await live([cut])];
  thread.end();
  for (const life of [whole, cutOff]) if (!life || "rule" in life) throw new Error(life?.message ?? "not over in time");
  const operations = (life: typeof whole) => (life && "operations" in life ? life.operations : 0);
  expect(operations(cutOff) / operations(whole)).toBeGreaterThan(0.5);
});

for (const [bug, { noticedBy }] of Object.entries(BUGS) as [SystemBug, { noticedBy: string[] }][])
  test(`a bug planted in a whole cluster is found within ${MOST_SEEDS} seeds: ${bug}`, async () => {
    const thread = new LifeThread();
    const found: string[] = [];
    for (let seed = 1; seed <= MOST_SEEDS && !found.some((rule) => noticedBy.includes(rule)); seed++) {
      const life = await thread.live({ seed, bug });
      if (life && "rule" in life) found.push(life.rule);
    }
    thread.end();
    expect(noticedBy).toContain(found.at(-1) ?? "nothing found");
  });

test(`whole clusters lose nothing, tell the truth and come right in any weather, from seed ${SEED} on`, async () => {
  const until = performance.now() + FOR_MS;
  const wantsMore = (begun: number): boolean => performance.now() < until && begun < MOST_LIVES;
  const { lives, counts, failures, givenUp } = await liveMany(CLUSTERS, { from: SEED, wantsMore });
  console.log(
    `${lives} whole clusters from seed ${SEED}: ${JSON.stringify(counts)}, given up: ${givenUp.join() || "none"}`,
  );
  expect(
    failures.map(({ seed, failure }) => `SEED=${seed} bun run simulate --of clusters: ${failure.message}`),
  ).toEqual([]);
  expect(lives - givenUp.length).toBeGreaterThan(0);
});
