/**
 * The fence against orders of the past, and against terms that no leader has.
 *
 * Each order carries a term. An order is void if its term is lower than the highest term seen: its leader is deposed. The
 * highest term is on disk before the first order of that term is carried out, so a restart forgets nothing. A term that is
 * out of reach of the highest known one is refused, since it would shut out every real leader. A worker that knows no term
 * yet believes the leader that registers it.
 *
 * Each order also carries a deadline by the leader's clock, since an order can wait in a socket while its worker is paused.
 * Each prompt answer of the leader carries its time, which gives a lower bound for the leader's clock now. The two clocks
 * need not agree.
 */
import { Value } from "@sinclair/typebox/value";
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import { Term } from "../../messages/primitives.ts";
import { isWithinReach } from "../../rules/term.ts";
import type { GroupCommit } from "../store/group-commit.ts";

/** An answer that took longer says too little about the leader's clock. */
const PROMPT_MS = 1000;

export class Fence {
  readonly #index: ChunkIndex;
  readonly #commits: GroupCommit;
  readonly #now: () => number;
  #highestTerm: number;
  /** The highest that is on disk. */
  #storedTerm: number;
  /** The leader's clock is ahead of ours by this much, or by up to `PROMPT_MS` more. */
  #clock: { term: number; aheadMs: number } | null = null;
  /** The next registration's term replaces the highest, and may be lower. */
  #relearns: boolean;

  /**
   * @param commits of the index
   * @param now monotonic, in ms
   * @param relearns set by `--reset-term`: the stored term is no leader's
   */
  constructor(index: ChunkIndex, commits: GroupCommit, now: () => number = () => performance.now(), relearns = false) {
    this.#index = index;
    this.#commits = commits;
    this.#now = now;
    this.#relearns = relearns;
    this.#highestTerm = index.identity().highestTerm;
    this.#storedTerm = this.#highestTerm;
  }

  get highestTerm(): number {
    return this.#highestTerm;
  }

  get now(): number {
    return this.#now();
  }

  /** A leader has registered this worker. @throws STALE_TERM, IMPLAUSIBLE_TERM */
  async follow(term: number): Promise<void> {
    if (!this.#relearns && this.#highestTerm > 0) {
      this.hear(term);
      return;
    }
    if (!Value.Check(Term, term)) throw new Refusal("IMPLAUSIBLE_TERM", `${term} is no leader's term`);
    await this.#commits.add(true, () => this.#index.setTerm(term));
    this.#highestTerm = term;
    this.#storedTerm = term;
    this.#relearns = false;
  }

  /** A leader has spoken, and has ordered nothing: its term need not be on disk yet. @throws STALE_TERM, IMPLAUSIBLE_TERM */
  hear(term: number): void {
    this.#refuseStale(term);
    if (term === this.#highestTerm) return;
    if (!isWithinReach(term, this.#highestTerm))
      throw new Refusal(
        "IMPLAUSIBLE_TERM",
        `Term ${term} is out of reach of ${this.#highestTerm}, the highest that this worker knows. If it is the leader's, start the worker once with --reset-term`,
        { term: this.#highestTerm },
      );
    this.#highestTerm = term;
  }

  #refuseStale(term: number): void {
    if (term < this.#highestTerm)
      throw new Refusal("STALE_TERM", `The order is of term ${term}, a leader of term ${this.#highestTerm} exists`, {
        term: this.#highestTerm,
      });
  }

  /** @returns once the term is on disk, and none higher was heard of meanwhile. @throws STALE_TERM, IMPLAUSIBLE_TERM */
  async pass(term: number): Promise<void> {
    this.hear(term);
    if (term <= this.#storedTerm) return;
    await this.#commits.add(true, () => this.#index.raiseTerm(term));
    this.#storedTerm = Math.max(this.#storedTerm, term);
    this.#refuseStale(term);
  }

  /** @throws STALE_TERM, IMPLAUSIBLE_TERM, ORDER_EXPIRED */
  async passOrder({ term, expiresAt }: { term: number; expiresAt: number }): Promise<void> {
    await this.pass(term);
    if (this.#clock?.term !== term) return;
    const lateMs = this.#now() + this.#clock.aheadMs - expiresAt;
    if (lateMs > 0) throw new Refusal("ORDER_EXPIRED", `The order came ${Math.ceil(lateMs)} ms after its deadline`);
  }

  /**
   * An answer of the leader of `term` carried the time by its clock.
   *
   * @param askedAt when it was asked, by `now`
   */
  noteLeaderTime(term: number, leaderTimeMs: number, askedAt: number): void {
    const now = this.#now();
    if (now - askedAt <= PROMPT_MS) this.#clock = { term, aheadMs: leaderTimeMs - now };
  }
}
