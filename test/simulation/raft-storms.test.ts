/** Masters in weather drawn by seed: as many lives as fit into the time, and those that once found a bug. */
import { expect, test } from "bun:test";
import { availableParallelism } from "node:os";
import type { Knobs } from "./knobs.ts";
import { type Failure, isFailure, type Run, STORM_MS, simulateRaft } from "./simulate-raft.ts";

/** A life that once broke a rule: `seeds/<name>.json`. */
interface KeptSeed {
  seed: number;
  found: string;
  knobs: Partial<Knobs>;
  stormMs?: number;
}

const FOR_MS = Number(Bun.env.STORMS_MS ?? 60_000);
const SEED = Number(Bun.env.SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);

const tell = ({ seed, message, atMs }: Failure): string =>
  `seed ${seed} breaks ${message} at ${Math.round(atMs)} ms; replay: SEED=${seed} bun run simulate`;

/** A life that is not over by then is given up, with its worker. */
const PATIENCE_MS = 30_000;

/** Lives one seed after the other, on all cores, until the time is up. */
async function liveThroughStorms(firstSeed: number, forMs: number) {
  const until = performance.now() + forMs;
  const told: { lives: number; events: number; failures: string[]; givenUp: number[] } = {
    lives: 0,
    events: 0,
    failures: [],
    givenUp: [],
  };
  let next = firstSeed;
  const live = async () => {
    while (performance.now() < until) {
      const worker = new Worker(new URL("./simulate-worker.ts", import.meta.url).href);
      try {
        while (performance.now() < until) {
          const seed = next;
          next = (next + 1) >>> 0;
          const life = await lifeOf(worker, seed);
          told.lives++;
          if (life === null) {
            told.givenUp.push(seed);
            break;
          }
          if (isFailure(life)) told.failures.push(tell(life));
          else {
            told.events += life.events;
            if (life.cutShort) told.givenUp.push(seed);
          }
        }
      } finally {
        worker.terminate();
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, live));
  return told;
}

/** @returns null if it takes too long */
function lifeOf(worker: Worker, seed: number): Promise<Run | Failure | null> {
  const { promise, resolve, reject } = Promise.withResolvers<Run | Failure | null>();
  const timer = setTimeout(() => resolve(null), PATIENCE_MS);
  worker.onmessage = ({ data }: MessageEvent<Run | Failure>) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(`seed ${seed}: ${message}`));
  worker.postMessage(seed);
  return promise.finally(() => clearTimeout(timer));
}

test(
  `no rule of Raft breaks in any weather, and calm brings agreement  SEED=${SEED}`,
  async () => {
    const { lives, events, failures, givenUp } = await liveThroughStorms(SEED, FOR_MS);
    console.log(`${lives} seeds from ${SEED}, ${events} events, given up: ${givenUp.join(", ") || "none"}`);
    expect(failures).toEqual([]);
    expect(givenUp.length).toBeLessThanOrEqual(Math.max(2, lives / 20));
  },
  FOR_MS + 2 * PATIENCE_MS,
);

const folder = new URL("seeds", import.meta.url).pathname;
for (const file of [...new Bun.Glob("*.json").scanSync(folder)].sort()) {
  const { seed, found, knobs, stormMs = STORM_MS }: KeptSeed = await Bun.file(`${folder}/${file}`).json();
  test(`kept seed ${seed} finds no longer: ${found}`, () => {
    const life = simulateRaft(seed, { knobs: { membershipEveryMs: 0, spares: 0, ...knobs }, stormMs });
    expect(isFailure(life) ? tell(life) : "no rule broken").toBe("no rule broken");
  }, 60_000);
}
