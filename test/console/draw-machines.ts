/**
 * Draws every state machine ahead: `bun run machines` walks each from its own definition, lays it out with ELK, and
 * writes `gateway/console/layouts/<machine>.json`. ELK gives the same drawing each time, so a test can tell whether the
 * files are those of the machines.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import ELK, { type ElkExtendedEdge, type ElkNode } from "elkjs/lib/elk-api.js";
import type { AnyStateMachine } from "xstate";
import { raftMachine } from "../../actors/master/group/raft.machine.ts";
import { livenessMachine } from "../../actors/master/leading/liveness.machine.ts";
import { repairMachine } from "../../actors/master/leading/repair.machine.ts";
import { stewardMachine } from "../../actors/master/leading/steward.machine.ts";
import type { Chart, ChartEdge, ChartState } from "../../actors/messages/records.ts";
import { chartOf } from "../../actors/node/record/chart.ts";
import { workerMachine } from "../../actors/worker/worker.machine.ts";
import type { Layout } from "../../gateway/console/api.ts";
import type { DrawnMachine } from "../../gateway/console/layouts.ts";
import { uploadMachine } from "../../gateway/transfer/upload.machine.ts";

export const MACHINES: AnyStateMachine[] = [
  raftMachine,
  livenessMachine,
  stewardMachine,
  repairMachine,
  workerMachine,
  uploadMachine,
];

export const LAYOUTS = resolve(import.meta.dir, "../../gateway/console/layouts");

/** Width of a character of an 11 px monospace font, and height of a line. */
const CHAR = 6.65;
const LINE = 16;
const PADDING = 12;
const ANY_STATE = "(any state)";

const OPTIONS = {
  "elk.algorithm": "layered",
  "elk.direction": "DOWN",
  "elk.hierarchyHandling": "INCLUDE_CHILDREN",
  "elk.layered.cycleBreaking.strategy": "DEPTH_FIRST",
  "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
  "elk.edgeRouting": "ORTHOGONAL",
  "elk.edgeLabels.inline": "true",
  "elk.json.edgeCoords": "ROOT",
  "elk.json.shapeCoords": "ROOT",
  "elk.spacing.nodeNode": "28",
  "elk.layered.spacing.nodeNodeBetweenLayers": "34",
  "elk.spacing.edgeNode": "14",
  "elk.spacing.edgeEdge": "12",
  "elk.padding": "[top=12,left=12,bottom=12,right=12]",
};

/** What an edge says, line by line. */
export function labelOf({ kind, event, guard }: ChartEdge): string[] {
  const first = kind === "always" ? "always" : event;
  return guard === null ? [first] : [first, `[${guard}]`];
}

/** What stands in a state's box below its name. */
export function linesOf(state: ChartState, edges: readonly ChartEdge[]): string[] {
  const own = edges.filter(({ source, targets }) => source === state.id && targets.length === 0);
  return [
    ...state.entry.map((action) => `entry / ${action}`),
    ...state.exit.map((action) => `exit / ${action}`),
    ...state.invoke.map((what) => `invoke / ${what}`),
    ...own.map((edge) => `${labelOf(edge).join(" ")} / ${edge.actions.join(", ")}`),
  ];
}

const widthOf = (lines: readonly string[]): number =>
  Math.ceil(Math.max(0, ...lines.map((line) => line.length)) * CHAR);

function nodeOf(state: ChartState, chart: Chart): ElkNode {
  const children = chart.states.filter(({ parent }) => parent === state.id);
  const lines = linesOf(state, chart.edges);
  const width = Math.max(80, widthOf([state.key.padEnd(state.key.length + 2), ...lines]) + 2 * PADDING);
  const height = (1 + lines.length) * LINE + 2 * PADDING;
  if (children.length === 0) return { id: state.id, width, height };
  return {
    id: state.id,
    layoutOptions: {
      "elk.padding": `[top=${height + 6},left=${PADDING},bottom=${PADDING},right=${PADDING}]`,
      "elk.nodeSize.constraints": "MINIMUM_SIZE",
      "elk.nodeSize.minimum": `(${width}, ${height})`,
    },
    children: [...initialDot(state), ...children.map((child) => nodeOf(child, chart))],
  };
}

const dotId = (stateId: string): string => `${stateId} (initial)`;
const initialDot = ({ id, initial }: ChartState): ElkNode[] =>
  initial === null ? [] : [{ id: dotId(id), width: 10, height: 10 }];

/** @returns the chart with coordinates; the same chart gives the same */
export async function layOut(chart: Chart): Promise<Layout> {
  const [root] = chart.states as [ChartState, ...ChartState[]];
  const fromRoot = chart.edges.some(({ source, targets }) => source === root.id && targets.length > 0);
  const label = (edge: ChartEdge) => {
    const lines = labelOf(edge);
    return { text: lines.join("\n"), width: widthOf(lines) + 10, height: lines.length * LINE };
  };
  const edges: ElkExtendedEdge[] = [
    ...chart.states
      .filter(({ initial }) => initial !== null)
      .map(({ id, initial }) => ({ id: dotId(id), sources: [dotId(id)], targets: [initial as string] })),
    ...chart.edges
      .filter(({ targets }) => targets.length > 0)
      .map((edge) => ({
        id: edge.id,
        sources: [edge.source === root.id ? ANY_STATE : edge.source],
        targets: [edge.targets[0] as string],
        labels: [label(edge)],
      })),
  ];
  const graph: ElkNode = {
    id: "(graph)",
    layoutOptions: OPTIONS,
    children: [
      ...(fromRoot ? [{ id: ANY_STATE, width: 90, height: 26 }] : []),
      ...initialDot(root),
      ...chart.states.filter(({ parent }) => parent === root.id).map((state) => nodeOf(state, chart)),
    ],
    edges,
  };
  const elk = new ELK({
    workerFactory: () => new Worker(Bun.resolveSync("elkjs/lib/elk-worker.min.js", import.meta.dir)),
  });
  try {
    return readLayout(chart, await elk.layout(graph));
  } finally {
    elk.terminateWorker();
  }
}

const round = (value: number | undefined): number => Math.round((value ?? 0) * 10) / 10;
const box = ({ x, y, width, height }: { x?: number; y?: number; width?: number; height?: number }) => ({
  x: round(x),
  y: round(y),
  width: round(width),
  height: round(height),
});

function readLayout(chart: Chart, graph: ElkNode): Layout {
  const nodes = new Map<string, ElkNode>();
  const collect = (node: ElkNode): void => {
    nodes.set(node.id, node);
    for (const child of node.children ?? []) collect(child);
  };
  collect(graph);
  const drawn = new Map((graph.edges ?? []).map((edge) => [edge.id, edge]));
  const pointsOf = (edge: ElkExtendedEdge | undefined): [number, number][] =>
    (edge?.sections ?? []).flatMap(({ startPoint, bendPoints = [], endPoint }) =>
      [startPoint, ...bendPoints, endPoint].map(({ x, y }): [number, number] => [round(x), round(y)]),
    );
  const layout: Layout = {
    machine: chart.machine,
    hash: chart.hash,
    width: round(graph.width),
    height: round(graph.height),
    states: {},
    edges: {},
    initials: {},
    anyState: nodes.has(ANY_STATE) ? box(nodes.get(ANY_STATE) as ElkNode) : null,
  };
  for (const { id, initial } of chart.states) {
    const node = nodes.get(id);
    if (node) layout.states[id] = box(node);
    const dot = nodes.get(dotId(id));
    if (initial !== null && dot)
      layout.initials[id] = {
        x: round((dot.x ?? 0) + 5),
        y: round((dot.y ?? 0) + 5),
        points: pointsOf(drawn.get(dotId(id))),
      };
  }
  for (const edge of chart.edges) {
    const found = drawn.get(edge.id);
    if (!found) continue;
    const [text] = found.labels ?? [];
    layout.edges[edge.id] = { points: pointsOf(found), label: text ? { ...box(text), lines: labelOf(edge) } : null };
  }
  return layout;
}

if (import.meta.main) {
  mkdirSync(LAYOUTS, { recursive: true });
  for (const machine of MACHINES) {
    const chart = chartOf(machine);
    const drawn: DrawnMachine = { chart, layout: await layOut(chart) };
    writeFileSync(join(LAYOUTS, `${chart.machine}.json`), `${JSON.stringify(drawn)}\n`);
    console.log(`${chart.machine}: ${chart.states.length} states, ${chart.edges.length} edges, hash ${chart.hash}`);
  }
  process.exit(0);
}
