/**
 * The fence against orders of the past.
 *
 * Orders carry a term, and one that is lower than any ever seen is void: its leader is deposed. The highest term is on
 * disk before the first order of that term is carried out, so a restart forgets nothing.
 *
 * They also carry a deadline by the leader's own clock, for an order can lie about in a connection while its worker
 * stands still. Whenever the leader answers promptly, it tells the time; what that clock says at least by now is known
 * from our own, without the two having to agree.
 */
import type { ChunkIndex } from "../../databases/chunk-index.ts";
import { Refusal } from "../messages/errors.ts";

/** An answer that took longer says too little about the leader's clock. */
const PROMPT_MS = 1000;

export class Fence {
  readonly #index: ChunkIndex;
  readonly #now: () => number;
  #highestTerm: number;
  /** The leader's clock is ahead of ours by this much, or by up to `PROMPT_MS` more. */
  #clock: { term: number; aheadMs: number } | null = null;

  /** @param now monotonic, in ms */
  constructor(index: ChunkIndex, now: () => number = () => performance.now()) {
    this.#index = index;
    this.#now = now;
    this.#highestTerm = index.identity().highestTerm;
  }

  get highestTerm(): number {
    return this.#highestTerm;
  }

  get now(): number {
    return this.#now();
  }

  /** @throws STALE_TERM */
  pass(term: number): void {
    if (term < this.#highestTerm)
      throw new Refusal("STALE_TERM", `The order is of term ${term}, a leader of term ${this.#highestTerm} exists`, {
        term: this.#highestTerm,
      });
    if (term === this.#highestTerm) return;
    this.#index.raiseTerm(term);
    this.#highestTerm = term;
  }

  /** @throws STALE_TERM, ORDER_EXPIRED */
  passOrder({ term, expiresAt }: { term: number; expiresAt: number }): void {
    this.pass(term);
    if (this.#clock?.term !== term) return;
    const lateMs = this.#now() + this.#clock.aheadMs - expiresAt;
    if (lateMs > 0) throw new Refusal("ORDER_EXPIRED", `The order came ${Math.ceil(lateMs)} ms after its deadline`);
  }

  /**
   * The leader of `term` has told its time in an answer.
   *
   * @param askedAt when it was asked, by `now`
   */
  noteLeaderTime(term: number, leaderTimeMs: number, askedAt: number): void {
    const now = this.#now();
    if (now - askedAt <= PROMPT_MS) this.#clock = { term, aheadMs: leaderTimeMs - now };
  }
}
