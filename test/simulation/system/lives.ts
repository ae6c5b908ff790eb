/** Whole clusters are lived in threads of their own, for their globals are not those of the rest. */
import type { LifeOrder } from "./life-worker.ts";
import type { SystemFailure, SystemLife } from "./simulate-system.ts";

export class LifeThread {
  readonly #worker = new Worker(new URL("./life-worker.ts", import.meta.url).href);

  /** @returns null if the life was not over in time; the thread is of no use then */
  async live(order: LifeOrder, patienceMs = 120_000): Promise<SystemLife | SystemFailure | null> {
    const { promise, resolve, reject } = Promise.withResolvers<SystemLife | SystemFailure>();
    this.#worker.onmessage = ({ data }) => resolve(data);
    this.#worker.onerror = ({ message }) => reject(new Error(message));
    this.#worker.postMessage(order);
    const { promise: patience, resolve: giveUp } = Promise.withResolvers<null>();
    const timer = setTimeout(() => giveUp(null), patienceMs);
    try {
      return await Promise.race([promise, patience]);
    } finally {
      clearTimeout(timer);
    }
  }

  end(): void {
    this.#worker.terminate();
  }
}
