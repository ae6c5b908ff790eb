/** Time that stands still until a test lets it pass. */
import type { Clock } from "../../actors/node/clock.ts";

interface Alarm {
  at: number;
  order: number;
  ring: () => void;
}

export class ManualClock implements Clock {
  #now = 1_000;
  #made = 0;
  readonly #alarms = new Map<number, Alarm>();

  now(): number {
    return this.#now;
  }

  setTimeout(ring: () => void, ms: number): number {
    const order = ++this.#made;
    this.#alarms.set(order, { at: this.#now + ms, order, ring });
    return order;
  }

  clearTimeout(handle: unknown): void {
    this.#alarms.delete(handle as number);
  }

  /** Time passes, and every timer rings when it is due. */
  pass(ms: number): void {
    const end = this.#now + ms;
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#now = next.at;
      this.#ring(next);
    }
    this.#now = end;
  }

  /** Time passes and nobody runs: all timers that were due ring late, in their order, at the end. */
  standStill(ms: number): void {
    this.#now += ms;
    const end = this.#now;
    for (let next = this.#next(end); next; next = this.#next(end)) this.#ring(next);
  }

  #next(end: number): Alarm | undefined {
    return [...this.#alarms.values()].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0];
  }

  #ring({ order, ring }: Alarm): void {
    this.#alarms.delete(order);
    ring();
  }
}
