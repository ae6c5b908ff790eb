/**
 * Which workers get a chunk. Pure: the same view, the same chance, the same answer, and always with its reasons.
 *
 * Copies go to different zones first, then to different workers; among equals, workers with a larger share of free space
 * and less to do are likelier, never certain, so that many gateways do not all run to the emptiest one. Where workers are
 * many, only combinations of a layout are drawn.
 */
import type { NodeId, PlacementDecision, WorkerCondition, WorkerMode } from "../../messages/primitives.ts";
import type { Layouts } from "./layouts.ts";

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
  /** Chunks that it has, and that it was promised since it said so. */
  chunkCount: number;
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

/** Chunks below this take no space to speak of: it is their number that a worker has to bear. */
const SMALL_CHUNK_BYTES = 1 << 20;
/** A worker with fewer small chunks than the others is at most this much likelier than by its space, or less likely. */
const MOST_PUSH = 3;
/** How hard it is pushed: with a tenth too few it is half as likely again. */
const PUSH = 4;
/** With so few chunks, differences are chance. */
const FEW_CHUNKS = 100;

/** Share of free space, less what is promised, damped by load; for small chunks also by how many it has. Above 0. */
function score(worker: Candidate, usualChunks: number | null): number {
  const free = Math.max(0, worker.freeBytes - worker.reservedBytes) / Math.max(1, worker.capacityBytes);
  const isHeard = worker.liveness === "live";
  const ratio = usualChunks === null ? 1 : (usualChunks + FEW_CHUNKS) / (worker.chunkCount + FEW_CHUNKS);
  const push = isHeard ? Math.min(MOST_PUSH, Math.max(1 / MOST_PUSH, ratio ** PUSH)) : 0.1;
  return Math.max(1e-6, (push * free) / (1 + worker.load / 16));
}

interface Scored {
  worker: Candidate;
  score: number;
}

/** Those that can take the chunk. */
function acceptable(workers: readonly Candidate[], wish: PlacementWish): Scored[] {
  const taking = workers.filter((worker) => rejection(worker, wish) === null);
  const usual = usualChunks(taking, wish);
  return taking.map((worker) => ({ worker, score: score(worker, usual) }));
}

/** What a worker has on average, of those that have said it; null: the chunk is large, and space says all. */
function usualChunks(workers: readonly Candidate[], { sizeBytes }: PlacementWish): number | null {
  const heard = workers.filter(({ liveness }) => liveness === "live");
  if (sizeBytes > SMALL_CHUNK_BYTES || heard.length === 0) return null;
  return heard.reduce((sum, { chunkCount }) => sum + chunkCount, 0) / heard.length;
}

/** Of so many workers any combination may be used: there are no more of three than layouts would have. */
export const FEW_WORKERS = 10;
/** A writer that lost a worker gets one of so many, the nearest in the layouts. */
const NEIGHBOURS = 3;

/**
 * @param random uniform in [0, 1)
 * @returns chosen workers, best first; fewer than `wish.count` if there are not enough
 */
export function choose(
  workers: readonly Candidate[],
  layouts: Layouts,
  wish: PlacementWish,
  random: () => number,
): NodeId[] {
  if (workers.length <= FEW_WORKERS) return chooseFreely(workers, wish, random);
  if (wish.holders.size === 0)
    return chooseLayout(workers, layouts, wish, random) ?? chooseFreely(workers, wish, random);
  const byId = new Map(workers.map((worker) => [worker.id, worker]));
  const chosen: NodeId[] = [];
  while (chosen.length < wish.count) {
    const next = { ...wish, count: 1, holders: new Set([...wish.holders, ...chosen]) };
    const [id] = chooseFreely(neighbours(byId, layouts, next, NEIGHBOURS) ?? workers, next, random);
    if (id === undefined) break;
    chosen.push(id);
  }
  return chosen;
}

/** A worker is drawn by its score, then one of the layouts that it leads by the scores of those who follow. */
function chooseLayout(
  workers: readonly Candidate[],
  layouts: Layouts,
  wish: PlacementWish,
  random: () => number,
): NodeId[] | null {
  const taking = new Map(acceptable(workers, wish).map((scored) => [scored.worker.id, scored]));
  const zones = new Set([...taking.values()].map(({ worker }) => worker.zone));
  const leaders = [...taking.values()].map(({ worker, score }) => ({
    worker,
    score: score * layouts.weightOf(worker.id),
  }));
  const leader = draw(leaders, random);
  if (!leader) return null;
  const ways = layouts.ledBy(leader.worker.id).flatMap(({ workerIds, weight }) => {
    const able = workerIds.flatMap((id) => taking.get(id)?.worker ?? []);
    const chosen = zonesFirst(able, [], wish.count);
    const isBest = chosen.length === wish.count && zonesOf(chosen) === Math.min(wish.count, zones.size);
    const score = chosen.slice(1).reduce((product, { id }) => product * (taking.get(id)?.score ?? 0), weight);
    return isBest ? [{ chosen, score }] : [];
  });
  return draw(ways, random)?.chosen.map(({ id }) => id) ?? null;
}

const zonesOf = (workers: readonly Candidate[]): number => new Set(workers.map(({ zone }) => zone)).size;

/** One of them, with chances as their scores; undefined: there is none. */
function draw<T extends { score: number }>(from: readonly T[], random: () => number): T | undefined {
  let left = random() * from.reduce((sum, { score }) => sum + score, 0);
  for (const one of from) {
    left -= one.score;
    if (left < 0) return one;
  }
  return from.at(-1);
}

/**
 * The workers that may take one copy more beside the holders, so that as few combinations as can be come into use: the
 * nearest ones in layouts that the holders are part of. Which ones these are does not depend on load.
 *
 * @returns null: any worker may, because there are few or the layouts name none
 */
export function neighbours<Worker extends Candidate>(
  workers: ReadonlyMap<NodeId, Worker>,
  layouts: Layouts,
  wish: PlacementWish,
  most: number,
): Worker[] | null {
  if (workers.size <= FEW_WORKERS) return null;
  const taken = new Set([...wish.holders].map((id) => workers.get(id)?.zone));
  const isElsewhere = ({ zone }: Candidate): boolean => !taken.has(zone);
  const isAble = (worker: Candidate | undefined): boolean => worker !== undefined && rejection(worker, wish) === null;
  const isFar = workers.values().some((worker) => isElsewhere(worker) && isAble(worker));
  const nearest = new Map<Worker, number>();
  for (const { workerIds } of layouts.around([...wish.holders])) {
    const present = workerIds.filter((id) => wish.holders.has(id) || isAble(workers.get(id)));
    const others = present.flatMap((id) => (wish.holders.has(id) ? [] : (workers.get(id) ?? [])));
    const target = others.find((worker) => !isFar || isElsewhere(worker));
    if (!target) continue;
    const needed = [...wish.holders, target.id].map((id) => present.indexOf(id));
    const distance = needed.includes(-1) ? workerIds.length + Math.max(...needed) : Math.max(...needed);
    nearest.set(target, Math.min(distance, nearest.get(target) ?? distance));
  }
  if (nearest.size === 0) return null;
  return [...nearest]
    .sort(([a, near], [b, far]) => near - far || (a.id < b.id ? -1 : 1))
    .slice(0, most)
    .map(([worker]) => worker);
}

/**
 * Draws from all combinations.
 *
 * @param random uniform in [0, 1)
 */
function chooseFreely(workers: readonly Candidate[], wish: PlacementWish, random: () => number): NodeId[] {
  // The order of random ** (1 / score), which is too small a number for a worker that is nearly full.
  const drawn = acceptable(workers, wish)
    .map(({ worker, score }) => ({ worker, key: Math.log(random()) / score }))
    .sort((a, b) => b.key - a.key || (a.worker.id < b.worker.id ? -1 : 1))
    .map(({ worker }) => worker);
  const zones = new Set(workers.filter(({ id }) => wish.holders.has(id)).map(({ zone }) => zone));
  return zonesFirst(drawn, zones, wish.count).map(({ id }) => id);
}

/** The first ones of zones that have none yet, then the first ones of the others. */
function zonesFirst(workers: readonly Candidate[], taken: Iterable<string>, count: number): Candidate[] {
  const zones = new Set(taken);
  const chosen: Candidate[] = [];
  for (const worker of workers) {
    if (chosen.length === count) break;
    if (zones.has(worker.zone)) continue;
    zones.add(worker.zone);
    chosen.push(worker);
  }
  for (const worker of workers) {
    if (chosen.length === count) break;
    if (!chosen.includes(worker)) chosen.push(worker);
  }
  return chosen;
}

/** Whether a chunk fits onto `to`, and moving it there from `from` leaves the two more alike than they were. */
export function evensOut(from: Candidate, to: Candidate, lengthBytes: number): boolean {
  const wish = { count: 1, sizeBytes: lengthBytes, exclude: new Set<NodeId>(), holders: new Set<NodeId>() };
  const usedShare = ({ freeBytes, reservedBytes, capacityBytes }: Candidate, moreBytes: number): number =>
    1 - (freeBytes - reservedBytes - moreBytes) / Math.max(1, capacityBytes);
  return rejection(to, wish) === null && usedShare(to, lengthBytes) <= usedShare(from, -lengthBytes);
}

/** So many workers that could take the chunk, and so many that could not, are named in an account. */
const NAMED = 8;
const CAN_TAKE_IT = "can take it";

/**
 * The account of a choice, to be kept with it: the best candidates of either kind, and how many there were of each.
 *
 * @param decidedAt ms since the epoch by the leader's clock; `atLogTime` is its name on the wire and in old rows
 */
export function explain(
  workers: readonly Candidate[],
  wish: PlacementWish,
  decidedAt: number,
  purpose: string,
): PlacementDecision {
  const taking = workers.filter((worker) => rejection(worker, wish) === null);
  const usual = usualChunks(taking, wish);
  const zones = new Set(taking.map(({ zone }) => zone));
  const spread = zones.size >= wish.count ? "each in a zone of its own" : `over ${zones.size} zones, fewer than copies`;
  const from = workers.length > FEW_WORKERS ? "from the layouts " : "";
  const judged = workers
    .map((worker) => ({
      workerId: worker.id,
      score: Number(score(worker, usual).toFixed(4)),
      reason: rejection(worker, wish) ?? CAN_TAKE_IT,
    }))
    .sort((a, b) => b.score - a.score || (a.workerId < b.workerId ? -1 : 1));
  const able = judged.filter(({ reason }) => reason === CAN_TAKE_IT).slice(0, NAMED);
  const rejected = judged.filter(({ reason }) => reason !== CAN_TAKE_IT).slice(0, NAMED);
  const counts: Record<string, number> = {};
  for (const { reason } of judged) counts[reason] = (counts[reason] ?? 0) + 1;
  return {
    atLogTime: decidedAt,
    rule: `${purpose}: ${wish.count} workers, ${spread}; drawn ${from}by free space${usual === null ? "" : ", chunks"} and load`,
    candidates: [
      ...able.map(({ workerId, score }) => ({ workerId, score })),
      ...rejected.map(({ workerId, score, reason }) => ({ workerId, score, rejected: reason })),
    ],
    counts,
  };
}
