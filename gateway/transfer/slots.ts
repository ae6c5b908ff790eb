/** How many transfers of a kind are under way, and the bound on them. */
import { Refusal } from "../../actors/messages/errors.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";

const takenIsWithinBounds: Invariant = declareInvariant("transfers: 0 <= slots taken <= slots");

export class Slots {
  #taken = 0;

  /** @param what for messages: "uploads" or "downloads" */
  constructor(
    readonly what: string,
    readonly most: number,
  ) {}

  /** @throws OVERLOADED if none is free */
  refuseUnlessFree(): void {
    if (this.#taken >= this.most)
      throw new Refusal("OVERLOADED", `${this.most} ${this.what} are under way; this gateway takes no more at once`);
  }

  /** @throws OVERLOADED if none is free */
  take(): void {
    this.refuseUnlessFree();
    this.#taken++;
    this.#check();
  }

  give(): void {
    this.#taken--;
    this.#check();
  }

  #check(): void {
    takenIsWithinBounds.check(this.#taken >= 0 && this.#taken <= this.most, { what: this.what, taken: this.#taken });
  }
}
