/**
 * Merges what the nodes tell into one causally ordered stream. A record waits until every node that answers has promised
 * to tell nothing older, or until it has waited long enough; one that comes later still is told at once, marked late.
 */
import type { StepRecord } from "./api.ts";
import { compareRecords } from "./order.ts";

export const HOLD_MS = 250;

interface Held {
  record: StepRecord;
  since: number;
}

export class Merger {
  readonly #promises = new Map<string, string>();
  #held: Held[] = [];
  #told = "";

  /** Nobody waits for a node that does not answer. */
  forget(node: string): void {
    this.#promises.delete(node);
  }

  /**
   * @param clock the node's promise: nothing to come has a lower reading
   * @param now ms, by any steady clock
   */
  push(node: string, records: readonly StepRecord[], clock: string, now: number): void {
    this.#promises.set(node, clock);
    for (const record of records) this.#held.push({ record, since: now });
  }

  /** What is due by now, in order; `late` ones are out of place, because others after them were told already. */
  take(now: number, holdMs: number = HOLD_MS): { record: StepRecord; late: boolean }[] {
    if (this.#held.length === 0) return [];
    let watermark = "~";
    for (const promise of this.#promises.values()) if (promise < watermark) watermark = promise;
    this.#held.sort((a, b) => compareRecords(a.record, b.record));
    // One that waited long enough takes all before it along.
    let due = 0;
    for (const [n, { record, since }] of this.#held.entries())
      if (record.h <= watermark || now - since >= holdMs) due = n + 1;
    return this.#held.splice(0, due).map(({ record }) => {
      const late = record.h < this.#told;
      if (!late) this.#told = record.h;
      return { record, late };
    });
  }

  get heldCount(): number {
    return this.#held.length;
  }
}
