/**
 * What a large cluster costs its leader: at rest, and when a rack dies. Simulated workers and time, the leader's own code.
 *
 *     bun test/bench/scale/thousand-workers.ts --workers 1000 --chunks 10000000      ten million chunks take minutes
 *     bun test/bench/scale/thousand-workers.ts --workers 100 --zones 100 --sets free
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { KeptVerdicts } from "../../../actors/rules/redundancy/kept-verdicts.ts";
import { pick } from "../../support/random.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

const { values } = parseArgs({
  options: {
    workers: { type: "string", default: "1000" },
    zones: { type: "string", default: "25" },
    chunks: { type: "string", default: "1000000" },
    /** A number, or `free`; else eight for each worker. */
    sets: { type: "string" },
    concurrent: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    dir: { type: "string", default: tmpdir() },
  },
});

const CHUNK_BYTES = 64 << 20;
const COPY_MS = 2_000;
const SINGLE_DEATHS = 10;

const folder = mkdtempSync(join(values.dir, "dfs-scale-"));
const workers = Number(values.workers);
const cluster = new SimulatedCluster(join(folder, "dfs_metadata.db"), {
  ...{ workers, zones: Number(values.zones), chunks: Number(values.chunks), chunkBytes: CHUNK_BYTES },
  sets: values.sets === "free" ? "free" : Number(values.sets ?? 8 * workers),
  ...{ copyMs: COPY_MS, seed: Number(values.seed) },
  repair: { maxConcurrent: Number(values.concurrent), maxPerWorker: 2 },
});
const { config } = cluster;

/** CPU time of one call. ms */
function cpuMs(calls: number, call: () => void): string {
  const before = process.cpuUsage();
  for (let n = 0; n < calls; n++) call();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) / 1000 / calls).toFixed(2);
}
const percent = (share: number): string => `${(100 * share).toFixed(1)} % of a core`;
const tell = (what: string, found: string) => console.log(`${what.padEnd(58)} ${found}`);

try {
  await cluster.fill();
  await cluster.open();
  await cluster.pass(config.safeModeMs);
  const { verdicts } = cluster.steward;
  tell("replica sets", String(verdicts.now().size));
  tell("judging, nothing changed", `${cpuMs(50, () => verdicts.now())} ms CPU a round`);
  tell("comparing with what is stored, a slice", `${cpuMs(50, () => verdicts.compare())} ms CPU a pulse`);
  const standings = verdicts.now().workers();
  const anew = () => {
    const all = new KeptVerdicts(config.minReplicas);
    for (const id of standings) all.workerChanged(id, verdicts.now().standingOf(id));
    all.reset(cluster.store.queries.replicaSets());
  };
  tell("judging all anew, as a new leader does once", `${cpuMs(3, anew)} ms CPU`);
  tell("at rest, heartbeats included", percent(await cluster.loadOver(20_000)));

  const rack = cluster.workersOf("zone-1");
  const random = cluster.world.random("deaths");
  const others = [...cluster.workers.keys()].filter((id) => !rack.includes(id));
  const single = Array.from({ length: Math.min(SINGLE_DEATHS, others.length >> 5) }, () => pick(random, others));
  const dead = [...rack, ...single];
  const diedAt = cluster.world.now;
  cluster.kill(dead);
  tell(`${dead.length} workers die: until they are dead`, percent(await cluster.loadOver(config.deadAfterMs + 500)));
  const { tally } = verdicts.now();
  const toMake = [...verdicts.now().lacking()].reduce(
    (sum, { set, verdict }) => sum + set.chunkCount * (3 - verdict.lasting.length),
    0,
  );
  tell("chunks by good copies", JSON.stringify(tally.redundancy()));
  tell("while it repairs, 30 s", percent(await cluster.loadOver(30_000)));
  const { copies } = cluster;
  tell("first copy after the death", `${((copies[0]?.atMs ?? Number.NaN) - diedAt) / 1000} s`);
  for (const good of [0, 1, 2]) {
    const made = copies.filter(({ goodCopies }) => goodCopies === good);
    const span = made.length === 0 ? "" : `from ${(made[0]?.atMs ?? 0) - diedAt} ms on`;
    tell(`copies made of chunks with ${good} good copies`, `${made.length} ${span}`);
  }
  const seconds = (cluster.world.now - (copies[0]?.atMs ?? 0) + COPY_MS) / 1000;
  const perSecond = copies.length / seconds;
  tell(
    `${toMake} copies are to be made`,
    `${perSecond.toFixed(1)} a second: ${(toMake / perSecond / 3600).toFixed(2)} hours`,
  );
  tell("memory of the process", `${Math.round(process.memoryUsage().rss / 1e6)} MB`);
} finally {
  cluster.close();
  rmSync(folder, { recursive: true, force: true });
}
