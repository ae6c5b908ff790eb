/**
 * The fence against deposed leaders: orders carry a term, and one that is lower than any ever seen is void. The highest
 * term is on disk before the first order of that term is carried out, so a restart forgets nothing.
 */
import type { ChunkIndex } from "../../databases/chunk-index.ts";
import { Refusal } from "../messages/errors.ts";

export class Fence {
  readonly #index: ChunkIndex;
  #highestTerm: number;

  constructor(index: ChunkIndex) {
    this.#index = index;
    this.#highestTerm = index.identity().highestTerm;
  }

  get highestTerm(): number {
    return this.#highestTerm;
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
}
