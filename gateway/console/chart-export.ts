/** Machines in the languages of others: Mermaid for documents, XState's own configuration for the Stately editor. */
import type { Chart, ChartEdge, ChartState } from "./api.ts";

const childrenOf = (chart: Chart, id: string): ChartState[] => chart.states.filter(({ parent }) => parent === id);

// ── Mermaid ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Mermaid takes no dots in names. */
const nameOf = (id: string): string => id.replaceAll(".", "_");

/** `stateDiagram-v2`, nested; edges from the root are drawn from every state beside it. */
export function toMermaid(chart: Chart): string {
  const [root] = chart.states as [ChartState, ...ChartState[]];
  const lines = ["stateDiagram-v2"];
  const block = (state: ChartState, indent: string): void => {
    const children = childrenOf(chart, state.id);
    if (state.initial !== null) lines.push(`${indent}[*] --> ${nameOf(state.initial)}`);
    for (const [n, child] of children.entries()) {
      if (n > 0 && state.type === "parallel") lines.push(`${indent}--`);
      lines.push(`${indent}state "${child.key}" as ${nameOf(child.id)}`);
      if (child.type === "compound" || child.type === "parallel") {
        lines.push(`${indent}state ${nameOf(child.id)} {`);
        block(child, `${indent}  `);
        lines.push(`${indent}}`);
      }
      if (child.type === "final") lines.push(`${indent}${nameOf(child.id)} --> [*]`);
    }
  };
  block(root, "  ");
  for (const edge of chart.edges)
    for (const target of edge.targets) {
      const sources =
        edge.source === root.id
          ? childrenOf(chart, root.id)
              .filter(({ id, type }) => id !== target && type !== "final")
              .map(({ id }) => id)
          : [edge.source];
      for (const source of sources) lines.push(`  ${nameOf(source)} --> ${nameOf(target)} : ${labelOf(edge)}`);
    }
  return lines.join("\n");
}

/** A colon or semicolon would end the label. */
const labelOf = ({ kind, event, guard }: ChartEdge): string =>
  [kind === "always" ? "always" : event, ...(guard === null ? [] : [`[${guard}]`])].join(" ").replace(/[:;]/g, " ");

// ── XState ─────────────────────────────────────────────────────────────────────────────────────────────────────────

type Transition = Record<string, unknown>;

/** What `createMachine` takes; implementations stay names. */
export function toMachineConfig(chart: Chart): Record<string, unknown> {
  const [root] = chart.states as [ChartState, ...ChartState[]];
  return { id: chart.machine, ...configOf(chart, root) };
}

function configOf(chart: Chart, state: ChartState): Record<string, unknown> {
  const children = childrenOf(chart, state.id);
  const edges = chart.edges.filter(({ source }) => source === state.id);
  const of = (kind: ChartEdge["kind"], key: (edge: ChartEdge) => string): Record<string, Transition[]> =>
    Object.fromEntries(
      [
        ...Map.groupBy(
          edges.filter((edge) => edge.kind === kind),
          key,
        ),
      ].map(([name, group]) => [name, group.map(transitionOf)]),
    );
  const config: Record<string, unknown> = {};
  if (state.parent !== null) config.id = state.id;
  if (state.description) config.description = state.description;
  if (state.type === "parallel" || state.type === "final" || state.type === "history") config.type = state.type;
  if (state.initial !== null) config.initial = chart.states.find(({ id }) => id === state.initial)?.key;
  if (state.entry.length > 0) config.entry = state.entry;
  if (state.exit.length > 0) config.exit = state.exit;
  if (state.tags.length > 0) config.tags = state.tags;
  if (state.invoke.length > 0) config.invoke = state.invoke.map((src) => ({ src }));
  const on = of("event", ({ event }) => event);
  const after = of("after", ({ delay }) => delay ?? "0");
  const always = edges.filter(({ kind }) => kind === "always").map(transitionOf);
  const done = edges.filter(({ kind }) => kind === "done").map(transitionOf);
  if (Object.keys(on).length > 0) config.on = on;
  if (Object.keys(after).length > 0) config.after = after;
  if (always.length > 0) config.always = always;
  if (done.length > 0) config.onDone = done;
  if (children.length > 0)
    config.states = Object.fromEntries(children.map((child) => [child.key, configOf(chart, child)]));
  return config;
}

function transitionOf({ targets, guard, actions, reenter, description }: ChartEdge): Transition {
  const transition: Transition = {};
  if (targets.length === 1) transition.target = `#${targets[0]}`;
  else if (targets.length > 1) transition.target = targets.map((id) => `#${id}`);
  if (guard !== null) transition.guard = guard;
  if (actions.length > 0) transition.actions = actions;
  if (reenter) transition.reenter = true;
  if (description) transition.description = description;
  return transition;
}
