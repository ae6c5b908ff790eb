/** The tables of costs in README.md of this folder: written from what was measured, and compared with it. */
import type { Figure } from "./measurement.ts";
import type { OperationId } from "./operations.ts";
import type { ByKind, OperationCost } from "./profile/costs.ts";
import { NODE_KINDS, type NodeKind } from "./spent-cpu.ts";

/** What the page tells of, and the figures of a run that tell the same. */
export const ACCOUNTED: Partial<Record<OperationId, string>> = {
  "create-4k": "small.create",
  "create-8k": "small8.create",
  "read-4k": "small.read",
  "delete-4k": "small.delete",
  put: "put",
  get: "get",
};
/** A page that is further off is called so. */
const TOLERANCE = 0.25;
/** Less than this is noise: microseconds, or milliseconds of a GiB. */
const LEAST_SHOWN = 1;

const markers = (id: string): [string, string] => [`<!-- costs of ${id} -->`, `<!-- costs of ${id}: end -->`];
const isLarge = (id: OperationId): boolean => id === "put" || id === "get";
const unitOf = (id: OperationId): string => (isLarge(id) ? "ms CPU for a GiB" : "µs CPU");
const HEADS: Record<NodeKind, string> = {
  gateway: "gateway",
  leader: "leader",
  follower: "each follower",
  worker: "each worker",
};

const cells = (cost: ByKind): string =>
  NODE_KINDS.map((kind) => ((cost[kind] ?? 0) < LEAST_SHOWN ? "" : Math.round(cost[kind] ?? 0))).join(" | ");

export function costTable({ id, steps, total, allNodes }: OperationCost): string {
  const shown = steps.filter(({ cost }) => NODE_KINDS.some((kind) => (cost[kind] ?? 0) >= LEAST_SHOWN));
  return [
    `| ${unitOf(id)} | ${NODE_KINDS.map((kind) => HEADS[kind]).join(" | ")} |`,
    "| --- | --: | --: | --: | --: |",
    ...shown.map(({ name, cost }) => `| ${name} | ${cells(cost)} |`),
    `| **one node** | ${cells(total)} |`,
    "",
    `All nodes together: ${Math.round(allNodes)} ${unitOf(id)}.`,
  ].join("\n");
}

/** @throws if the page has no place for one of them */
function withSection(page: string, id: string, text: string): string {
  const [begin, end] = markers(id);
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`The page of costs has no place for ${id}`);
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}

export const withCosts = (page: string, costs: OperationCost[], conditions: string): string =>
  costs.reduce((text, cost) => withSection(text, cost.id, costTable(cost)), withSection(page, "what", conditions));

/** What one node of each kind spends on that operation, as the page says; null if the page does not. */
export function totalsIn(page: string, id: OperationId): ByKind | null {
  const [begin, end] = markers(id);
  const row = /^\| \*\*one node\*\* \|(.*)\|$/m.exec(page.split(begin)[1]?.split(end)[0] ?? "")?.[1];
  if (row === undefined) return null;
  const values = row.split("|").map((cell) => Number(cell.trim()));
  return Object.fromEntries(NODE_KINDS.map((kind, n) => [kind, values[n] ?? 0]));
}

/** In words, each figure of this run (in memory, as the page's are) from which the page is too far. */
export function staleCosts(page: string, figures: Figure[]): string[] {
  return (Object.entries(ACCOUNTED) as [OperationId, string][]).flatMap(([id, figure]) => {
    const told = totalsIn(page, id);
    if (told === null) return [];
    return NODE_KINDS.flatMap((kind) => {
      const found = figures.find((one) => one.id === `${figure}.cpu.${kind}` && one.place === "memory")?.value;
      const measured = found === undefined || found === null ? null : found * 1000;
      const page = told[kind] ?? 0;
      if (measured === null || Math.abs(measured - page) <= Math.max(TOLERANCE * page, 10 * LEAST_SHOWN)) return [];
      return [`${id}, ${HEADS[kind]}: ${Math.round(page)} ${unitOf(id)} on the page, ${Math.round(measured)} measured`];
    });
  });
}
