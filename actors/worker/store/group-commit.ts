/**
 * Many changes, one flush. Changes of the chunk index that arrive while a commit is under way share the next one, and each is
 * answered after it.
 *
 * A commit goes into the page cache, and the event loop waits for that; another thread then flushes it, if a change asks for
 * that. Meanwhile no other commit is made: once a flush has ended, all that the index says is on the disk. What SQLite's log
 * has gathered is copied into the database while no commit is made, and another thread flushes that too.
 *
 * The kernel may make a writer wait while a disk is behind. So a commit brings no more bytes of chunks than a block has; more
 * only while the disk is quick, for flushes cost.
 *
 * A change is seen by readers of the index before it is flushed. Who answers by what he has read there, and promises that it
 * survives a loss of power, awaits `settled` first.
 */
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import { fitting } from "../../rules/fitting.ts";

/** Bytes of chunks in one commit, on any disk and on a quick one. */
const [A_BLOCK, MOST_BYTES] = [512 << 10, 4 << 20];
/** A disk is quick if its last commit, with its flush, took no longer than this. */
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
  readonly #flushFailed: (error: unknown) => void;
  /** Bytes of chunks that the next commit brings at most. */
  #allowedBytes = A_BLOCK;
  /** A commit with what follows it. */
  #underWay: Promise<void> | null = null;
  #flushing: Promise<void> | null = null;
  /** Commits so far; changes per commit show how well the grouping works. */
  commits = 0;
  changes = 0;

  /**
   * @param beforeCommit is called at the end of each transaction, inside it
   * @param flushFailed the index takes no more changes until it is mended
   */
  constructor(index: ChunkIndex, beforeCommit = () => {}, flushFailed: (error: unknown) => void = () => {}) {
    this.#index = index;
    this.#beforeCommit = beforeCommit;
    this.#flushFailed = flushFailed;
  }

  /**
   * @param durable whether the answer promises that the change survives a power cut
   * @param apply a Refusal thrown before it changes anything concerns this change alone
   * @param bytes that it brings, of a chunk
   * @param undo takes back what `apply` has changed in memory; called if the transaction fails, also when `apply` was not
   * @returns when the transaction is committed, and flushed if the change is durable
   * @throws why it was not. If the flush failed, the index has the change, and it may or may not survive a loss of power
   */
  add(durable: boolean, apply: () => void, undo: () => void = () => {}, bytes = 0): Promise<void> {
    return new Promise((resolve, reject) => {
      const change = { bytes, durable, apply, undo, resolve, reject };
      if (this.#waiting.push(change) === 1) this.#plan();
    });
  }

  /** @returns once all durable changes that the index has are flushed. @throws if they could not be */
  async settled(): Promise<void> {
    this.#index.log.assertDurable();
    await this.#flushing;
  }

  /** @returns once all that waits is committed, and nothing is written in the background */
  async quiet(): Promise<void> {
    for (;;) {
      this.#takeTurn();
      if (this.#underWay === null) return;
      await this.#underWay;
    }
  }

  #plan(): void {
    if (this.#waiting.length > 0) setImmediate(() => this.#takeTurn());
  }

  #takeTurn(): void {
    if (this.#waiting.length === 0 || this.#underWay !== null) return;
    this.#underWay = this.#commitSome().finally(() => {
      this.#underWay = null;
      this.#plan();
    });
  }

  async #commitSome(): Promise<void> {
    const began = performance.now();
    const unflushed = this.#commit(this.#nextBatch());
    if (unflushed.length > 0) await this.#flush(unflushed);
    const isQuick = performance.now() - began <= QUICK_MS;
    this.#allowedBytes = isQuick ? Math.min(MOST_BYTES, 2 * this.#allowedBytes) : A_BLOCK;
    if (this.#index.log.isLong) await this.#index.log.checkpoint().catch(this.#flushFailed);
  }

  #nextBatch(): Change[] {
    return this.#waiting.splice(
      0,
      fitting(this.#waiting, ({ bytes }) => bytes, this.#allowedBytes),
    );
  }

  /** Into the page cache. @returns the changes that are answered after a flush */
  #commit(batch: Change[]): Change[] {
    const refused = new Map<Change, Refusal>();
    try {
      this.#index.transaction(false, () => {
        for (const change of batch)
          try {
            change.apply();
          } catch (error) {
            if (!(error instanceof Refusal)) throw error;
            refused.set(change, error);
          }
        this.#beforeCommit();
      });
    } catch (error) {
      for (const change of batch) {
        change.undo();
        change.reject(error);
      }
      return [];
    }
    this.commits++;
    this.changes += batch.length;
    const unflushed: Change[] = [];
    for (const change of batch) {
      const refusal = refused.get(change);
      if (refusal) change.reject(refusal);
      else if (change.durable) unflushed.push(change);
      else change.resolve();
    }
    return unflushed;
  }

  async #flush(batch: Change[]): Promise<void> {
    this.#flushing = this.#index.log.flush();
    try {
      await this.#flushing;
      for (const { resolve } of batch) resolve();
    } catch (error) {
      this.#flushFailed(error);
      for (const { reject } of batch) reject(error);
    } finally {
      this.#flushing = null;
    }
  }
}
