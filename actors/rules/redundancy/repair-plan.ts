/**
 * Decides what one round of repair does: which chunks get a copy, from where and to where, which copies too many go, and
 * what has to wait and why. Pure: the same view and the same chance give the same plan, so a plan can be looked at without
 * being carried out.
 *
 * The order is the order of need: chunks with the fewest good copies first; then copies too many; then copies that share a
 * zone; and only when nothing is missing, the evenness of the workers. A round looks at a bounded number of sets, and costs
 * next to nothing while nothing is amiss.
 */
import type { SealedChunk } from "../../messages/chunk.ts";
import type { ChunkId, NodeId } from "../../messages/primitives.ts";
import { chooseTrim, type JudgedSet, type Verdict } from "./classify.ts";
import type { Layouts } from "./layouts.ts";
import { type Candidate, choose, evensOut, neighbours, rejection } from "./placement.ts";
import { piecesOf } from "./scheme.ts";

/** Chunks looked at per set and page; those under way or resting are skipped. */
const LOOKED_AT = 64;
const MOST_PAGES = 16;
const TRIMMED_PER_ROUND = 32;
/** Sets looked at per kind of need: the first ones, and as many from a random place behind them. */
const MOST_SETS = 64;
/**
 * A chunk goes to one of so many workers near its other copies; while these are busy it waits, so that repairs do not
 * spread a set's chunks over ever more combinations. The last copy of a chunk waits less.
 */
const NEAR = 2;
const NEAR_LAST_COPY = 8;
/** Fill of the fullest and the emptiest worker may differ by this share of their capacity. */
const UNEVEN_SHARE = 0.1;

/** A worker as the leader sees it when it plans. */
export interface RepairWorker extends Candidate {
  /** In one word, for people. */
  state: string;
  /** It has told this leader what it holds, on a disk that works. */
  isSure: boolean;
}

/** All replica sets with their verdicts, sorted by what is to be done for them. */
export interface JudgedSets {
  /** Those that lack a copy, from the fewest good ones. */
  lacking(): Iterable<JudgedSet>;
  /** Those with copies more than wanted. */
  overfull(): Iterable<JudgedSet>;
  /** Healthy ones with two copies in a zone, by the zones that their copies are in. */
  crowded(): Iterable<{ zones: ReadonlySet<string>; sets: Iterable<JudgedSet> }>;
  /** Those on a worker. */
  on(workerId: NodeId): Iterable<JudgedSet>;
}

/** Everything that a plan depends on. */
export interface RepairView {
  judged: JudgedSets;
  workers: readonly RepairWorker[];
  /** Of these workers. */
  layouts: Layouts;
  /** Chunks of a set by rising id, from behind `afterId`. */
  chunksOf(setId: number, afterId: number, limit: number): readonly SealedChunk[];
  /** Is the chunk being copied already, or does it rest after a failure? */
  isTaken(chunkId: ChunkId): boolean;
  /** Copies under way. */
  underWay: readonly { sourceId: NodeId | undefined; targetId: NodeId }[];
  /** Workers at which copies failed a moment ago. */
  resting: ReadonlySet<NodeId>;
  /** The target of the last try, if it may have the copy all the same. */
  askFirst(chunkId: ChunkId): NodeId | null;
  /** Copies at once, in all and by each worker in each direction. */
  limits: { maxConcurrent: number; maxPerWorker: number };
  /** Uniform in [0, 1). */
  random(): number;
}

export interface PlannedCopy {
  do: "copy";
  /** `spread` moves a copy to a zone that has none, `evenness` from a full worker to an empty one. */
  purpose: "redundancy" | "spread" | "evenness";
  chunk: SealedChunk;
  /** The least busy one first. */
  sourceIds: NodeId[];
  targetId: NodeId;
  /** Copies that count now. */
  goodCopies: number;
  /** In words. */
  reason: string;
}

export interface PlannedDrop {
  do: "drop";
  chunkId: ChunkId;
  workerId: NodeId;
  /** Workers whose copies stay, each of them proven. */
  keep: NodeId[];
}

export interface RepairPlan {
  /** In the order in which they are to be begun. */
  steps: (PlannedCopy | PlannedDrop)[];
  /** By replica set, why its next chunk gets no copy in this round, in words. */
  waiting: ReadonlyMap<number, string>;
  /** The same of the sets that the round did not come to; null: it came to all. */
  othersWait: string | null;
}

export function planRepairs(view: RepairView): RepairPlan {
  const round = new Round(view);
  const lacking = [...view.judged.lacking()];
  let seen = 0;
  for (const judged of someOf(lacking, view.random)) {
    seen++;
    if (!restore(round, judged)) break;
  }
  const overfull = [...view.judged.overfull()];
  trim(round, someOf(overfull, view.random));
  spread(round);
  if (lacking.length === 0 && overfull.length === 0) even(round);
  const { steps, waiting } = round;
  const othersWait = round.isFull ? allSlots(round) : "others come first, a few in each round: many chunks lack a copy";
  return { steps, waiting, othersWait: seen < lacking.length ? othersWait : null };
}

/** What cannot be helped now, at the front of many, must neither hide the rest nor cost a look at all of them. */
function* someOf(judged: readonly JudgedSet[], random: () => number): Generator<JudgedSet> {
  yield* judged.slice(0, MOST_SETS);
  const behind = judged.length - MOST_SETS;
  if (behind <= 0) return;
  const from = Math.floor(random() * behind);
  for (let n = 0; n < Math.min(MOST_SETS, behind); n++) yield judged[MOST_SETS + ((from + n) % behind)] as JudgedSet;
}

/** What a round has planned so far, and what that leaves of the workers' room and time. */
class Round {
  readonly steps: (PlannedCopy | PlannedDrop)[] = [];
  readonly waiting = new Map<number, string>();
  readonly view: RepairView;
  /** Space that the plan takes is reserved here, so that two chunks do not count on the same. */
  readonly workers: RepairWorker[];
  readonly #byId: Map<NodeId, RepairWorker>;
  /** Copies under way, in all and by worker. */
  #underWay = 0;
  readonly #from = new Map<NodeId | undefined, number>();
  readonly #to = new Map<NodeId, number>();

  constructor(view: RepairView) {
    this.view = view;
    this.workers = view.workers.map((worker) => ({ ...worker }));
    this.#byId = new Map(this.workers.map((worker) => [worker.id, worker]));
    for (const { sourceId, targetId } of view.underWay) this.#begin(sourceId, targetId);
  }

  #begin(sourceId: NodeId | undefined, targetId: NodeId): void {
    this.#underWay++;
    this.#from.set(sourceId, this.#copiesFrom(sourceId) + 1);
    this.#to.set(targetId, this.#copiesTo(targetId) + 1);
  }

  get size(): number {
    return this.#underWay;
  }

  get isFull(): boolean {
    return this.size >= this.view.limits.maxConcurrent;
  }

  worker(id: NodeId): RepairWorker | undefined {
    return this.#byId.get(id);
  }

  readonly zoneOf = (id: NodeId): string | undefined => this.#byId.get(id)?.zone;

  #copiesFrom(id: NodeId | undefined): number {
    return this.#from.get(id) ?? 0;
  }

  #copiesTo(id: NodeId): number {
    return this.#to.get(id) ?? 0;
  }

  /**
   * Plans one copy.
   *
   * @param among only these may become the target; all, if absent
   * @returns why no copy can be made now, in words; null: it is planned
   */
  copy(
    chunk: SealedChunk,
    { durable }: Verdict,
    { purpose, reason, among }: Pick<PlannedCopy, "purpose" | "reason"> & { among?: ReadonlySet<NodeId> },
  ): string | null {
    const { maxPerWorker } = this.view.limits;
    const sourceIds = durable
      .filter((id) => this.#copiesFrom(id) < maxPerWorker)
      .sort((a, b) => this.#copiesFrom(a) - this.#copiesFrom(b));
    if (sourceIds.length === 0) return "every worker that has it gives as many copies as it may";
    const { resting, layouts } = this.view;
    const wish = { count: 1, sizeBytes: chunk.lengthBytes, exclude: resting, holders: new Set(durable) };
    const near = among ? null : neighbours(this.#byId, layouts, wish, durable.length > 1 ? NEAR : NEAR_LAST_COPY);
    const pool = near ?? this.workers.filter(({ id }) => among?.has(id) ?? true);
    const isFree = ({ id }: RepairWorker): boolean => this.#copiesTo(id) < maxPerWorker;
    const askFirst = this.view.askFirst(chunk.chunkId);
    const first = askFirst !== null && (among?.has(askFirst) ?? true) ? this.worker(askFirst) : undefined;
    const [targetId] =
      first && isFree(first) && rejection(first, wish) === null
        ? [first.id]
        : choose(
            pool.filter((one) => durable.includes(one.id) || isFree(one)),
            layouts,
            wish,
            () => this.view.random(),
          );
    const target = targetId === undefined ? undefined : this.worker(targetId);
    if (target === undefined)
      return near === null ? "no worker can take a copy now" : "the workers that may take a copy beside it are busy";
    target.reservedBytes += chunk.lengthBytes;
    target.chunkCount++;
    this.#begin(sourceIds[0], target.id);
    this.steps.push({
      ...{ do: "copy", purpose, chunk, sourceIds, reason },
      ...{ targetId: target.id, goodCopies: durable.length },
    });
    return null;
  }
}

/** Chunks of one set that lack a copy. @returns whether there is a slot left for another set */
function restore(round: Round, { set, verdict }: JudgedSet): boolean {
  const wanted = piecesOf(set.scheme);
  const missing = set.workers.filter((id) => !verdict.lasting.includes(id));
  const because = missing.map((id) => `${id} is ${round.worker(id)?.state ?? "gone"}`).join(", ");
  const reason = `${verdict.lasting.length} of ${wanted} copies${because ? `: ${because}` : " were made"}`;
  const wait = (why: string) => {
    round.waiting.set(set.id, why);
    return !round.isFull;
  };
  let after = 0;
  for (let page = 0; page < MOST_PAGES; page++) {
    const chunks = round.isFull ? null : round.view.chunksOf(set.id, after, LOOKED_AT);
    if (chunks === null) return wait(allSlots(round));
    for (const chunk of chunks) {
      after = chunk.chunkId;
      if (round.view.isTaken(chunk.chunkId)) continue;
      const obstacle = round.isFull ? allSlots(round) : round.copy(chunk, verdict, { purpose: "redundancy", reason });
      if (obstacle !== null) return wait(obstacle);
    }
    if (chunks.length < LOOKED_AT) return true;
  }
  return true;
}

const allSlots = (round: Round): string => `${round.size} copies are under way, as many as are allowed`;

/** Copies that are more than wanted: one goes if enough proven ones stay. */
function trim(round: Round, judged: Iterable<JudgedSet>): void {
  let left = TRIMMED_PER_ROUND;
  for (const { set, verdict } of judged) {
    const wanted = piecesOf(set.scheme);
    const durable = verdict.durable
      .flatMap((id) => round.worker(id) ?? [])
      .filter(({ liveness }) => liveness === "live")
      .map((worker) => ({ ...worker, freeShare: 1 - usedShare(worker) }));
    if (durable.length <= wanted) continue;
    const workerId = chooseTrim(durable);
    const keep = durable
      .filter(({ id, isSure }) => id !== workerId && isSure && verdict.lasting.includes(id))
      .map(({ id }) => id);
    if (workerId === null || keep.length < wanted) continue;
    for (const { chunkId } of round.view.chunksOf(set.id, 0, left)) {
      left--;
      round.steps.push({ do: "drop", chunkId, workerId, keep });
    }
    if (left <= 0) return;
  }
}

/**
 * A copy more in another zone, where two had to share one when they were made; the trim then takes one of those. Only
 * with what repairs leave of the slots.
 */
function spread(round: Round): void {
  if (round.isFull) return;
  const anything = { count: 1, sizeBytes: 0, exclude: new Set<NodeId>(), holders: new Set<NodeId>() };
  const taking = round.workers.filter((worker) => worker.liveness === "live" && rejection(worker, anything) === null);
  const reason = "two of its copies share a zone, and another zone has room";
  for (const { zones, sets } of round.view.judged.crowded()) {
    const better = taking.filter(({ zone }) => !zones.has(zone));
    if (better.length === 0) continue;
    const among = new Set(better.map(({ id }) => id));
    for (const { set, verdict } of someOf([...sets], round.view.random)) {
      for (const chunk of round.view.chunksOf(set.id, 0, LOOKED_AT)) {
        if (round.isFull) return;
        if (round.view.isTaken(chunk.chunkId)) continue;
        if (round.copy(chunk, verdict, { purpose: "spread", reason, among }) !== null) break;
      }
    }
  }
}

const usedShare = ({ freeBytes, capacityBytes }: Candidate): number => 1 - freeBytes / Math.max(1, capacityBytes);
const percent = (share: number): string => `${Math.round(share * 100)} %`;

const nameOf = (workerIds: readonly NodeId[]): string => [...workerIds].sort().join();

/** Moves a chunk from the fullest worker to the emptiest: one more copy there, and the trim takes the one here. */
function even(round: Round): void {
  const { maxConcurrent } = round.view.limits;
  if (round.size >= Math.max(1, maxConcurrent / 2)) return;
  const able = round.workers.filter(({ mode, liveness }) => mode === "active" && liveness === "live");
  const most = (isMore: (a: number, b: number) => boolean) =>
    able.reduce<RepairWorker | null>(
      (best, one) => (best && !isMore(usedShare(one), usedShare(best)) ? best : one),
      null,
    );
  const fullest = most((a, b) => a > b);
  const emptiest = most((a, b) => a <= b);
  if (!fullest || !emptiest || usedShare(fullest) - usedShare(emptiest) < UNEVEN_SHARE) return;
  if (emptiest.condition !== "normal") return;
  const reason = `${fullest.id} is ${percent(usedShare(fullest))} full, ${emptiest.id} ${percent(usedShare(emptiest))}`;
  const movable = [...round.view.judged.on(fullest.id)].filter(({ verdict: { durable } }) => {
    const others = durable.filter((id) => id !== fullest.id).map(round.zoneOf);
    const isMoved = durable.includes(fullest.id) && !durable.includes(emptiest.id);
    return isMoved && (!others.includes(emptiest.zone) || fullest.zone === emptiest.zone);
  });
  // First those that will share their workers with others afterwards.
  const inUse = new Set([...round.view.judged.on(emptiest.id)].map(({ verdict }) => nameOf(verdict.durable)));
  const afterwards = ({ durable }: Verdict) => nameOf(durable.map((id) => (id === fullest.id ? emptiest.id : id)));
  const isNew = ({ verdict }: JudgedSet): number => (inUse.has(afterwards(verdict)) ? 0 : 1);
  const some = [...someOf(movable, round.view.random)].sort((a, b) => isNew(a) - isNew(b));
  for (const { set, verdict } of some) {
    const chunk = round.view
      .chunksOf(set.id, 0, LOOKED_AT)
      .find(({ chunkId, lengthBytes }) => evensOut(fullest, emptiest, lengthBytes) && !round.view.isTaken(chunkId));
    if (!chunk) continue;
    round.copy(chunk, verdict, { purpose: "evenness", reason, among: new Set([emptiest.id]) });
    return;
  }
}
