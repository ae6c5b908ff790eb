/** Spreads work evenly over time, at a given number of bytes a second: each taker waits until its turn. */
export class Pace {
  readonly #bytesPerSecond: number | null;
  #nextAt = 0;

  /** @param bytesPerSecond null: as fast as it goes */
  constructor(bytesPerSecond: number | null) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** @returns when `bytes` may go, or the signal says stop */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === null) return;
    const now = performance.now();
    const at = Math.max(now, this.#nextAt);
    this.#nextAt = at + (1000 * bytes) / this.#bytesPerSecond;
    if (at > now) await pause(at - now, signal);
  }
}

/** Sleeps until the time is over or the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

/**
 * Lets the event loop take a turn, so that files, sockets and timers that are ready come first. Awaiting a settled promise
 * gives no turn: a loop that awaits nothing else blocks the thread for ever.
 */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
