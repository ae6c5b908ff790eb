/**
 * Merges the records of all nodes into one causally ordered stream. A record waits until every node that answers has
 * promised to send nothing older, or until it has waited long enough. A record that comes still later is passed on at once,
 * marked late.
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

  /** Records no longer wait for this node, which does not answer. */
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

  /** The records that are due, in order. A `late` one is out of place: later records were passed on before it. */
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
