/**
 * `bun run simulate`: lives in weather drawn by seed, as many as wanted, on all cores.
 *
 *     bun run simulate --seeds 1000 --from 1       groups of masters, so many seeds
 *     bun run simulate --of clusters --minutes 10  whole clusters, as many as fit, from a fresh seed
 *     SEED=57 bun run simulate                     one seed, told step by step
 *     SEED=57 bun run simulate --of clusters --record life.ndjson
 *
 * A seed that breaks a rule is made as small as it goes, and printed so that it can be kept in `seeds/`.
 */
import { availableParallelism } from "node:os";
import { Command, InvalidArgumentError, Option } from "commander";
import { type Lives, liveMany, type Told } from "./lives.ts";
import { MASTERS } from "./masters-lives.ts";
import { CLUSTERS } from "./system/lives.ts";

const KINDS = { masters: MASTERS, clusters: CLUSTERS } satisfies Record<string, Lives>;

const flags = new Command("simulate")
  .description("Lives of simulated nodes, in weather drawn by seed.")
  .addOption(new Option("--seed <n>", "lives this one, and tells it step by step").env("SEED").argParser(natural))
  .addOption(
    new Option("--of <kind>", "groups of masters, or whole clusters")
      .choices(["masters", "clusters"])
      .default("masters"),
  )
  .option("--seeds <n>", "so many lives; default: 200, or as many as fit into --minutes", natural)
  .option("--minutes <n>", "no life begins later", amount)
  .option("--from <seed>", "the first seed; the others follow it; default: by chance", natural)
  .option("--cores <n>", "lives at once; default: one for each core", natural)
  .option("--record <file>", "one life, recorded for the console and for dfs replay")
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "")) })
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .parse()
  .opts<{
    of: keyof typeof KINDS;
    seeds?: number;
    minutes?: number;
    from?: number;
    seed?: number;
    cores?: number;
    record?: string;
  }>();

function amount(text: string): number {
  const value = Number(text);
  if (text !== "" && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError("A number from 0 is wanted.");
}

function natural(text: string): number {
  const value = amount(text);
  if (Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("A whole number from 0 is wanted.");
}

const lives = KINDS[flags.of];
const fresh = (): number => crypto.getRandomValues(new Uint32Array(1))[0] as number;

if (flags.seed !== undefined) process.exit(await replay(lives, flags.seed));
if (flags.record !== undefined) process.exit(await replay(lives, flags.from ?? fresh()));
process.exit(await runMany(lives));

/** @returns the exit code: 1 if a rule breaks */
async function replay({ replay }: Lives, seed: number): Promise<number> {
  const { steps, recording, told } = await replay(seed, flags.record !== undefined);
  for (const line of steps) console.log(line);
  if (flags.record !== undefined && recording !== null) {
    await Bun.write(flags.record, recording);
    console.log(`recorded in ${flags.record}; bun run dfs replay ${flags.record}`);
  }
  if (!told.failure) {
    console.log(`seed ${seed} breaks no rule: ${inWords(told.counts)}`);
    return 0;
  }
  await report(seed, told);
  return 1;
}

async function runMany(lives: Lives): Promise<number> {
  const minutes = flags.minutes ?? Number.POSITIVE_INFINITY;
  const seeds = flags.seeds ?? (Number.isFinite(minutes) ? Number.POSITIVE_INFINITY : 200);
  const from = flags.from ?? fresh();
  const startedAt = performance.now();
  let isInterrupted = false;
  process.once("SIGINT", () => {
    isInterrupted = true;
  });
  const wantsMore = (begun: number): boolean =>
    !isInterrupted && begun < seeds && performance.now() < startedAt + minutes * 60_000;
  const note = (seed: number, told: Told | null): void => {
    if (told === null) console.log(`seed ${seed} was not over in time, and is given up`);
    else if (told.failure) console.log(`seed ${seed} breaks ${told.failure.message}`);
  };
  const lived = await liveMany(lives, { from, wantsMore, note, cores: flags.cores ?? availableParallelism() });
  const { counts, failures, givenUp } = lived;
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `${lived.lives} seeds from ${from}: ${inWords(counts)} (${Math.round((counts.events ?? 0) / seconds)} events/s), ` +
      `${failures.length} failures, given up: ${givenUp.join(", ") || "none"}`,
  );
  console.log(`invariants: ${inWords(lived.evaluations) || "none declared"}`);
  for (const { seed, told } of failures) await report(seed, told);
  return failures.length > 0 ? 1 : 0;
}

function inWords(counts: Record<string, number>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}

async function report(seed: number, { failure, shrink }: Told): Promise<void> {
  if (!failure) return;
  console.log(`\nseed ${seed} breaks ${failure.message} at ${Math.round(failure.atMs)} ms; making it smaller …`);
  const kept = await shrink();
  const of = flags.of === "masters" ? "" : ` --of ${flags.of}`;
  console.log(`kept: ${JSON.stringify(kept)}\nreplay: SEED=${seed} bun run simulate${of}`);
}
