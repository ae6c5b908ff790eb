/**
 * Many changes, one flush. Changes of the chunk index that arrive in one turn of the event loop share one transaction: in
 * practice, all that arrived while the commit before was under way. Each is answered after the commit.
 */
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";

interface Change {
  durable: boolean;
  apply: () => void;
  undo: () => void;
  resolve: () => void;
  reject: (error: unknown) => void;
}

export class GroupCommit {
  #waiting: Change[] = [];
  #index: ChunkIndex;
  /** Commits so far; changes per commit show how well the grouping works. */
  commits = 0;
  changes = 0;

  constructor(index: ChunkIndex) {
    this.#index = index;
  }

  /**
   * @param durable whether the answer promises that the change survives a power cut
   * @param apply a Refusal thrown before it changes anything concerns this change alone
   * @param undo takes back what `apply` has changed in memory; called if the transaction fails, also when `apply` was not
   * @returns when the transaction is committed
   */
  add(durable: boolean, apply: () => void, undo: () => void = () => {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ durable, apply, undo, resolve, reject }) === 1) setImmediate(() => this.flush());
    });
  }

  /** Commits what is waiting, now. */
  flush(): void {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    const refused = new Map<Change, Refusal>();
    try {
      this.#index.transaction(
        batch.some((change) => change.durable),
        () => {
          for (const change of batch)
            try {
              change.apply();
            } catch (error) {
              if (!(error instanceof Refusal)) throw error;
              refused.set(change, error);
            }
        },
      );
    } catch (error) {
      for (const change of batch) {
        change.undo();
        change.reject(error);
      }
      return;
    }
    this.commits++;
    this.changes += batch.length;
    for (const change of batch) {
      const refusal = refused.get(change);
      if (refusal) change.reject(refusal);
      else change.resolve();
    }
  }
}
