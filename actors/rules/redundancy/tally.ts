/** Sums over judged replica sets that people and plans ask for, kept by adding and taking away one set at a time. */
import type { NodeId } from "../../messages/primitives.ts";
import type { JudgedSet, Redundancy, Verdict } from "./classify.ts";
import { piecesOf } from "./scheme.ts";

/** A set as it is summed up. */
export interface Summand extends JudgedSet {
  /** Workers without which its chunks would have fewer than `minReplicas` copies. */
  readonly atRisk: readonly NodeId[];
  /** Workers without which they perhaps would: not all of the others are heard. */
  readonly unknown: readonly NodeId[];
  /** Two of its copies share a zone. */
  readonly isCrowded: boolean;
}

/** A sum is not there while it is zero. */
function add<K>(sums: Map<K, number>, key: K, chunks: number): void {
  const sum = (sums.get(key) ?? 0) + chunks;
  if (sum === 0) sums.delete(key);
  else sums.set(key, sum);
}

export class Tally {
  #sets = 0;
  #chunks = 0;
  #full = 0;
  #unknown = 0;
  #crowded = 0;
  readonly #below = new Map<number, number>();
  readonly #needing = new Map<Verdict["need"], number>();
  readonly #expectedOn = new Map<NodeId, number>();
  readonly #atRiskWithout = new Map<NodeId, number>();
  readonly #unknownWithout = new Map<NodeId, number>();

  add(summand: Summand): void {
    this.#count(summand, 1);
  }

  /** @param summand exactly as it was added */
  take(summand: Summand): void {
    this.#count(summand, -1);
  }

  #count({ set, verdict, atRisk, unknown, isCrowded }: Summand, times: 1 | -1): void {
    const chunks = times * set.chunkCount;
    const good = verdict.heard.length;
    this.#sets += times;
    this.#chunks += chunks;
    if (good >= piecesOf(set.scheme)) this.#full += chunks;
    else if (verdict.durable.length > good) this.#unknown += chunks;
    else add(this.#below, good, chunks);
    if (isCrowded) this.#crowded += chunks;
    add(this.#needing, verdict.need, chunks);
    for (const id of set.workers) add(this.#expectedOn, id, chunks);
    for (const id of atRisk) add(this.#atRiskWithout, id, chunks);
    for (const id of unknown) add(this.#unknownWithout, id, chunks);
  }

  redundancy(): Redundancy {
    const below = { "0": 0, "1": 0, "2": 0, ...Object.fromEntries(this.#below) };
    return { chunks: this.#chunks, full: this.#full, below, unknown: this.#unknown };
  }

  /** Chunks that need this. */
  needing(need: Verdict["need"]): number {
    return this.#needing.get(need) ?? 0;
  }

  /** Chunks with two copies in one zone. */
  get crowded(): number {
    return this.#crowded;
  }

  /** Chunks that the metadata expects on a worker. */
  expectedOn(id: NodeId): number {
    return this.#expectedOn.get(id) ?? 0;
  }

  /** Chunks that would have fewer than `minReplicas` copies without this worker. */
  atRiskWithout(id: NodeId): number {
    return this.#atRiskWithout.get(id) ?? 0;
  }

  /** Chunks that perhaps would, because not all of their other workers are heard. */
  unknownWithout(id: NodeId): number {
    return this.#unknownWithout.get(id) ?? 0;
  }

  /** The first sum that differs, in words; null: none does. */
  difference(other: Tally): string | null {
    const numbers = (of: Tally) => [of.#sets, of.#chunks, of.#full, of.#unknown, of.#crowded].join();
    if (numbers(this) !== numbers(other)) return `${numbers(this)} and ${numbers(other)}`;
    const maps = (of: Tally): ReadonlyMap<unknown, number>[] => [
      ...[of.#below, of.#needing, of.#expectedOn, of.#atRiskWithout, of.#unknownWithout],
    ];
    const others = maps(other);
    for (const [n, mine] of maps(this).entries()) {
      const theirs = others[n] as ReadonlyMap<unknown, number>;
      for (const key of new Set([...mine.keys(), ...theirs.keys()]))
        if (mine.get(key) !== theirs.get(key)) return `of ${key}: ${mine.get(key)} and ${theirs.get(key)}`;
    }
    return null;
  }
}
