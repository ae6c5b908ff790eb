/** What is written into a state's box and beside an arrow. Pure. */
import type { Chart, ChartEdge, ChartState } from "../../api.ts";

/** `heartbeat [isCurrentTerm] / adopt` */
export function edgeInWords({ kind, event, guard, delay, actions }: ChartEdge): string {
  const what = kind === "after" ? `after ${delay}` : kind === "always" ? kind : event;
  return [what, guard ? `[${guard}]` : "", actions.length > 0 ? `/ ${actions.join(", ")}` : ""]
    .filter(Boolean)
    .join(" ");
}

export interface StateLine {
  text: string;
  kind: "entry" | "exit" | "invoke" | "inner";
  edge: string | null;
}

/** Entry and exit actions, what is invoked, and what is done without leaving. */
export function linesOf(chart: Chart, state: ChartState): StateLine[] {
  const inner = chart.edges.filter(({ source, targets }) => source === state.id && targets.length === 0);
  const line = (kind: StateLine["kind"], text: string, edge: string | null = null): StateLine => ({ kind, text, edge });
  return [
    ...state.entry.map((action) => line("entry", `entry / ${action}`)),
    ...state.exit.map((action) => line("exit", `exit / ${action}`)),
    ...state.invoke.map((source) => line("invoke", `runs ${source}`)),
    ...inner.map((edge) => line("inner", edgeInWords(edge), edge.id)),
  ];
}

/** Ids of all states of one part of a value: `a.b` → the machine, a, a.b. */
export function statesOfPart(machine: string, part: string): string[] {
  const keys = part.split(".");
  return keys.map((_, n) => [machine, ...keys.slice(0, n + 1)].join("."));
}

/**
 * Where a token for a value sits: in the innermost state that says all of it, so a leader with four parallel parts is
 * one token on `leader`; where the machine itself is parallel, one in each part.
 */
export function tokenStates(machine: string, value: string): string[] {
  const parts = value.split("|").map((part) => part.split("."));
  const [first = []] = parts;
  let shared = 0;
  while (parts.every((part) => part[shared] !== undefined && part[shared] === first[shared])) shared++;
  if (shared > 0) return [[machine, ...first.slice(0, shared)].join(".")];
  return parts.map((part) => [machine, ...part].join("."));
}
