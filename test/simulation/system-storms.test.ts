/** Whole clusters in weather drawn by seed, and planted bugs that must be found. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { ddmin } from "./ddmin.ts";
import { type Lived, liveMany } from "./lives.ts";
import { MASTERS } from "./masters-lives.ts";
import { CLUSTERS, clustersIn, LifeThread } from "./system/lives.ts";
import type { Trouble } from "./system/nemesis.ts";
import type { SystemBug } from "./system/planted-bugs.ts";
import { STILL, TRASH_WEATHER } from "./system/system-knobs.ts";
import type { Evaluations } from "./thread-report.ts";

/** About a minute and a half on two quiet cores. */
const LIVES = Number(Bun.env.LIVES ?? 14);
/** The same lives in each run of the tests; `bun run simulate --of clusters --minutes 10` goes where nobody has been. */
const SEED = Number(Bun.env.SEED ?? 1);
const TRASH_LIVES = 10;
/** In some of them a row is behind its file when its disk is well again. */
const DISK_LIVES = 4;
/** So many that a log with an unfinished change of members is cut off in some. */
const MASTERS_LIVES = 104;
/** A life takes seconds; on a machine with much else to do, minutes. */
const LONG_MS = 1_800_000;
const MOST_SEEDS = 12;
const BUGS: Record<SystemBug, { noticedBy: string[] }> = {
  "strong reads are not confirmed, and a leader does not miss its majority": { noticedBy: ["I10"] },
  "a command that is sent again takes effect again": { noticedBy: ["I8", "I10", "I13", "surprise"] },
  "flushes of chunk files do not reach the disk": { noticedBy: ["I11", "I12"] },
  "a check waits in microtasks for the row of a file that lies in the trash already": { noticedBy: ["starved"] },
  "a sweep waits in a loop for files that only another turn removes": { noticedBy: ["starved"] },
  "an invariant breaks, and what it throws is caught": { noticedBy: ["invariant"] },
};
/** What the messages of those must name, besides the rule. */
const TOLD: Partial<Record<SystemBug, RegExp>> = {
  "a check waits in microtasks for the row of a file that lies in the trash already": /worker-\d .*scrub/,
  "a sweep waits in a loop for files that only another turn removes": /what began last: upkeep/,
  "an invariant breaks, and what it throws is caught": /worker-\d: .*planted: chunks <= 3 {"chunkCount":\d+}/,
};

const evaluations: Evaluations = {};
function tell({ lives, counts, givenUp, evaluations: asked }: Lived, what: string): void {
  console.log(`${lives} ${what}: ${JSON.stringify(counts)}, given up: ${givenUp.join() || "none"}`);
  for (const [claim, count] of Object.entries(asked)) evaluations[claim] = (evaluations[claim] ?? 0) + count;
}
const breaches = ({ failures }: Lived, weather = ""): string[] =>
  failures.map(({ seed, failure }) => `SEED=${seed} bun run simulate --of clusters${weather}: ${failure.message}`);

let storm: Promise<Lived> | undefined;
const stormOnce = (): Promise<Lived> => {
  storm ??= liveMany(CLUSTERS, { from: SEED, wantsMore: (begun) => begun < LIVES });
  return storm;
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
    const found: { rule: string; message: string }[] = [];
    let seed = 0;
    while (seed < MOST_SEEDS && !found.some(({ rule }) => noticedBy.includes(rule))) {
      const life = await thread.live({ seed: ++seed, bug });
      if (life && "rule" in life) found.push(life);
    }
    thread.end();
    console.log(`${seed} seeds from 1: ${found.map(({ message }) => message.split("\n")[0]).join("; ") || "nothing"}`);
    expect(noticedBy).toContain(found.at(-1)?.rule ?? "nothing found");
    expect(found.at(-1)?.message).toMatch(TOLD[bug] ?? /./);
  });

test(`F1. ${TRASH_LIVES} whole clusters that adopt, trash and read back at once, while power fails, hang nowhere`, async () => {
  const weather = clustersIn({ knobs: TRASH_WEATHER, stormMs: 10_000 });
  const lived = await liveMany(weather, { from: SEED, wantsMore: (begun) => begun < TRASH_LIVES });
  tell(lived, `whole clusters full of litter from seed ${SEED}`);
  expect(breaches(lived, ", in TRASH_WEATHER")).toEqual([]);
  expect([lived.lives, lived.givenUp]).toEqual([TRASH_LIVES, []]);
});

test(`whole clusters lose nothing, tell the truth and come right in any weather, from seed ${SEED} on`, async () => {
  const lived = await stormOnce();
  tell(lived, `whole clusters from seed ${SEED}`);
  expect(breaches(lived)).toEqual([]);
  expect([lived.lives, lived.givenUp]).toEqual([LIVES, []]);
});

test(`${DISK_LIVES} whole clusters whose disks fail and are well again, while copies go bad, lose nothing and come right`, async () => {
  const knobs = { ...TRASH_WEATHER, diskEveryMs: 700, corruptEveryMs: 600, powerEveryMs: 0, crashEveryMs: 0 };
  const lived = await liveMany(clustersIn({ knobs, stormMs: 10_000 }), {
    from: SEED,
    wantsMore: (begun) => begun < DISK_LIVES,
  });
  tell(lived, `whole clusters with failing disks from seed ${SEED}`);
  expect(breaches(lived, ", with failing disks")).toEqual([]);
  expect([lived.lives, lived.givenUp]).toEqual([DISK_LIVES, []]);
});

/** Claims of declared invariants, also of modules that no simulation loads; those with computed names come with the lives. */
function declaredClaims(): string[] {
  const root = resolve(import.meta.dir, "../..");
  const sources = [...new Bun.Glob("{actors,databases,gateway}/**/*.ts").scanSync({ cwd: root })]
    .filter((file) => file !== "actors/rules/invariant.ts" && !file.includes("node_modules"))
    .map((file) => readFileSync(resolve(root, file), "utf8"));
  return sources.flatMap((source) =>
    [...source.matchAll(/declareInvariant\(\s*"([^"]+)"/g)].map((match) => match[1] as string),
  );
}

test("every declared invariant was asked in these lives", async () => {
  await stormOnce();
  tell(await liveMany(MASTERS, { from: SEED, wantsMore: (begun) => begun < MASTERS_LIVES }), "groups of masters");
  for (const [claim, count] of Object.entries((await stormOnce()).evaluations))
    evaluations[claim] = Math.max(evaluations[claim] ?? 0, count);
  console.log(`invariants: ${JSON.stringify(evaluations)}`);
  const claims = new Set(["simulator: time never falls", ...declaredClaims(), ...Object.keys(evaluations)]);
  expect([...claims].filter((claim) => !evaluations[claim])).toEqual([]);
});
