/** Second requests for what a slow worker has not answered yet: few at once, and only where memory is free. */
import type { ByteBudget } from "./byte-budget.ts";

/** At once, per gateway. */
export const MOST_HEDGES = 8;

export class Hedges {
  #underWay = 0;

  constructor(
    readonly budget: ByteBudget,
    readonly most = MOST_HEDGES,
  ) {}

  get underWay(): number {
    return this.#underWay;
  }

  /** @param bytes what the answer will hold */
  tryBegin(bytes: number): boolean {
    if (this.#underWay >= this.most || (bytes > 0 && !this.budget.tryTake(bytes))) return false;
    this.#underWay++;
    return true;
  }

  end(bytes: number): void {
    this.#underWay--;
    this.budget.give(bytes);
  }
}
