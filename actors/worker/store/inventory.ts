/**
 * What is here: the rows of the index and their totals, which change together. Whoever changes a row does it here, so
 * that the totals are always the sums of the rows.
 */
import type { ChunkIndex, ChunkRow, ChunkState, Totals } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { GroupCommit } from "./group-commit.ts";

/** The rows inside a transaction. */
export interface Rows {
  find(chunkId: ChunkId): ChunkRow | null;
  /** Inserts, or replaces whatever was known of the chunk. Inline chunks bring their bytes. */
  put(row: ChunkRow, data?: Uint8Array): void;
  setState(chunkId: ChunkId, state: ChunkState): void;
  remove(chunkId: ChunkId): void;
}

export class Inventory {
  readonly commits: GroupCommit;
  readonly #index: ChunkIndex;
  readonly #now: () => number;
  #totals: Totals = { chunkCount: 0, sealedBytes: 0, trashBytes: 0 };

  constructor(index: ChunkIndex, now: () => number) {
    this.#index = index;
    this.#now = now;
    this.commits = new GroupCommit(index);
  }

  get totals(): Readonly<Totals> {
    return this.#totals;
  }

  /** Counts all rows, at the start. */
  count(): void {
    this.#totals = this.#index.totals();
  }

  /**
   * @param durable whether the change must survive a power cut
   * @param apply is called inside the transaction, and sees the rows as they are then
   * @returns when the transaction is committed. If it fails, nothing has changed
   */
  async change(durable: boolean, apply: (rows: Rows) => void): Promise<void> {
    const change: Totals = { chunkCount: 0, sealedBytes: 0, trashBytes: 0 };
    await this.commits.add(durable, () => apply(this.#counted(change)));
    this.#totals.chunkCount += change.chunkCount;
    this.#totals.sealedBytes += change.sealedBytes;
    this.#totals.trashBytes += change.trashBytes;
  }

  /** @returns the rows, whose changes are summed up in `change` */
  #counted(change: Totals): Rows {
    const index = this.#index;
    const count = (row: Pick<ChunkRow, "state" | "lengthBytes"> | null, sign: 1 | -1): void => {
      if (row?.state === "sealed") {
        change.chunkCount += sign;
        change.sealedBytes += sign * row.lengthBytes;
      } else if (row && row.state !== "missing") change.trashBytes += sign * row.lengthBytes;
    };
    return {
      find: (chunkId) => index.find(chunkId),
      put: (row, data) => {
        count(index.find(row.chunkId), -1);
        count(row, 1);
        index.put(row, data);
      },
      setState: (chunkId, state) => {
        const row = index.find(chunkId);
        if (!row) return;
        count(row, -1);
        count({ ...row, state }, 1);
        index.setState(chunkId, state, this.#now());
      },
      remove: (chunkId) => {
        count(index.find(chunkId), -1);
        index.remove(chunkId);
      },
    };
  }
}
