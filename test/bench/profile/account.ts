/** Measures what the page of costs tells: each operation without a profiler, and then with it. */
import { withClusters } from "../clusters.ts";
import { ACCOUNTED } from "../costs-page.ts";
import { AS_SHIPPED } from "../measurement.ts";
import { OPERATIONS, type OperationId, type Performed, WARM_UP } from "../operations.ts";
import type { Place } from "../place.ts";
import type { Sizes } from "../sizes.ts";
import { costOf, type OperationCost } from "./costs.ts";
import { amountOf, profiled } from "./profiled-run.ts";

interface Account {
  place: Place;
  sizes: Sizes;
  folder: string;
  say(line: string): void;
}

/** @throws if the system does not tell what processes spent */
export async function account({ place, sizes, folder, say }: Account): Promise<OperationCost[]> {
  const amount = amountOf(sizes);
  const plain = new Map<OperationId, Performed>();
  const needed = OPERATIONS.filter(({ id, part }) => id in ACCOUNTED || part === "small-files");
  await withClusters(place, [AS_SHIPPED], async (cluster) => {
    for (const run of [WARM_UP, "plain"])
      for (const operation of needed) {
        say(`${operation.label}, ${run}`);
        plain.set(operation.id, await operation.perform(cluster, amount, run));
      }
  });
  const found = await profiled({ place, operations: needed, sizes, folder, say });
  return found.flatMap(({ operation: { id }, nodes }) => {
    const before = plain.get(id) as Performed;
    if (before.spent === null) throw new Error("This system does not tell what processes spent");
    return id in ACCOUNTED ? [costOf(id, before, nodes)] : [];
  });
}
