/** One cluster whose nodes sample themselves while operations run. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import type { RealCluster } from "../../support/real-cluster.ts";
import { withClusters } from "../clusters.ts";
import { AS_SHIPPED } from "../measurement.ts";
import { type Operation, type OperationId, type Performed, WARM_UP } from "../operations.ts";
import type { Place } from "../place.ts";
import { readCpu, wantedBetween } from "../process-accounting.ts";
import type { Sizes } from "../sizes.ts";
import { type NodeKind, nodesOf } from "../spent-cpu.ts";
import { type CpuProfile, type Sampled, sampledIn, secondsPerSample } from "./cpu-profile.ts";

const ROOT = resolve(import.meta.dir, "../../..");
const PRELOAD = join(import.meta.dir, "profiled-node.ts");
const PATIENCE_MS = 30_000;

export interface ProfiledNode {
  kind: NodeKind;
  id: string;
  sampled: Sampled[];
  /**
   * How much of what its first thread did was JavaScript and what that calls. Samples are taken by the clock, also while the
   * thread waits for a processor: so it is the time that they stand for, of the time in which the thread had something to do.
   */
  javaScriptShare: number;
}

export interface ProfiledOperation {
  operation: Operation;
  performed: Performed;
  nodes: ProfiledNode[];
}

interface ProfiledRun {
  place: Place;
  operations: Operation[];
  sizes: Sizes;
  /** Gets `<operation>.<node>.cpuprofile`. */
  folder: string;
  say(line: string): void;
}

export async function profiled({ place, operations, sizes, folder, say }: ProfiledRun): Promise<ProfiledOperation[]> {
  mkdirSync(folder, { recursive: true });
  const env = { BUN_OPTIONS: `--preload=${PRELOAD}`, DFS_BENCH_PROFILES: resolve(folder) };
  return withClusters(place, [{ ...AS_SHIPPED, env }], async (cluster) => {
    const amount = amountOf(sizes);
    say("warm-up");
    for (const operation of operations) await operation.perform(cluster, amount, WARM_UP);
    const found: ProfiledOperation[] = [];
    for (const operation of operations) {
      say(operation.label);
      const nodes = await nodesOf(cluster);
      const before = nodes.map(({ pid }) => readCpu(pid));
      // Of a run that was cut off.
      for (const { id } of nodes) rmSync(join(folder, `${id}.cpuprofile`), { force: true });
      signal(cluster);
      const performed = await operation.perform(cluster, amount, "profiled");
      signal(cluster);
      const wanted = nodes.map(({ pid }, n) => {
        const [from, to] = [before[n], readCpu(pid)];
        return from && to ? wantedBetween(pid, from, to) : 0;
      });
      const written = await collect(cluster, nodes, operation.id, folder);
      found.push({
        operation,
        performed,
        nodes: written.map(({ kind, id, profile }, n) => {
          const sampled = sampledIn(profile, ROOT);
          const seconds = sampled.reduce((sum, { samples }) => sum + samples, 0) * secondsPerSample(profile);
          return { kind, id, sampled, javaScriptShare: wanted[n] ? Math.min(1, seconds / wanted[n]) : 1 };
        }),
      });
    }
    return found;
  });
}

/** What one operation is profiled and accounted for with. */
export const amountOf = ({ smallFiles, fileBytes }: Sizes): Sizes["perTurn"] => ({ smallFiles, fileBytes });

function signal(cluster: RealCluster): void {
  for (const { pid } of cluster.pids()) process.kill(pid, "SIGUSR2");
}

async function collect(
  cluster: RealCluster,
  nodes: { kind: NodeKind; id: string }[],
  operation: OperationId,
  folder: string,
): Promise<{ kind: NodeKind; id: string; profile: CpuProfile }[]> {
  const written = nodes.map(({ id }) => join(folder, `${id}.cpuprofile`));
  await cluster.until("profiles are written", PATIENCE_MS, async () => written.every((path) => existsSync(path)));
  return nodes.map(({ kind, id }) => {
    const path = join(folder, `${operation}.${id}.cpuprofile`);
    renameSync(join(folder, `${id}.cpuprofile`), path);
    return { kind, id, profile: JSON.parse(readFileSync(path, "utf8")) as CpuProfile };
  });
}
