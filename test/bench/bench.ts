/**
 * Measures a cluster of real processes, beside what the machine does without it: `bun run bench`.
 *
 * Every figure comes with its twin from the other place: data on a disk, and data in memory. Load comes from processes of
 * its own, so that CPU time is told apart. A table goes to the terminal, everything to a JSON file. Slowness is reported
 * and never an error.
 */
import { writeFileSync } from "node:fs";
import { cpus, loadavg, totalmem } from "node:os";
import { resolve } from "node:path";
import { Command } from "commander";
import type { Config } from "../../actors/messages/config.ts";
import projectConfig from "../../config.json";
import { type ClusterOptions, RealCluster } from "../support/real-cluster.ts";
import { judge } from "./aims.ts";
import { MiB } from "./arithmetic.ts";
import { killAllChildren } from "./child-processes.ts";
import { failover } from "./measure/failover.ts";
import { largeDirectory } from "./measure/large-directory.ts";
import { masters } from "./measure/masters.ts";
import { peakMemory } from "./measure/peak-memory.ts";
import { putAndGet } from "./measure/put-and-get.ts";
import { redundancy } from "./measure/redundancy.ts";
import { smallFiles } from "./measure/small-files.ts";
import {
  type ApartMeasurement,
  type ApartSession,
  type Figure,
  figuresOf,
  type Measurement,
  type Session,
  type SharedMeasurement,
} from "./measurement.ts";
import { PeakWatch } from "./peak-watch.ts";
import { freeBytes, makeDiskPlace, makeMemoryPlace, type Place, removePlace } from "./place.ts";
import { FULL, neededBytes, QUICK } from "./sizes.ts";
import { formatTable, type Section } from "./table.ts";

const MEASUREMENTS: Measurement[] = [putAndGet, smallFiles, peakMemory, redundancy, masters, failover, largeDirectory];
/** Processes that wanted to run before we began: more than this disturbs. */
const BUSY_LOAD = 0.5;
const THROUGHOUT = "Over the whole run";

const NAMES = [...new Set(MEASUREMENTS.map(({ name }) => name))].join(", ");

const options = new Command("bench")
  .description("Measures a local cluster and prints a table.")
  .option("--quick", "smaller sizes, less than a minute in all")
  .option("--only <name>", `what to measure: ${NAMES}; one name stands also for those that begin with it`)
  .option("--dir <directory>", "a folder on the disk to measure; default: the system's temporary folder")
  .option("--out <file>", "where the figures go as JSON", "bench.json")
  .option("--keep", "leave the clusters' folders behind")
  .parse()
  .opts<{ quick?: boolean; only?: string; dir?: string; out: string; keep?: boolean }>();

const sizes = options.quick ? QUICK : FULL;
const chosen = MEASUREMENTS.filter(
  ({ name }) => options.only === undefined || name === options.only || name.startsWith(`${options.only}-`),
);
if (chosen.length === 0) {
  console.error(`There is no measurement "${options.only}"; there are ${NAMES}`);
  process.exit(1);
}

/** As shipped, but deleted bytes are freed at once, so that each run finds the space of the one before. */
function benchConfig(): Partial<Config> {
  const { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs } = projectConfig;
  const trash = { keepMs: 0, deleteGraceMs: 0 };
  return { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs, trash };
}

const places: Place[] = [];
/** The one that runs. */
let cluster: Promise<RealCluster> | null = null;

async function startCluster(place: Place, options: ClusterOptions = {}): Promise<RealCluster> {
  cluster = RealCluster.start({ parent: place.directory, config: benchConfig(), keep: options.keep, ...options });
  return cluster;
}

async function stopCluster(): Promise<void> {
  await (await cluster)?.stop();
  cluster = null;
}

async function cleanUp(): Promise<void> {
  await killAllChildren();
  await cluster?.then((started) => started.stop()).catch(() => {});
  if (!options.keep) for (const place of places) removePlace(place);
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

const isApart = (measurement: Measurement): measurement is ApartMeasurement => "runApart" in measurement;
const sayAs = (place: Place, name: string) => (line: string) => console.error(`  ${place.kind}, ${name}: ${line}`);

async function measureIn(place: Place, measurements: Measurement[]): Promise<Map<string, Figure[]>> {
  const shared = measurements.filter((one): one is SharedMeasurement => !isApart(one));
  const found = shared.length > 0 ? await measureTogether(place, shared) : new Map<string, Figure[]>();
  for (const { name, title, runApart } of measurements.filter(isApart)) {
    const session: ApartSession = {
      place,
      sizes,
      say: sayAs(place, name),
      withCluster: async (wanted, work) => {
        const started = await startCluster(place, wanted);
        try {
          return await work(started);
        } finally {
          await stopCluster();
        }
      },
    };
    try {
      found.set(title, await runApart(session));
    } catch (error) {
      failed(`${place.kind}, ${name}`, error);
    }
  }
  return found;
}

async function measureTogether(place: Place, measurements: SharedMeasurement[]): Promise<Map<string, Figure[]>> {
  const found = new Map<string, Figure[]>();
  const started = await startCluster(place);
  const peaks = new PeakWatch(started);
  const session = (name: string): Session => ({ place, cluster: started, sizes, peaks, say: sayAs(place, name) });
  for (const { name, title, run } of measurements) {
    try {
      found.set(title, await run(session(name)));
    } catch (error) {
      failed(`${place.kind}, ${name}`, error);
    }
    peaks.throughout();
  }
  const { gatewayBytes, largestWorkerBytes, masterBytes } = peaks.throughout();
  const inMiB = (bytes: number | null): number | null => (bytes === null ? null : bytes / MiB);
  found.set(
    THROUGHOUT,
    figuresOf(
      session(THROUGHOUT),
      { id: "throughout.gateway", label: "gateway peak", value: inMiB(gatewayBytes), unit: "MiB" },
      { id: "throughout.worker", label: "largest worker peak", value: inMiB(largestWorkerBytes), unit: "MiB" },
      { id: "throughout.master", label: "master peak", value: inMiB(masterBytes), unit: "MiB" },
    ),
  );
  await stopCluster();
  return found;
}

async function measureAll(): Promise<void> {
  const began = new Date();
  const [loadBefore = 0] = loadavg();
  const disk = makeDiskPlace(options.dir);
  places.push(disk);
  if (freeBytes(disk) < neededBytes(sizes))
    throw new Error(
      `${disk.directory} has ${Math.round(freeBytes(disk) / MiB)} MiB free; name another folder with --dir`,
    );
  const memory = makeMemoryPlace(neededBytes(sizes));
  const skipped = typeof memory === "string" ? `In memory: skipped, ${memory}.` : null;
  if (skipped) console.error(skipped);
  if (typeof memory !== "string") places.push(memory);

  const sections = new Map<string, Figure[]>();
  for (const place of places) {
    const here = chosen.filter(({ where }) => where === "both" || where === place.kind || places.length === 1);
    if (here.length === 0) continue;
    const found = await measureIn(place, here).catch((error) => failed(place.kind, error));
    for (const [title, figures] of found ?? []) sections.set(title, [...(sections.get(title) ?? []), ...figures]);
  }

  const inOrder: Section[] = [...chosen.map(({ title }) => title), THROUGHOUT]
    .filter((title) => sections.has(title))
    .map((title) => ({ title, figures: sections.get(title) as Figure[] }));
  const figures = inOrder.flatMap((section) => section.figures);
  const verdicts = judge(figures);
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Bun ${Bun.version}`;
  console.log(`\n${machine}; all nodes and the clients on this one machine; 3 copies on 5 workers`);
  if (loadBefore > BUSY_LOAD)
    console.log(
      `The machine was busy with something else (load ${loadBefore.toFixed(1)}): trust ratios and CPU seconds.`,
    );
  if (options.quick) console.log("Quick run: sizes are cut, so figures are rough.");
  if (skipped) console.log(skipped);
  console.log(`\n${formatTable(inOrder, verdicts)}\n`);
  const report = {
    began,
    ended: new Date(),
    quick: options.quick ?? false,
    machine,
    skipped,
    failures,
    sizes,
    figures,
    verdicts,
  };
  writeFileSync(options.out, `${JSON.stringify(report, null, 2)}\n`);
  for (const failure of failures) console.log(`Not measured: ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
  console.log(`All of it: ${resolve(options.out)}`);
}

try {
  await measureAll();
} catch (error) {
  if (!interrupted) {
    console.error(error);
    process.exitCode = 1;
  }
} finally {
  if (!interrupted) await cleanUp();
}
