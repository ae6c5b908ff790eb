/**
 * Measures a cluster of real processes, beside what the machine does without it: `bun run bench`.
 *
 * Every figure comes with its twin from the other place: data on a disk, and data in memory. Load comes from processes of
 * its own, so that CPU time is told apart. A table goes to the terminal, everything to a JSON file. Slowness is reported
 * and never an error.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { judge } from "./aims.ts";
import { MiB } from "./arithmetic.ts";
import { killAllChildren } from "./child-processes.ts";
import { keepFolders, stopClusters } from "./clusters.ts";
import { compare, formatCompared } from "./compare.ts";
import { staleCosts, withCosts } from "./costs-page.ts";
import { failover } from "./measure/failover.ts";
import { idle } from "./measure/idle.ts";
import { largeDirectory } from "./measure/large-directory.ts";
import { masters } from "./measure/masters.ts";
import { page } from "./measure/page.ts";
import { peakMemory } from "./measure/peak-memory.ts";
import { putAndGet } from "./measure/put-and-get.ts";
import { recording } from "./measure/recording.ts";
import { redundancy } from "./measure/redundancy.ts";
import { smallFiles } from "./measure/small-files.ts";
import type { Figure, Measurement } from "./measurement.ts";
import { OPERATIONS, type Operation } from "./operations.ts";
import { freeBytes, makeDiskPlace, makeMemoryPlace, type Place, removePlace } from "./place.ts";
import { account } from "./profile/account.ts";
import { fileTable } from "./profile/file-table.ts";
import { profiled } from "./profile/profiled-run.ts";
import { measureIn, THROUGHOUT } from "./run-measurements.ts";
import { scaleParts } from "./scale/parts.ts";
import { FULL, neededBytes, QUICK } from "./sizes.ts";
import { formatTable, type Section } from "./table.ts";

const MEASUREMENTS: Measurement[] = [
  putAndGet,
  smallFiles,
  page,
  peakMemory,
  redundancy,
  idle,
  recording,
  masters,
  failover,
  largeDirectory,
  ...scaleParts,
];
const COSTS_PAGE = join(import.meta.dir, "README.md");
/** Where profiles go unless told otherwise. */
const PROFILES = join(tmpdir(), "dfs-profiles");
/** Processes that wanted to run before we began: more than this disturbs. */
const BUSY_LOAD = 0.5;

const namesOf = (measurements: Measurement[]): string => [...new Set(measurements.map(({ name }) => name))].join(", ");
const isLong = ({ onlyWhenNamed }: Measurement): boolean => onlyWhenNamed === true;
const NAMES = namesOf(MEASUREMENTS.filter((one) => !isLong(one)));
const LONG_NAMES = namesOf(MEASUREMENTS.filter(isLong));
const OPERATION_NAMES = [...new Set(OPERATIONS.flatMap(({ part, id }) => [part, id]))].join(", ");

interface CommandLine {
  quick?: boolean;
  only?: string;
  compare?: string;
  profile?: string | true;
  memory?: boolean;
  updateCosts?: boolean;
  turns?: number;
  dir?: string;
  out: string;
  keep?: boolean;
}

function atLeastOne(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("It is a whole number, 1 or more.");
  return number;
}

const commandLine = new Command("bench")
  .description("Measures a local cluster and prints a table.")
  .option("--quick", "smaller sizes, a few minutes in all")
  .option(
    "--only <name>",
    `what to measure: ${NAMES}; one name stands also for those that begin with it; and if it is named: ${LONG_NAMES}`,
  )
  .option("--compare <checkout>", "beside another checkout of this project, in turns")
  .option("--profile [folder]", "where each node's CPU goes, file by file, and a profile of each node in the folder")
  .option("--update-costs", "measures in memory what README.md of this folder tells of costs, and writes it there")
  .option("--memory", "with the data in memory alone; what takes one place takes this one instead of the disk")
  .option("--turns <number>", "how many turns the two take", atLeastOne)
  .option("--dir <directory>", "a folder on the disk to measure; default: the system's temporary folder")
  .option("--out <file>", "where the figures go as JSON", "bench.json")
  .option("--keep", "leave the clusters' folders behind")
  .addHelpText("after", `\nWith --compare and --profile, --only takes ${OPERATION_NAMES}.`)
  .parse()
  .opts<CommandLine>();

const sizes = commandLine.quick ? QUICK : FULL;
const isNamed = (name: string): boolean => name === commandLine.only || name.startsWith(`${commandLine.only}-`);
const chosen = MEASUREMENTS.filter((one) => (commandLine.only === undefined ? !isLong(one) : isNamed(one.name)));
if (commandLine.keep) keepFolders();

const places: Place[] = [];

async function cleanUp(): Promise<void> {
  await killAllChildren();
  await stopClusters();
  if (!commandLine.keep) for (const place of places) removePlace(place);
}

let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => {
    if (interrupted) return;
    interrupted = true;
    console.error("\nStopping.");
    void cleanUp().finally(() => process.exit(130));
  });

/** What could not be measured, and why: told at the end, beside what could. */
const failures: string[] = [];

function failed(what: string, error: unknown): void {
  if (interrupted) throw error;
  failures.push(`${what}: ${(error as Error).message}`);
  console.error(`  ${what} failed:`, error);
}

function diskPlace(): Place {
  const disk = makeDiskPlace(commandLine.dir);
  places.push(disk);
  if (freeBytes(disk) < neededBytes(sizes))
    throw new Error(
      `${disk.directory} has ${Math.round(freeBytes(disk) / MiB)} MiB free; name another folder with --dir`,
    );
  return disk;
}

/** @returns in words why there is none */
function memoryPlace(): Place | string {
  const memory = makeMemoryPlace(neededBytes(sizes));
  if (typeof memory !== "string") places.push(memory);
  return memory;
}

/** For what is done in one place alone. */
function onePlace(): Place {
  const place = commandLine.memory ? memoryPlace() : diskPlace();
  if (typeof place === "string") throw new Error(place);
  return place;
}

const began = new Date();
const [loadBefore = 0] = loadavg();
const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Bun ${Bun.version}`;

function sayConditions(): void {
  console.log(`\n${machine}; all nodes and the clients on this one machine; 3 copies on 5 workers`);
  if (loadBefore > BUSY_LOAD)
    console.log(
      `The machine was busy with something else (load ${loadBefore.toFixed(1)}): trust ratios and CPU seconds.`,
    );
  if (commandLine.quick) console.log("Quick run: sizes are cut, so figures are rough.");
}

function writeReport(found: Record<string, unknown>): void {
  const report = { began, ended: new Date(), quick: commandLine.quick ?? false, machine, loadBefore, sizes, ...found };
  writeFileSync(commandLine.out, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`All of it: ${resolve(commandLine.out)}`);
}

async function measureAll(): Promise<void> {
  if (chosen.length === 0)
    throw new Error(`There is no measurement "${commandLine.only}"; there are ${NAMES}, ${LONG_NAMES}`);
  const there: Place[] = commandLine.memory ? [] : [diskPlace()];
  const memory = memoryPlace();
  const skipped = typeof memory === "string" ? `In memory: skipped, ${memory}.` : null;
  if (skipped) console.error(skipped);
  if (typeof memory !== "string") there.push(memory);

  const sections = new Map<string, Figure[]>();
  for (const place of there) {
    const here = chosen.filter(({ where }) => where === "both" || where === place.kind || there.length === 1);
    if (here.length === 0) continue;
    const found = await measureIn({ place, sizes, failed }, here).catch((error) => failed(place.kind, error));
    for (const [title, figures] of found ?? []) sections.set(title, [...(sections.get(title) ?? []), ...figures]);
  }

  const inOrder: Section[] = [...chosen.map(({ title }) => title), THROUGHOUT]
    .filter((title) => sections.has(title))
    .map((title) => ({ title, figures: sections.get(title) as Figure[] }));
  const figures = inOrder.flatMap((section) => section.figures);
  const verdicts = judge(figures);
  sayConditions();
  if (skipped) console.log(skipped);
  console.log(`\n${formatTable(inOrder, verdicts)}\n`);
  for (const failure of failures) console.log(`Not measured: ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
  const stale = staleCosts(readFileSync(COSTS_PAGE, "utf8"), figures);
  for (const line of stale) console.log(`The page of costs is off: ${line}`);
  if (stale.length > 0) console.log("`bun run bench -- --update-costs` writes it anew.");
  writeReport({ stale, skipped, failures, figures, verdicts });
}

/** With those that make what they read. @throws if none of them is named */
function chosenOperations(): Operation[] {
  const { only } = commandLine;
  const named = OPERATIONS.filter(({ id, part }) => only === undefined || part === only || id === only);
  if (named.length === 0) throw new Error(`There is no "${only}" here; there are ${OPERATION_NAMES}`);
  const needed = new Set(named.flatMap(({ id, needs }) => (needs ? [id, needs] : [id])));
  return OPERATIONS.filter(({ id }) => needed.has(id));
}

const sayProgress = (line: string): void => console.error(`  ${line}`);

async function compareWith(checkout: string): Promise<void> {
  const turns = commandLine.turns ?? sizes.turns;
  const operations = chosenOperations();
  const compared = await compare({ checkout, place: onePlace(), operations, turns, sizes, say: sayProgress });
  sayConditions();
  console.log(`\nHere beside ${resolve(checkout)}, ${turns} turns\n${formatCompared(compared)}\n`);
  writeReport({ checkout: resolve(checkout), turns, compared });
}

async function profile(folder: string): Promise<void> {
  const found = await profiled({ place: onePlace(), operations: chosenOperations(), sizes, folder, say: sayProgress });
  sayConditions();
  for (const one of found) console.log(`\n${fileTable(one)}`);
  console.log(`\nA profile of each node, for Chrome's DevTools: ${resolve(folder)}`);
}

/** In memory, where a sample never finds a thread that waits for a disk. */
async function updateCosts(): Promise<void> {
  const place = memoryPlace();
  if (typeof place === "string") throw new Error(place);
  const costs = await account({ place, sizes, folder: PROFILES, say: sayProgress });
  const { smallFiles, fileBytes } = sizes;
  const conditions = `Measured on ${machine}, data in memory: ${smallFiles} small files, one of ${fileBytes / MiB} MiB${commandLine.quick ? "; a quick run, so rough" : ""}${loadBefore > BUSY_LOAD ? "; the machine was busy with something else" : ""}.`;
  writeFileSync(COSTS_PAGE, withCosts(readFileSync(COSTS_PAGE, "utf8"), costs, conditions));
  writeReport({ costs });
  console.log(`Written: ${COSTS_PAGE}`);
}

async function run(): Promise<void> {
  if (commandLine.updateCosts) return updateCosts();
  if (commandLine.compare !== undefined) return compareWith(commandLine.compare);
  if (commandLine.profile !== undefined) return profile(commandLine.profile === true ? PROFILES : commandLine.profile);
  return measureAll();
}

try {
  await run();
} catch (error) {
  if (!interrupted) {
    console.error(error);
    process.exitCode = 1;
  }
} finally {
  if (!interrupted) await cleanUp();
}
