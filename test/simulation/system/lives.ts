/** Whole clusters are lived in threads of their own, for their globals are not those of the rest. */
import type { LifeOrder } from "./life-worker.ts";
import type { RecordedSystemLife } from "./record-system.ts";
import type { SystemFailure, SystemLife } from "./simulate-system.ts";

type Unrecorded = Omit<LifeOrder, "record">;

export class LifeThread {
  readonly #worker = new Worker(new URL("./life-worker.ts", import.meta.url).href);

  /** @returns null if the life was not over in time; the thread is of no use then */
  live(order: Unrecorded, patienceMs?: number): Promise<SystemLife | SystemFailure | null> {
    return this.#order({ ...order, record: false }, patienceMs);
  }

  /** The same life, and a recording of it. */
  record(order: Unrecorded, patienceMs?: number): Promise<RecordedSystemLife | null> {
    return this.#order({ ...order, record: true }, patienceMs);
  }

  async #order<T>(order: LifeOrder, patienceMs = 120_000): Promise<T | null> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
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
