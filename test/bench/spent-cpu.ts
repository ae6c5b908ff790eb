/** What the processes of a cluster spent while something ran, told apart by what they are. */
import type { RealCluster } from "../support/real-cluster.ts";
import { median } from "./arithmetic.ts";
import { type CpuReading, cpuBetween, firstThreadBetween, readCpu } from "./process-accounting.ts";

/** Masters differ: one leads. */
export const NODE_KINDS = ["gateway", "leader", "follower", "worker"] as const;
export type NodeKind = (typeof NODE_KINDS)[number];

/** A process whose CPU is counted. `K`: what it is. */
export interface Counted<K extends string> {
  kind: K;
  pid: number;
}

/** The sums of all processes of a kind, and how many there are. */
export interface KindSpent<K extends string> {
  kind: K;
  processes: number;
  seconds: number;
  /** Of that, the threads with the JavaScript. */
  firstThreads: number;
  /** And the threads that compile it. */
  compiling: number;
}

export type ClusterSpent = KindSpent<NodeKind>[];

/** Who leads is asked now: count no longer than a leader leads. */
export async function nodesOf(cluster: RealCluster): Promise<(Counted<NodeKind> & { id: string })[]> {
  const { leader } = await cluster.view();
  return cluster.pids().map(({ kind, id, pid }) => ({
    id,
    pid,
    kind: kind !== "master" ? kind : id === leader ? "leader" : "follower",
  }));
}

/** Begins to count. @returns what tells the sums since; null if a process is gone, or the system does not tell */
export function countFrom<K extends string>(processes: Counted<K>[]): () => KindSpent<K>[] | null {
  const before = processes.map(({ pid }) => readCpu(pid));
  return () => {
    const after = processes.map(({ pid }) => readCpu(pid));
    return sumByKind(processes, before, after);
  };
}

function sumByKind<K extends string>(
  processes: Counted<K>[],
  before: (CpuReading | null)[],
  after: (CpuReading | null)[],
): KindSpent<K>[] | null {
  const sums = new Map<K, KindSpent<K>>();
  for (const [n, { kind, pid }] of processes.entries()) {
    const [from, to] = [before[n], after[n]];
    if (!from || !to) return null;
    const sum = sums.get(kind) ?? { kind, processes: 0, seconds: 0, firstThreads: 0, compiling: 0 };
    sums.set(kind, {
      kind,
      processes: sum.processes + 1,
      seconds: sum.seconds + cpuBetween(from, to),
      firstThreads: sum.firstThreads + firstThreadBetween(pid, from, to),
      compiling: sum.compiling + Math.max(0, to.compiling - from.compiling) / 1e9,
    });
  }
  return [...sums.values()];
}

/** @returns seconds over all kinds */
export const allOf = (spent: KindSpent<string>[] | null): number | null =>
  spent === null ? null : spent.reduce((sum, { seconds }) => sum + seconds, 0);

/** Seconds of one process of that kind, the mean of them; null if there is none, or nothing is known. */
export function eachOf(spent: ClusterSpent | null, kind: NodeKind): number | null {
  const found = spent?.find((one) => one.kind === kind);
  return found ? found.seconds / found.processes : null;
}

/** Of several runs of the same, by kind; null if one of them is unknown. */
export function medianSpent(runs: { spent: ClusterSpent | null }[]): ClusterSpent | null {
  const known = runs.flatMap(({ spent }) => (spent ? [spent] : []));
  if (known.length < runs.length || !known[0]) return null;
  return known[0].map(({ kind, processes }) => {
    const those = known.flatMap((spent) => spent.filter((one) => one.kind === kind));
    return {
      kind,
      processes,
      seconds: median(those.map(({ seconds }) => seconds)),
      firstThreads: median(those.map(({ firstThreads }) => firstThreads)),
      compiling: median(those.map(({ compiling }) => compiling)),
    };
  });
}
