/**
 * Draws a machine from its own definition. `definition` and the graph tools of XState leave out `always`, so this walks
 * the state nodes themselves.
 */
import type { AnyStateMachine, AnyStateNode, AnyTransitionDefinition } from "xstate";
import type { Chart, ChartEdge, ChartState } from "../../messages/records.ts";

/** States are named by their path, so that ids given in the definition change nothing: `liveness.heard.suspect`. */
const stateIdOf = (node: AnyStateNode): string => [node.machine.id, ...node.path].join(".");

/** All transitions that leave a state, in the order of their definition: those by events and time, then `always`. */
const transitionsOf = (node: AnyStateNode): AnyTransitionDefinition[] => [
  ...[...node.transitions.values()].flat(),
  ...(node.always ?? []),
];

const edgeIds = new WeakMap<object, string>();

/** The id of the edge that a transition is drawn as. Machines made by `provide` have transitions of their own. */
export function edgeIdOf(transition: AnyTransitionDefinition): string {
  const known = edgeIds.get(transition);
  if (known !== undefined) return known;
  const source = stateIdOf(transition.source);
  for (const [n, one] of transitionsOf(transition.source).entries()) edgeIds.set(one, `${source}:${n}`);
  return edgeIds.get(transition) ?? source;
}

/** `xstate.after.suspectAfterMs.liveness.heard` → `after suspectAfterMs` */
export function eventName(type: string): string {
  if (!type.startsWith("xstate.")) return type;
  const [, kind = "", detail = ""] = type.split(".");
  if (kind === "init" || detail === "") return kind;
  if (kind === "after") return `after ${detail}`;
  return `${kind} ${type.slice(`xstate.${kind}.`.length).replace(/^state\./, "")}`;
}

const nameOf = (part: unknown): string => {
  if (typeof part === "string") return part;
  if (typeof part === "function") return part.name || "(unnamed)";
  return String((part as { type?: unknown } | null)?.type ?? "(unnamed)");
};

/** What delayed transitions are made of; the edge shows them. */
const isTimerWork = (action: unknown): boolean =>
  ["xstate.raise", "xstate.cancel"].includes((action as { type?: string }).type ?? "");

const actionNames = (actions: readonly unknown[]): string[] => actions.filter((one) => !isTimerWork(one)).map(nameOf);

function edgeOf(node: AnyStateNode, transition: AnyTransitionDefinition): ChartEdge {
  const { eventType, guard, delay, target, actions, reenter, description } = transition as AnyTransitionDefinition & {
    delay?: unknown;
  };
  const isAlways = node.always?.includes(transition) ?? false;
  const kind = isAlways
    ? "always"
    : delay !== undefined || eventType.startsWith("xstate.after.")
      ? "after"
      : eventType.startsWith("xstate.done.")
        ? "done"
        : eventType.startsWith("xstate.error.")
          ? "error"
          : "event";
  return {
    id: edgeIdOf(transition),
    source: stateIdOf(node),
    targets: (target ?? []).map(stateIdOf),
    kind,
    event: isAlways ? "" : eventName(eventType),
    guard: guard === undefined ? null : nameOf(guard),
    delay: delay === undefined ? null : typeof delay === "number" ? String(delay) : nameOf(delay),
    actions: actions.map(nameOf),
    reenter,
    description: description ?? "",
  };
}

function stateOf(node: AnyStateNode): ChartState {
  const initial = node.type === "compound" ? node.initial.target?.[0] : undefined;
  return {
    id: stateIdOf(node),
    key: node.key,
    parent: node.parent ? stateIdOf(node.parent) : null,
    type: node.type,
    initial: initial ? stateIdOf(initial) : null,
    description: node.description ?? "",
    entry: actionNames(node.entry),
    exit: actionNames(node.exit),
    invoke: node.invoke.map(({ src }) => nameOf(src)),
    tags: [...node.tags],
  };
}

const walk = (node: AnyStateNode): AnyStateNode[] => [node, ...Object.values(node.states).flatMap(walk)];

export function chartOf(machine: AnyStateMachine): Chart {
  const nodes = walk(machine.root);
  const drawn = {
    machine: machine.id,
    description: machine.root.description ?? "",
    states: nodes.map(stateOf),
    edges: nodes.flatMap((node) => transitionsOf(node).map((transition) => edgeOf(node, transition))),
  };
  const hash = new Bun.CryptoHasher("sha256").update(JSON.stringify(drawn)).digest("hex").slice(0, 16);
  return { ...drawn, hash };
}

/** `{heard: {live: "listening"}, duty: "active"}` → `heard.live.listening|duty.active` */
export function valueText(value: unknown, above = ""): string {
  if (typeof value === "string") return above + value;
  return Object.entries(value as Record<string, unknown>)
    .map(([key, inner]) => valueText(inner, `${above}${key}.`))
    .join("|");
}
