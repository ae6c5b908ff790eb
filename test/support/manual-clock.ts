/** Time that stands still until a test lets it pass. */
import { AsyncResource } from "node:async_hooks";
import type { Clock } from "../../actors/node/clock.ts";

interface Alarm {
  at: number;
  order: number;
  ring: () => void;
  everyMs?: number;
}

export class ManualClock implements Clock {
  #now = 1_000;
  #made = 0;
  readonly #alarms = new Map<number, Alarm>();

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return 1e12 + this.#now;
  }

  setTimeout(ring: () => void, ms: number): number {
    return this.#arm(ring, ms);
  }

  clearTimeout(handle: unknown): void {
    this.#alarms.delete(handle as number);
  }

  setInterval(ring: () => void, everyMs: number): number {
    return this.#arm(ring, everyMs, everyMs);
  }

  clearInterval(handle: unknown): void {
    this.#alarms.delete(handle as number);
  }

  /** As with the system's timers, what rings belongs to the asynchronous context that armed it. */
  #arm(ring: () => void, ms: number, everyMs?: number): number {
    const order = ++this.#made;
    this.#alarms.set(order, { at: this.#now + ms, order, ring: AsyncResource.bind(ring), everyMs });
    return order;
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

  #ring({ at, order, ring, everyMs }: Alarm): void {
    if (everyMs === undefined) this.#alarms.delete(order);
    else this.#alarms.set(order, { at: Math.max(at, this.#now - everyMs) + everyMs, order, ring, everyMs });
    ring();
  }
}
