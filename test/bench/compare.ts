/** Before and after: this checkout's nodes and another's, both clusters up at once, under the same load in turns. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { median } from "./arithmetic.ts";
import { withClusters } from "./clusters.ts";
import { AS_SHIPPED } from "./measurement.ts";
import type { Operation } from "./operations.ts";
import { inTurns, type Pairs, type Ratio, ratioOf } from "./pairs.ts";
import type { Place } from "./place.ts";
import type { Sizes } from "./sizes.ts";
import { spelled } from "./table.ts";

interface Comparison {
  checkout: string;
  place: Place;
  operations: Operation[];
  turns: number;
  sizes: Sizes;
  say(line: string): void;
}

export interface Compared extends Pairs {
  ratio: Ratio;
}

/** @throws if there is no such checkout, or its packages are not installed */
export async function compare(comparison: Comparison): Promise<Compared[]> {
  const { place, operations, turns, sizes, say } = comparison;
  const project = resolve(comparison.checkout);
  for (const needed of ["actors/master.ts", "config.json", "node_modules"])
    if (!existsSync(join(project, needed)))
      throw new Error(`${project} has no ${needed}: is it a checkout, installed?`);
  const pairs = await withClusters(place, [AS_SHIPPED, { ...AS_SHIPPED, project }], (ours, theirs) =>
    inTurns({ ours, theirs, operations, turns, amount: sizes.perTurn, say }),
  );
  return pairs.map((one) => ({ ...one, ratio: ratioOf(one) }));
}

const WIDTHS = { label: 42, value: 16 };

/** A row for each quantity: medians, and how the two of one turn compare. */
export function formatCompared(compared: Compared[]): string {
  const cells = (...texts: string[]): string => texts.map((text) => text.padStart(WIDTHS.value)).join("");
  const rows = compared.map(({ id, label, unit, ours, theirs, ratio }) => {
    const spread = ratio.error === null ? "" : ` ± ${ratio.error.toFixed(3)}`;
    const name = (id.includes(".cpu") ? `  ${label}` : label).padEnd(WIDTHS.label);
    return `${name}${cells(spelled(median(ours), unit), spelled(median(theirs), unit), ratio.median.toFixed(3))}   ${ratio.mean.toFixed(3)}${spread}`;
  });
  const heads = `${"".padEnd(WIDTHS.label)}${cells("here", "there", "here / there")}   mean ± standard error`;
  return [heads, ...rows].join("\n");
}
