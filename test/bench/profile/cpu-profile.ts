/** Reads what a profiler found: for each sample, in which file the JavaScript was. */
import { median } from "../arithmetic.ts";

export interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string };
  hitCount?: number;
  children?: number[];
}

/** As Chrome's DevTools read it; times in microseconds. */
export interface CpuProfile {
  nodes: ProfileNode[];
  startTime: number;
  endTime: number;
  samples?: number[];
  timeDeltas?: number[];
}

export interface Sampled {
  /** What ran: a file of ours from the root, `package <name>`, `Bun <module>` or `native <function>`. */
  source: string;
  /** Whose work that was: itself for a file of ours, else the nearest caller of ours; null if none called it. */
  onBehalfOf: string | null;
  samples: number;
}

/** @param root of the checkout that the node was started from */
export function sourceOf({ functionName, url }: ProfileNode["callFrame"], root: string): string {
  const path = decodeURI(url.replace(/^file:\/\//, ""));
  const inPackage = /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  if (inPackage) return `package ${inPackage}`;
  if (path.startsWith(`${root}/`)) return path.slice(root.length + 1);
  return path === "" || path.startsWith("[") ? `native ${functionName || "(anonymous)"}` : `Bun ${path}`;
}

const isOurs = (source: string): boolean => !/^(package|native|Bun) /.test(source);

/** One entry for each frame in which samples were found. */
export function sampledIn({ nodes }: CpuProfile, root: string): Sampled[] {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const found: Sampled[] = [];
  const waiting: { node: ProfileNode; caller: string | null }[] = nodes[0] ? [{ node: nodes[0], caller: null }] : [];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const source = sourceOf(next.node.callFrame, root);
    const onBehalfOf = isOurs(source) ? source : next.caller;
    const samples = next.node.hitCount ?? 0;
    if (samples > 0) found.push({ source, onBehalfOf, samples });
    for (const id of next.node.children ?? []) {
      const node = byId.get(id);
      if (node) waiting.push({ node, caller: onBehalfOf });
    }
  }
  return found;
}

/** How long one sample stands for: between two of them nothing else passed, unless the program slept. */
export function secondsPerSample({ timeDeltas = [] }: CpuProfile): number {
  const apart = timeDeltas.filter((delta) => delta > 0);
  return apart.length === 0 ? 0 : median(apart) / 1e6;
}

/** Samples by a name of the caller's choosing, most first. */
export function tally(sampled: Sampled[], nameOf: (one: Sampled) => string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const one of sampled) sums.set(nameOf(one), (sums.get(nameOf(one)) ?? 0) + one.samples);
  return new Map([...sums].sort(([, a], [, b]) => b - a));
}
