/** How long requests took between two looks at the gateway's metrics. Pure. */
/** Requests so far by upper bound in seconds, cumulative. */
export type Counts = Map<number, number>;

/** Cumulative counts of requests for files by upper bound in seconds. */
export function latencyBuckets(metrics: string): Counts {
  const counts: Counts = new Map();
  for (const [, labels = "", count] of metrics.matchAll(/^dfs_gateway_http_request_seconds_bucket\{(.*)\} (\d+)/gm)) {
    if (!labels.includes('route="/files')) continue;
    const bound = /le="([^"]+)"/.exec(labels)?.[1] ?? "";
    const le = bound === "+Inf" ? Number.POSITIVE_INFINITY : Number(bound);
    counts.set(le, (counts.get(le) ?? 0) + Number(count));
  }
  return counts;
}

/** @returns the bound in seconds under which `share` of the requests between two looks lie, or null. */
export function quantile(before: Counts, after: Counts, share: number): number | null {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const grown = bounds.map((bound) => (after.get(bound) ?? 0) - (before.get(bound) ?? 0));
  const all = grown.at(-1) ?? 0;
  if (all <= 0) return null;
  const wanted = all * share;
  const at = grown.findIndex((count) => count >= wanted);
  const upper = bounds[at] ?? 0;
  const lower = bounds[at - 1] ?? 0;
  if (upper === Number.POSITIVE_INFINITY) return lower;
  const below = grown[at - 1] ?? 0;
  const inside = (grown[at] as number) - below;
  return inside === 0 ? upper : lower + (upper - lower) * ((wanted - below) / inside);
}
