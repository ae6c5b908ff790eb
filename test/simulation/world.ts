/**
 * A world with one thread, no promises and no clock but its own: events ordered by (time, sequence), and all chance from
 * one seed. Each purpose draws from a stream of its own, so taking one fault away does not reshuffle the others.
 */
import { currentWork } from "../../actors/node/watchdog/current-work.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";
import { seeded } from "../support/random.ts";

const timeNeverFalls: Invariant = declareInvariant("simulator: time never falls");

/** Of the world of this thread, for another thread to read. ms */
export const simulatedTime = new Float64Array(new SharedArrayBuffer(8));

interface Scheduled {
  at: number;
  sequence: number;
  run: (() => void) | null;
  /** By somebody who only looks on: no event. */
  isLook: boolean;
}

/** A life that goes on for longer than anybody wants to wait: nothing is known of its end. */
export class TooManyEvents extends Error {
  override name = "TooManyEvents";
}

export class World {
  now = 0;
  events = 0;
  mostEvents = Number.POSITIVE_INFINITY;
  readonly #heap: Scheduled[] = [];
  #sequence = 0;

  constructor(readonly seed: number) {}

  /** An independent stream of chance. */
  random(purpose: string): () => number {
    return seeded(Number(Bun.hash.xxHash32(purpose, this.seed)));
  }

  schedule(delayMs: number, run: () => void): Scheduled {
    return this.#schedule(delayMs, run, false);
  }

  /** For what changes nothing: the world is the same with it and without it. */
  look(delayMs: number, run: () => void): Scheduled {
    return this.#schedule(delayMs, run, true);
  }

  #schedule(delayMs: number, run: () => void, isLook: boolean): Scheduled {
    const scheduled = { at: this.now + Math.max(0, delayMs), sequence: this.#sequence++, run, isLook };
    this.#push(scheduled);
    return scheduled;
  }

  cancel(scheduled: Scheduled): void {
    scheduled.run = null;
  }

  /** Runs what is due until `until`; `after` is called behind every event. */
  run(until: number, after: () => void): void {
    while (this.step(until, after)) {}
  }

  /** Runs the next event, if one is due until `until`; otherwise it is `until` then. */
  step(until: number, after: () => void): boolean {
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.at > until) {
        this.now = until;
        return false;
      }
      this.#pop();
      if (next.run === null) continue;
      timeNeverFalls.check(next.at >= this.now, { now: this.now, next: next.at });
      this.now = next.at;
      if (next.isLook) {
        next.run();
        continue;
      }
      this.events++;
      if (this.events > this.mostEvents) throw new TooManyEvents(`more than ${this.mostEvents} events`);
      simulatedTime[0] = this.now;
      currentWork.turn();
      next.run();
      after();
      return true;
    }
  }

  #before = (a: Scheduled, b: Scheduled): boolean => a.at < b.at || (a.at === b.at && a.sequence < b.sequence);

  #push(item: Scheduled): void {
    const heap = this.#heap;
    heap.push(item);
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#before(heap[at] as Scheduled, heap[parent] as Scheduled)) break;
      [heap[at], heap[parent]] = [heap[parent] as Scheduled, heap[at] as Scheduled];
      at = parent;
    }
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Scheduled;
    if (heap.length === 0) return;
    heap[0] = last;
    for (let at = 0; ; ) {
      let smallest = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < heap.length && this.#before(heap[child] as Scheduled, heap[smallest] as Scheduled))
          smallest = child;
      if (smallest === at) return;
      [heap[at], heap[smallest]] = [heap[smallest] as Scheduled, heap[at] as Scheduled];
      at = smallest;
    }
  }
}
