/** CPU per operation as rows of the table: of all nodes together, and of one node of each kind. */
import type { Figure } from "./measurement.ts";
import { allOf, type ClusterSpent, eachOf, NODE_KINDS, type NodeKind } from "./spent-cpu.ts";

const WHOSE: Record<NodeKind, string> = {
  gateway: "gateway's CPU",
  leader: "leader's CPU",
  follower: "each follower's CPU",
  worker: "each worker's CPU",
};

/** What one of something is, and in what unit its CPU is told. */
export interface Per {
  /** How many were done; of bytes, how many GiB. */
  count: number;
  unit: "ms each" | "s/GiB";
}

const inUnit = (seconds: number | null, { count, unit }: Per): number | null =>
  seconds === null ? null : (unit === "ms each" ? 1000 * seconds : seconds) / count;

/** `<id>.cpu` of all nodes, what of it the compiler had, and `<id>.cpu.<kind>` of one node of each kind. */
export function cpuFigures(id: string, label: string, spent: ClusterSpent | null, per: Per): Omit<Figure, "place">[] {
  const { unit } = per;
  const all = { id: `${id}.cpu`, label: `${label}, CPU of all nodes`, value: inUnit(allOf(spent), per), unit };
  const compiled = spent?.reduce((sum, { compiling }) => sum + compiling, 0) ?? null;
  const compiling = {
    id: `${id}.cpu.compiling`,
    label: `${label}, of that compiling`,
    value: inUnit(compiled, per),
    unit,
  };
  const kinds = NODE_KINDS.filter((kind) => spent?.some((one) => one.kind === kind));
  return [
    all,
    compiling,
    ...kinds.map((kind) => ({
      id: `${id}.cpu.${kind}`,
      label: `${label}, ${WHOSE[kind]}`,
      value: inUnit(eachOf(spent, kind), per),
      unit,
    })),
  ];
}
