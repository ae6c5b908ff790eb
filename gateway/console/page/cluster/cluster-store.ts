/** The cluster's state from the gateway, asked every second while the page is seen, and its recent past. */
import { computed, signal } from "@preact/signals";
import type { Cluster } from "../../../client/answers.ts";
import { type Verdict, verdictOf } from "../../../client/verdict.ts";
import { AskError, ask, askJson, pageClock, silence } from "../ask.ts";
import { isStale } from "../silence.ts";
import { type Counts, latencyBuckets, quantile } from "./latency.ts";

export interface Sample {
  /** ms of the page's own clock, which never jumps */
  at: number;
  bytesIn: number | null;
  bytesOut: number | null;
  /** seconds, of requests answered since the sample before; null: none */
  p50: number | null;
  p95: number | null;
  short: number | null;
  chunks: number | null;
  repairs: number | null;
}

const EVERY_MS = 1000;
const HIDDEN_EVERY_MS = 5000;
const KEPT = 600;

export const cluster = signal<Cluster | null>(null);
/** Why the state is not known now; null: it is known. */
export const unknownBecause = signal<string | null>(null);
/** ms of the page's clock when `cluster` was true. */
const knownAt = signal(0);
export const samples = signal<Sample[]>([]);

/** Never green by default: an old state says nothing about now. */
export const verdict = computed<Verdict>(() => {
  if (isStale.value) return { level: "unknown", sentence: "Unknown: the gateway does not answer." };
  if (unknownBecause.value !== null) return { level: "unknown", sentence: `Unknown: ${unknownBecause.value}.` };
  if (cluster.value === null) return { level: "unknown", sentence: "Unknown yet: asking the gateway." };
  return verdictOf(cluster.value);
});

/** Age of `cluster`, ms. */
export const clusterAgeMs = computed(() => Math.max(0, pageClock.value - knownAt.value));

let last: { at: number; bytesIn: number; bytesOut: number; gateway: string } | null = null;
let lastBuckets: Counts | null = null;

async function look(): Promise<void> {
  const at = performance.now();
  let sample: Sample = {
    at,
    bytesIn: null,
    bytesOut: null,
    p50: null,
    p95: null,
    short: null,
    chunks: null,
    repairs: null,
  };
  try {
    const state = await askJson<Cluster>("/cluster");
    cluster.value = state;
    knownAt.value = performance.now();
    unknownBecause.value = null;
    const { gateway, redundancy, repairs, repairQueue } = state;
    const now = gateway && { at, bytesIn: gateway.bytesIn, bytesOut: gateway.bytesOut, gateway: gateway.id };
    const isSame = now && last && now.gateway === last.gateway && now.bytesIn >= last.bytesIn;
    const perSecond = 1000 / (at - (last?.at ?? 0));
    sample = {
      ...sample,
      bytesIn: isSame && last ? (now.bytesIn - last.bytesIn) * perSecond : null,
      bytesOut: isSame && last ? (now.bytesOut - last.bytesOut) * perSecond : null,
      short: redundancy.chunks - redundancy.full - (redundancy.unknown ?? 0),
      chunks: redundancy.chunks,
      repairs: repairs.length + repairQueue,
    };
    last = now ?? null;
  } catch (error) {
    unknownBecause.value = (error instanceof AskError ? error.message : String(error)).replace(/\.$/, "").toLowerCase();
    last = null;
  }
  try {
    const buckets = silence.peek() === null ? latencyBuckets(await (await ask("/metrics")).text()) : null;
    if (buckets && lastBuckets) {
      sample.p50 = quantile(lastBuckets, buckets, 0.5);
      sample.p95 = quantile(lastBuckets, buckets, 0.95);
    }
    lastBuckets = buckets;
  } catch {
    lastBuckets = null;
  }
  samples.value = [...samples.peek().slice(1 - KEPT), sample];
}

/** Goes on for as long as the page lives. */
export function watchCluster(): void {
  const again = async (): Promise<void> => {
    await look();
    setTimeout(again, document.visibilityState === "visible" ? EVERY_MS : HIDDEN_EVERY_MS);
  };
  void again();
}
