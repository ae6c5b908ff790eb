/**
 * The verdicts on all replica sets, kept from one look to the next, so that a look costs what has changed and not what is
 * there: sets that a write touched, and sets with a worker that changed, are judged anew. What repairs and people ask for is
 * sorted and summed up along with it.
 *
 * Beside it goes a slow look at everything, a slice at a time, that must agree. Pure: it hears of sets and workers.
 */
import type { NodeId } from "../../messages/primitives.ts";
import { declareInvariant, type Invariant } from "../invariant.ts";
import { classifyReplicas, type Holder, indispensable, type JudgedSet, type Verdict } from "./classify.ts";
import type { JudgedSets } from "./repair-plan.ts";
import { piecesOf } from "./scheme.ts";
import { type Summand, Tally } from "./tally.ts";

/** What verdicts depend on of a worker. Whether a silent one is suspected already makes no difference. */
export interface Standing extends Holder {
  liveness: "unknown" | "live" | "dead";
  zone: string;
  /** Its copies can be relied on: those on a disk that fails may be gone already. */
  isSure: boolean;
}

const agreesWithAll: Invariant = declareInvariant(
  "redundancy: kept verdicts are those of a look at everything",
  "mend",
);

const NOBODY: readonly NodeId[] = [];

/** One set, changed in place as it is judged anew. */
interface Kept extends Summand {
  set: JudgedSet["set"];
  verdict: Verdict;
  atRisk: readonly NodeId[];
  unknown: readonly NodeId[];
  isCrowded: boolean;
  /** Where it is sorted in by its need; null: there is nothing to do for it. */
  shelf: Map<number, Kept> | null;
  /** The look at everything that counted it last. */
  lap: number;
}

export class KeptVerdicts implements JudgedSets {
  readonly #minReplicas: number;
  readonly #standings = new Map<NodeId, Standing>();
  readonly #sets = new Map<number, Kept>();
  readonly #setsOn = new Map<NodeId, { id: NodeId; sets: Map<number, Kept> }>();
  /** By number of good copies. */
  readonly #lacking = new Map<number, Map<number, Kept>>();
  readonly #overfull = new Map<number, Kept>();
  /** By the zones that their copies are in. */
  readonly #crowded = new Map<string, { zones: ReadonlySet<string>; sets: Map<number, Kept> }>();
  #tally = new Tally();
  #lap = 1;
  /** What the look at everything has counted in this lap. */
  #counted = new Tally();

  constructor(minReplicas: number) {
    this.#minReplicas = minReplicas;
  }

  /** Sets that hold chunks. */
  get size(): number {
    return this.#sets.size;
  }

  get tally(): Tally {
    return this.#tally;
  }

  // ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────────

  standingOf(id: NodeId): Standing | undefined {
    return this.#standings.get(id);
  }

  /** Ids of all workers that have a standing. */
  workers(): NodeId[] {
    return [...this.#standings.keys()];
  }

  /** A worker that changed, or is no longer known: what it holds is judged anew. */
  workerChanged(id: NodeId, standing: Standing | undefined): void {
    if (standing) this.#standings.set(id, standing);
    else this.#standings.delete(id);
    for (const kept of this.#setsOn.get(id)?.sets.values() ?? []) this.#judgeAnew(kept, kept.set, false);
  }

  /** A set as it is stored now. One without chunks needs nothing. */
  put(set: JudgedSet["set"]): void {
    const kept = this.#sets.get(set.id);
    if (kept && set.chunkCount > 0 && sameIds(kept.set.workers, set.workers)) {
      this.#judgeAnew(kept, { ...set, workers: kept.set.workers }, true);
      return;
    }
    this.drop(set.id);
    if (set.chunkCount === 0) return;
    const workers = set.workers.map((id) => this.#on(id).id);
    const fresh: Kept = { ...this.#judge({ ...set, workers }), shelf: null, lap: this.#lap };
    this.#sets.set(set.id, fresh);
    for (const id of workers) this.#on(id).sets.set(set.id, fresh);
    this.#tally.add(fresh);
    this.#counted.add(fresh);
    this.#shelve(fresh);
  }

  /** A set that is no longer stored. */
  drop(setId: number): void {
    const kept = this.#sets.get(setId);
    if (!kept) return;
    this.#tally.take(kept);
    if (kept.lap === this.#lap) this.#counted.take(kept);
    kept.shelf?.delete(setId);
    this.#sets.delete(setId);
    for (const id of kept.set.workers) {
      const { sets } = this.#on(id);
      sets.delete(setId);
      if (sets.size === 0) this.#setsOn.delete(id);
    }
  }

  /** All that is stored now, whatever was heard before. */
  reset(sets: Iterable<JudgedSet["set"]>): void {
    for (const shelves of [this.#sets, this.#setsOn, this.#lacking, this.#overfull, this.#crowded]) shelves.clear();
    this.#tally = new Tally();
    this.#beginLap();
    for (const set of sets) this.put(set);
  }

  #on(id: NodeId): { id: NodeId; sets: Map<number, Kept> } {
    const holdings = this.#setsOn.get(id) ?? { id, sets: new Map<number, Kept>() };
    this.#setsOn.set(id, holdings);
    return holdings;
  }

  #judgeAnew(kept: Kept, set: JudgedSet["set"], isRead: boolean): void {
    const isCounted = kept.lap === this.#lap;
    this.#tally.take(kept);
    if (isCounted) this.#counted.take(kept);
    Object.assign(kept, this.#judge(set));
    this.#tally.add(kept);
    if (isCounted || isRead) this.#counted.add(kept);
    if (isRead) kept.lap = this.#lap;
    this.#shelve(kept);
  }

  #judge(set: JudgedSet["set"]): Summand {
    const { workers, scheme } = set;
    const wanted = piecesOf(scheme);
    const needed = Math.min(this.#minReplicas, wanted);
    if (workers.length === wanted && wanted > needed && workers.every((id) => this.#isPlain(id))) {
      const verdict: Verdict = { need: "healthy", durable: workers, heard: workers, lasting: workers };
      return { set, verdict, atRisk: NOBODY, unknown: NOBODY, isCrowded: this.#shareAZone(workers) };
    }
    const verdict = classifyReplicas(workers, (id) => this.#standings.get(id), scheme);
    const { durable, heard, lasting } = verdict;
    const atRisk = indispensable(durable, (id) => this.#standings.get(id)?.isSure === true, needed);
    const unknown = durable.filter((id) => !atRisk.includes(id) && heard.length - Number(heard.includes(id)) < needed);
    return { set, verdict, atRisk, unknown, isCrowded: this.#shareAZone(lasting) };
  }

  /** Nearly all workers are: sets on them alone need no second look. */
  #isPlain(id: NodeId): boolean {
    const standing = this.#standings.get(id);
    if (!standing) return false;
    const { liveness, mode, isSure } = standing;
    return liveness === "live" && isSure && (mode === "active" || mode === "maintenance");
  }

  #shareAZone(ids: readonly NodeId[]): boolean {
    const zoneOf = (id: NodeId) => this.#standings.get(id)?.zone;
    return ids.some((id, n) => ids.findIndex((other) => zoneOf(other) === zoneOf(id)) < n);
  }

  // ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────

  get(setId: number): JudgedSet | undefined {
    return this.#sets.get(setId);
  }

  *lacking(): Iterable<JudgedSet> {
    for (const good of [...this.#lacking.keys()].sort((a, b) => a - b)) yield* this.#lacking.get(good)?.values() ?? [];
  }

  overfull(): Iterable<JudgedSet> {
    return this.#overfull.values();
  }

  *crowded(): Iterable<{ zones: ReadonlySet<string>; sets: Iterable<JudgedSet> }> {
    for (const [key, { zones, sets }] of this.#crowded) {
      if (sets.size > 0) yield { zones, sets: sets.values() };
      else this.#crowded.delete(key);
    }
  }

  on(id: NodeId): Iterable<JudgedSet> {
    return this.#setsOn.get(id)?.sets.values() ?? [];
  }

  #shelve(kept: Kept): void {
    const shelf = this.#shelfOf(kept);
    if (shelf === kept.shelf) return;
    kept.shelf?.delete(kept.set.id);
    shelf?.set(kept.set.id, kept);
    kept.shelf = shelf;
  }

  #shelfOf({ verdict: { need, durable, lasting }, isCrowded }: Kept): Map<number, Kept> | null {
    if (need === "trim") return this.#overfull;
    if (need === "copy") {
      const shelf = this.#lacking.get(durable.length) ?? new Map<number, Kept>();
      this.#lacking.set(durable.length, shelf);
      return shelf;
    }
    if (need === "lost" || !isCrowded) return null;
    const zones = new Set(lasting.map((id) => this.#standings.get(id)?.zone ?? ""));
    const key = [...zones].sort().join("\n");
    const crowd = this.#crowded.get(key) ?? { zones, sets: new Map<number, Kept>() };
    this.#crowded.set(key, crowd);
    return crowd.sets;
  }

  // ── the look at everything ───────────────────────────────────────────────────────────────────────────────────────

  /**
   * Compares the next slice of all stored sets with what is kept. Whoever calls it has told of every change before.
   *
   * @param isLast nothing is stored behind this slice
   * @throws InvariantBroken if a set or a sum differs; `reset` puts it right
   */
  compare(slice: readonly JudgedSet["set"][], isLast: boolean): void {
    for (const set of slice) {
      const kept = this.#sets.get(set.id);
      const isRight = kept ? isSame(kept, this.#judge(set)) : set.chunkCount === 0;
      agreesWithAll.check(isRight, { stored: set, kept: kept && { set: kept.set, verdict: kept.verdict } });
      if (!kept || kept.lap === this.#lap) continue;
      kept.lap = this.#lap;
      this.#counted.add(kept);
    }
    if (!isLast) return;
    const difference = this.#tally.difference(this.#counted);
    this.#beginLap();
    agreesWithAll.check(difference === null, { difference });
  }

  #beginLap(): void {
    this.#lap++;
    this.#counted = new Tally();
  }
}

const sameIds = (some: readonly NodeId[], others: readonly NodeId[]): boolean =>
  some === others || (some.length === others.length && some.every((id, n) => id === others[n]));

const isSame = (one: Summand, other: Summand): boolean =>
  one.set.chunkCount === other.set.chunkCount &&
  one.set.scheme === other.set.scheme &&
  one.isCrowded === other.isCrowded &&
  one.verdict.need === other.verdict.need &&
  sameIds(one.set.workers, other.set.workers) &&
  sameIds(one.verdict.durable, other.verdict.durable) &&
  sameIds(one.verdict.heard, other.verdict.heard) &&
  sameIds(one.verdict.lasting, other.verdict.lasting) &&
  sameIds(one.atRisk, other.atRisk) &&
  sameIds(one.unknown, other.unknown);
