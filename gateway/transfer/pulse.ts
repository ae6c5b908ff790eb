/**
 * Distinguishes slow workers from frozen ones. A flush may take long, but its worker answers other questions meanwhile. A
 * worker that does not answer a plain question either is given up long before the flush would time out.
 */

const ASK_EVERY_MS = 2000;

export class Pulse {
  readonly #waiting: Set<string>;
  readonly #timer: Timer;
  readonly #asked = new Set<string>();

  /**
   * @param workerIds those whose part is awaited
   * @param answers asks one of them something that it can answer at once; false: nothing came back in time
   */
  constructor(
    workerIds: Iterable<string>,
    readonly answers: (workerId: string) => Promise<boolean>,
    readonly giveUp: (workerId: string) => void,
  ) {
    this.#waiting = new Set(workerIds);
    this.#timer = setInterval(() => {
      for (const workerId of this.#waiting) if (!this.#asked.has(workerId)) void this.#ask(workerId);
    }, ASK_EVERY_MS);
  }

  async #ask(workerId: string): Promise<void> {
    this.#asked.add(workerId);
    const isAlive = await this.answers(workerId);
    this.#asked.delete(workerId);
    if (!isAlive && this.#waiting.delete(workerId)) this.giveUp(workerId);
  }

  done(workerId: string): void {
    this.#waiting.delete(workerId);
  }

  /** Call it when no worker is awaited any more. */
  end(): void {
    this.#waiting.clear();
    clearInterval(this.#timer);
  }
}
