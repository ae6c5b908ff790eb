/**
 * Which workers get a chunk. Pure: the same view, the same chance, the same answer, and always with its reasons.
 *
 * Copies go to different zones first, then to different workers; among equals, workers with a larger share of free space
 * and less to do are likelier, never certain, so that many gateways do not all run to the emptiest one.
 */
import type { NodeId, PlacementDecision, WorkerCondition, WorkerMode } from "../../messages/primitives.ts";

/** A worker as the leader sees it when it places. */
export interface Candidate {
  id: NodeId;
  zone: string;
  /** `unknown`: not heard since this leader took office, alive as far as the metadata knows. */
  liveness: "unknown" | "live" | "suspect" | "dead";
  mode: WorkerMode;
  condition: WorkerCondition;
  freeBytes: number;
  capacityBytes: number;
  /** Promised to uploads that have not shown up in `freeBytes` yet. */
  reservedBytes: number;
  /** Requests that it is serving. */
  load: number;
}

export interface PlacementWish {
  /** How many workers. */
  count: number;
  sizeBytes: number;
  exclude: ReadonlySet<NodeId>;
  /** Workers that hold a copy already: never chosen, but their zones count. */
  holders: ReadonlySet<NodeId>;
}

/** @returns why this worker cannot take the chunk, or null if it can */
export function rejection(worker: Candidate, wish: PlacementWish): string | null {
  if (wish.holders.has(worker.id)) return "holds a copy already";
  if (worker.mode !== "active") return worker.mode;
  if (worker.liveness === "dead" || worker.liveness === "suspect") return worker.liveness;
  if (wish.exclude.has(worker.id)) return "just failed for the writer";
  if (worker.condition !== "normal") return worker.condition;
  if (worker.freeBytes - worker.reservedBytes < wish.sizeBytes) return "too little free space";
  return null;
}

/** Share of free space, less what is promised, damped by load. In (0, 1]. */
function score(worker: Candidate): number {
  const free = Math.max(0, worker.freeBytes - worker.reservedBytes) / Math.max(1, worker.capacityBytes);
  const heard = worker.liveness === "live" ? 1 : 0.1;
  return Math.max(1e-6, (heard * free) / (1 + worker.load / 16));
}

/**
 * @param random uniform in [0, 1)
 * @returns chosen workers, best first; fewer than `wish.count` if there are not enough
 */
export function choose(workers: readonly Candidate[], wish: PlacementWish, random: () => number): NodeId[] {
  const drawn = workers
    .filter((worker) => rejection(worker, wish) === null)
    .map((worker) => ({ worker, key: random() ** (1 / score(worker)) }))
    .sort((a, b) => b.key - a.key || (a.worker.id < b.worker.id ? -1 : 1))
    .map(({ worker }) => worker);
  const zones = new Set(workers.filter(({ id }) => wish.holders.has(id)).map(({ zone }) => zone));
  const chosen: Candidate[] = [];
  for (const worker of drawn) {
    if (chosen.length === wish.count) break;
    if (zones.has(worker.zone)) continue;
    zones.add(worker.zone);
    chosen.push(worker);
  }
  for (const worker of drawn) {
    if (chosen.length === wish.count) break;
    if (!chosen.includes(worker)) chosen.push(worker);
  }
  return chosen.map(({ id }) => id);
}

/** Whether a chunk fits onto `to`, and moving it there from `from` leaves the two more alike than they were. */
export function evensOut(from: Candidate, to: Candidate, lengthBytes: number): boolean {
  const wish = { count: 1, sizeBytes: lengthBytes, exclude: new Set<NodeId>(), holders: new Set<NodeId>() };
  const usedShare = ({ freeBytes, reservedBytes, capacityBytes }: Candidate, moreBytes: number): number =>
    1 - (freeBytes - reservedBytes - moreBytes) / Math.max(1, capacityBytes);
  return rejection(to, wish) === null && usedShare(to, lengthBytes) <= usedShare(from, -lengthBytes);
}

/**
 * The account of a choice, to be kept with it.
 *
 * @param decidedAt ms since the epoch by the leader's clock; `atLogTime` is its name on the wire and in old rows
 */
export function explain(
  workers: readonly Candidate[],
  wish: PlacementWish,
  decidedAt: number,
  purpose: string,
): PlacementDecision {
  const zones = new Set(workers.filter((worker) => rejection(worker, wish) === null).map(({ zone }) => zone));
  const spread = zones.size >= wish.count ? "each in a zone of its own" : `over ${zones.size} zones, fewer than copies`;
  return {
    atLogTime: decidedAt,
    rule: `${purpose}: ${wish.count} workers, ${spread}; drawn by free space and load`,
    candidates: workers.slice(0, 64).map((worker) => {
      const rejected = rejection(worker, wish);
      return { workerId: worker.id, score: Number(score(worker).toFixed(4)), ...(rejected ? { rejected } : {}) };
    }),
  };
}
