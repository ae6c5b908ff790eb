/** What one operation costs each kind of node, step by step. */
import type { OperationId, Performed } from "../operations.ts";
import { allOf, type ClusterSpent, type NodeKind } from "../spent-cpu.ts";
import { tally } from "./cpu-profile.ts";
import type { ProfiledNode } from "./profiled-run.ts";
import { COMPILING, NOBODYS, OTHER_THREADS, OUTSIDE, STEPS, stepOf } from "./steps.ts";

/** CPU of one node of a kind: microseconds for one operation, milliseconds for one GiB. */
export type ByKind = Partial<Record<NodeKind, number>>;

export interface OperationCost {
  id: OperationId;
  steps: { name: string; cost: ByKind }[];
  total: ByKind;
  /** Of all nodes together, not of one of each kind. */
  allNodes: number;
}

/** Microseconds of one operation, milliseconds of one GiB. */
const inUnit = (seconds: number, { count, unit }: Performed["per"]): number =>
  (seconds * (unit === "ms each" ? 1e6 : 1e3)) / count;

/**
 * @param plain without a profiler, which costs something itself: the totals
 * @param nodes with it: how the first threads' part of a total is shared out
 */
export function costOf(id: OperationId, plain: Performed, nodes: ProfiledNode[]): OperationCost {
  const total: ByKind = {};
  const byStep = new Map<string, ByKind>(STEP_NAMES.map((name) => [name, {}]));
  for (const { kind, processes, seconds, firstThreads, compiling } of plain.spent as ClusterSpent) {
    total[kind] = inUnit(seconds / processes, plain.per);
    const firstThread = inUnit(firstThreads / processes, plain.per);
    for (const [name, share] of sharesOf(nodes.filter((node) => node.kind === kind)))
      (byStep.get(name) as ByKind)[kind] = firstThread * share;
    const compiler = inUnit(compiling / processes, plain.per);
    (byStep.get(COMPILING) as ByKind)[kind] = compiler;
    (byStep.get(OTHER_THREADS) as ByKind)[kind] = Math.max(0, total[kind] - firstThread - compiler);
  }
  const steps = [...byStep].map(([name, cost]) => ({ name, cost }));
  return { id, steps, total, allNodes: inUnit(allOf(plain.spent) as number, plain.per) };
}

const STEP_NAMES = [...STEPS.map(({ name }) => name), NOBODYS, OUTSIDE, COMPILING, OTHER_THREADS];

/** The part of each step in what the first threads of these nodes did; together 1. */
function sharesOf(nodes: ProfiledNode[]): Map<string, number> {
  const sampled = nodes.flatMap((node) => node.sampled);
  const samples = sampled.reduce((sum, one) => sum + one.samples, 0);
  if (samples === 0) return new Map([[OUTSIDE, 1]]);
  const javaScript = nodes.reduce((sum, { javaScriptShare }) => sum + javaScriptShare, 0) / nodes.length;
  const shares = new Map<string, number>();
  for (const [name, count] of tally(sampled, ({ onBehalfOf }) => stepOf(onBehalfOf)))
    shares.set(name, (javaScript * count) / samples);
  return shares.set(OUTSIDE, 1 - javaScript);
}
