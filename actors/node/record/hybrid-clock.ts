/**
 * The hybrid logical clock: the wall clock's milliseconds, pushed forward by the readings of other nodes, and a counter. A
 * record always has a higher reading than its cause, however far the machines' clocks differ.
 *
 * @see Kulkarni et al., Logical Physical Clocks, 2014
 */

/** 12 hex digits of milliseconds, 4 of the counter: as a string it sorts as it counts. */
const format = (ms: number, counter: number): string =>
  ms.toString(16).padStart(12, "0") + counter.toString(16).padStart(4, "0");

const MOST = 0xffff;
/** A clock that claims to be further ahead than this is not followed. */
const MOST_AHEAD_MS = 24 * 3_600_000;

const clockMs = (reading: string): number => Number.parseInt(reading.slice(0, 12), 16);

export class HybridClock {
  readonly #now: () => number;
  #ms = 0;
  #counter = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** A new reading, higher than all before. */
  tick(): string {
    this.#advance(Math.floor(this.#now()));
    return format(this.#ms, this.#counter);
  }

  /** Every reading to come is higher than this one. */
  peek(): string {
    const now = Math.floor(this.#now());
    return now > this.#ms ? format(now - 1, MOST) : format(this.#ms, this.#counter);
  }

  /** Another node's reading arrived: later readings here are above it. */
  observe(reading: string): void {
    const ms = clockMs(reading);
    const counter = Number.parseInt(reading.slice(12), 16);
    if (!(ms <= this.#now() + MOST_AHEAD_MS)) return;
    if (ms > this.#ms || (ms === this.#ms && counter > this.#counter)) {
      this.#ms = ms;
      this.#counter = counter;
    }
  }

  #advance(now: number): void {
    if (now > this.#ms) {
      this.#ms = now;
      this.#counter = 0;
    } else if (this.#counter < MOST) this.#counter++;
    else {
      this.#ms++;
      this.#counter = 0;
    }
  }
}
