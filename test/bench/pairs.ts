/**
 * Two contenders side by side, both up at once: each turn gives the same piece of work to the one and then to the other, and
 * the next turn the other way round. A machine does not stay the same for minutes, so only the two of one pair are compared.
 */
import type { RealCluster } from "../support/real-cluster.ts";
import { median } from "./arithmetic.ts";
import { type Operation, type Performed, WARM_UP } from "./operations.ts";
import type { Sizes } from "./sizes.ts";
import { allOf, eachOf, NODE_KINDS } from "./spent-cpu.ts";

/** One quantity of one operation, in as many turns as there were. */
export interface Pairs {
  id: string;
  label: string;
  unit: string;
  ours: number[];
  theirs: number[];
}

export interface Ratio {
  /** Of the pairs' ratios, ours / theirs. */
  mean: number;
  median: number;
  /** Standard error of the mean; null of a single pair. */
  error: number | null;
}

/** @throws when there is no pair */
export function ratioOf({ ours, theirs }: Pick<Pairs, "ours" | "theirs">): Ratio {
  const ratios = ours.map((value, n) => value / (theirs[n] as number));
  const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
  const squares = ratios.reduce((sum, ratio) => sum + (ratio - mean) ** 2, 0);
  const error = ratios.length < 2 ? null : Math.sqrt(squares / (ratios.length - 1) / ratios.length);
  return { mean, median: median(ratios), error };
}

interface Turns {
  ours: RealCluster;
  theirs: RealCluster;
  operations: Operation[];
  turns: number;
  amount: Sizes["perTurn"];
  say(line: string): void;
}

export async function inTurns({ ours, theirs, operations, turns, amount, say }: Turns): Promise<Pairs[]> {
  say("warm-up");
  for (const operation of operations)
    for (const cluster of [ours, theirs]) await operation.perform(cluster, amount, WARM_UP);
  const done = new Map(operations.map(({ id }) => [id, { ours: [] as Performed[], theirs: [] as Performed[] }]));
  for (let turn = 1; turn <= turns; turn++) {
    say(`turn ${turn} of ${turns}`);
    const order = turn % 2 === 1 ? (["ours", "theirs"] as const) : (["theirs", "ours"] as const);
    for (const operation of operations)
      for (const whose of order)
        done.get(operation.id)?.[whose].push(await operation.perform({ ours, theirs }[whose], amount, `turn-${turn}`));
  }
  return operations.flatMap((operation) => {
    const { ours: mine, theirs: others } = done.get(operation.id) as { ours: Performed[]; theirs: Performed[] };
    return pairsOf(operation, mine, others);
  });
}

function pairsOf({ id, label, rateUnit, perUnit }: Operation, ours: Performed[], theirs: Performed[]): Pairs[] {
  const scale = perUnit === "ms each" ? 1000 : 1;
  const quantities: { id: string; label: string; unit: string; of(one: Performed): number | null }[] = [
    { id: "rate", label, unit: rateUnit, of: ({ rate }) => rate },
    { id: "cpu", label: `${label}, CPU of all nodes`, unit: perUnit, of: ({ spent }) => allOf(spent) },
    ...NODE_KINDS.map((kind) => ({
      id: `cpu.${kind}`,
      label: `${label}, one ${kind}'s CPU`,
      unit: perUnit,
      of: ({ spent }: Performed) => eachOf(spent, kind),
    })),
  ];
  return quantities.flatMap(({ id: which, label: what, unit, of }) => {
    const told = (one: Performed): number | null => {
      const value = of(one);
      return value === null || which === "rate" ? value : (scale * value) / one.per.count;
    };
    const [mine, others] = [ours.map(told), theirs.map(told)];
    if ([...mine, ...others].some((value) => value === null)) return [];
    return [{ id: `${id}.${which}`, label: what, unit, ours: mine as number[], theirs: others as number[] }];
  });
}
