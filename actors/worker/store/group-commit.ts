/**
 * Many changes, one flush. Changes of the chunk index that arrive in one turn of the event loop share one transaction: in
 * practice, all that arrived while the commit before was under way. Each is answered after the commit.
 *
 * The event loop waits for a commit. So a commit brings no more bytes of chunks than a block has; more only while the disk is
 * quick, for flushes cost. Between two commits everything else has its turn. What SQLite's log has gathered is copied into the
 * database while no commit is made, and another thread flushes it.
 */
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import { fitting } from "../../rules/fitting.ts";

/** Bytes of chunks in one commit, on any disk and on a quick one. */
const [A_BLOCK, MOST_BYTES] = [512 << 10, 4 << 20];
/** A disk is quick if its last commit took no longer than this. */
const QUICK_MS = 20;

interface Change {
  bytes: number;
  durable: boolean;
  apply: () => void;
  undo: () => void;
  resolve: () => void;
  reject: (error: unknown) => void;
}

export class GroupCommit {
  #waiting: Change[] = [];
  readonly #index: ChunkIndex;
  readonly #beforeCommit: () => void;
  readonly #checkpointFailed: (error: unknown) => void;
  /** Bytes of chunks that the next commit brings at most. */
  #allowedBytes = A_BLOCK;
  #checkpoint: Promise<void> | null = null;
  /** Commits so far; changes per commit show how well the grouping works. */
  commits = 0;
  changes = 0;

  /**
   * @param beforeCommit is called at the end of each transaction, inside it
   * @param checkpointFailed the index takes no more changes until the next start
   */
  constructor(index: ChunkIndex, beforeCommit = () => {}, checkpointFailed: (error: unknown) => void = () => {}) {
    this.#index = index;
    this.#beforeCommit = beforeCommit;
    this.#checkpointFailed = checkpointFailed;
  }

  /**
   * @param durable whether the answer promises that the change survives a power cut
   * @param apply a Refusal thrown before it changes anything concerns this change alone
   * @param bytes that it brings, of a chunk
   * @param undo takes back what `apply` has changed in memory; called if the transaction fails, also when `apply` was not
   * @returns when the transaction is committed
   */
  add(durable: boolean, apply: () => void, undo: () => void = () => {}, bytes = 0): Promise<void> {
    return new Promise((resolve, reject) => {
      const change = { bytes, durable, apply, undo, resolve, reject };
      if (this.#waiting.push(change) === 1) setImmediate(() => this.#takeTurn());
    });
  }

  /** Commits all that is waiting, now. */
  flush(): void {
    while (this.#waiting.length > 0) this.#commit(this.#nextBatch());
  }

  /** @returns once nothing is written in the background */
  async quiet(): Promise<void> {
    await this.#checkpoint;
  }

  #takeTurn(): void {
    if (this.#waiting.length === 0 || this.#checkpoint) return;
    const began = performance.now();
    this.#commit(this.#nextBatch());
    const isQuick = performance.now() - began <= QUICK_MS;
    this.#allowedBytes = isQuick ? Math.min(MOST_BYTES, 2 * this.#allowedBytes) : A_BLOCK;
    if (this.#index.isCheckpointDue) this.#beginCheckpoint();
    else this.#plan();
  }

  #plan(): void {
    if (this.#waiting.length > 0) setImmediate(() => this.#takeTurn());
  }

  #beginCheckpoint(): void {
    this.#checkpoint = this.#index
      .checkpoint()
      .catch(this.#checkpointFailed)
      .finally(() => {
        this.#checkpoint = null;
        this.#plan();
      });
  }

  #nextBatch(): Change[] {
    return this.#waiting.splice(
      0,
      fitting(this.#waiting, ({ bytes }) => bytes, this.#allowedBytes),
    );
  }

  #commit(batch: Change[]): void {
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
          this.#beforeCommit();
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
