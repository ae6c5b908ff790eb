/**
 * Decides when stragglers are given up: once enough workers have done their part, the others get some more time, measured
 * by what the first ones took. A frozen worker must not hold up a client for as long as a slow disk may.
 */

export interface StragglerPatience {
  leastMs: number;
  /** Of the time that the others took. */
  times: number;
}

export class Stragglers {
  readonly #startedAt = performance.now();
  readonly #waiting: Set<string>;
  #missing: number;
  #timer: Timer | null = null;

  /**
   * @param workerIds those whose part is awaited
   * @param enough how many have to do it before the others may be given up
   */
  constructor(
    workerIds: Iterable<string>,
    enough: number,
    readonly patience: StragglerPatience,
    readonly giveUp: (workerId: string) => void,
  ) {
    this.#waiting = new Set(workerIds);
    this.#missing = enough;
    this.#watch();
  }

  done(workerId: string): void {
    if (!this.#waiting.delete(workerId)) return;
    this.#missing--;
    this.#watch();
  }

  /** Call it when no worker is awaited any more. */
  end(): void {
    if (this.#timer) clearTimeout(this.#timer);
  }

  #watch(): void {
    if (this.#missing > 0 || this.#timer || this.#waiting.size === 0) return;
    const { leastMs, times } = this.patience;
    const patienceMs = Math.max(leastMs, times * (performance.now() - this.#startedAt));
    this.#timer = setTimeout(() => {
      for (const workerId of this.#waiting) this.giveUp(workerId);
    }, patienceMs);
  }
}
