/**
 * What a large cluster costs its leader
 *
 * The leader's own code over simulated workers and time: judging replica sets, a leader at rest, and a rack that dies beside
 * some single workers: in which order its chunks are copied, and how long that takes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KeptVerdicts } from "../../../actors/rules/redundancy/kept-verdicts.ts";
import { pick } from "../../support/random.ts";
import { partSizes, printFigure } from "./part.ts";
import { type ClusterSize, SimulatedCluster } from "./simulated-cluster.ts";

const COPY_MS = 2_000;
const RACK = "zone-1";
const SINGLE_DEATHS = 10;
const REPAIRS_WATCHED_MS = 30_000;

const { directory, sizes } = partSizes();

/** CPU time of one call. ms */
function cpuMs(calls: number, call: () => void): number {
  const before = process.cpuUsage();
  for (let n = 0; n < calls; n++) call();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / calls;
}

/** Figures of one cluster. */
function teller(cluster: SimulatedCluster, name: string) {
  return (id: string, label: string, value: number, unit: string) =>
    printFigure({ id: `cluster.${name}.${id}`, label: `${cluster.workers.size} workers: ${label}`, value, unit });
}

async function judging(cluster: SimulatedCluster, tell: ReturnType<typeof teller>): Promise<void> {
  const { verdicts } = cluster.steward;
  tell("sets", "replica sets", verdicts.now().size, "");
  const round = cpuMs(50, () => verdicts.now());
  const slice = cpuMs(50, () => verdicts.compare());
  tell("judge", "judging in a round, with its slice of comparing", round + slice, "ms CPU");
  const standings = verdicts
    .now()
    .workers()
    .map((id) => [id, verdicts.now().standingOf(id)] as const);
  const anew = () => {
    const all = new KeptVerdicts(cluster.config.minReplicas);
    for (const [id, standing] of standings) all.workerChanged(id, standing);
    all.reset(cluster.store.queries.replicaSets());
  };
  tell("anew", "judging all anew, as a new leader does once", cpuMs(3, anew), "ms CPU");
  tell("rest", "at rest, with heartbeats", 100 * (await cluster.loadOver(20_000)), "% of a core");
}

async function deaths(cluster: SimulatedCluster, tell: ReturnType<typeof teller>): Promise<void> {
  const { config, copies, world } = cluster;
  const { verdicts } = cluster.steward;
  const rack = cluster.workersOf(RACK);
  const random = world.random("deaths");
  const others = [...cluster.workers.keys()].filter((id) => !rack.includes(id));
  const single = Array.from({ length: Math.min(SINGLE_DEATHS, others.length >> 5) }, () => pick(random, others));
  const diedAt = world.now;
  cluster.kill([...rack, ...single]);
  console.log(`${rack.length} workers of ${RACK} and ${single.length} others die`);
  tell("dying", "until they are dead", 100 * (await cluster.loadOver(config.deadAfterMs + 500)), "% of a core");
  let toMake = 0;
  for (const { set, verdict } of verdicts.now().lacking()) toMake += set.chunkCount * (3 - verdict.lasting.length);
  console.log(`chunks: ${JSON.stringify(verdicts.now().tally.redundancy())}; ${toMake} copies are to be made`);
  tell("repair", "while it repairs", 100 * (await cluster.loadOver(REPAIRS_WATCHED_MS)), "% of a core");
  for (const good of [1, 2]) {
    const made = copies.filter(({ goodCopies }) => goodCopies === good).map(({ atMs }) => (atMs - diedAt) / 1000);
    if (made.length > 0)
      console.log(
        `copies of chunks with ${good} left: ${made.length}, from ${made[0]} s to ${made.at(-1)} s after the death`,
      );
  }
  const perSecond = copies.length / ((world.now - (copies[0]?.atMs ?? 0) + COPY_MS) / 1000);
  tell("copies", `copies, ${config.repair.maxConcurrent} at once of ${COPY_MS} ms`, perSecond, "/s");
  tell("whole", "until all chunks have three copies", toMake / perSecond / 3600, "h");
}

async function measure(name: string, size: Pick<ClusterSize, "workers" | "zones" | "chunks" | "sets">): Promise<void> {
  const folder = mkdtempSync(join(directory, "dfs-scale-"));
  const work = { chunkBytes: 64 << 20, copyMs: COPY_MS, seed: 1, repair: { maxConcurrent: 200, maxPerWorker: 2 } };
  const cluster = new SimulatedCluster(join(folder, "dfs_metadata.db"), { ...size, ...work });
  try {
    await cluster.fill();
    await cluster.open();
    await cluster.pass(cluster.config.safeModeMs);
    const tell = teller(cluster, name);
    await judging(cluster, tell);
    await deaths(cluster, tell);
  } finally {
    cluster.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const chunks = sizes.clusterChunks;
await measure("small", { workers: 5, zones: 5, chunks: Math.min(chunks, 100_000), sets: 10 });
await measure("free", { workers: 100, zones: 100, chunks: Math.min(chunks, 500_000), sets: "free" });
await measure("large", { workers: 1000, zones: 25, chunks, sets: 8000 });
