/**
 * The rows of the index and their totals, which change together: every change of a row's state goes through here, so that the
 * totals are always the sums of the rows.
 */
import type { ChunkIndex, ChunkRow, ChunkState, Totals } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { declareInvariant, type Invariant } from "../../rules/invariant.ts";
import { GroupCommit } from "./group-commit.ts";
import { turn } from "./pace.ts";

/** Rows that an audit counts before it lets others have their turn. */
const COUNTED_AT_ONCE = 1000;

const totalsAreNotNegative: Invariant = declareInvariant("store: totals are not negative");
const totalsAreSums: Invariant = declareInvariant("store: totals are the sums of the rows");
const sealedIsNotWritten: Invariant = declareInvariant("store: a sealed chunk is not being written");

const none = (): Totals => ({ chunkCount: 0, sealedBytes: 0, trashBytes: 0 });

const isSame = (one: Totals, other: Totals): boolean =>
  one.chunkCount === other.chunkCount && one.sealedBytes === other.sealedBytes && one.trashBytes === other.trashBytes;

function add(sums: Totals, more: Totals, sign: 1 | -1): void {
  sums.chunkCount += sign * more.chunkCount;
  sums.sealedBytes += sign * more.sealedBytes;
  sums.trashBytes += sign * more.trashBytes;
}

const sumsOf = ({ state, lengthBytes }: Pick<ChunkRow, "state" | "lengthBytes">): Totals => ({
  chunkCount: state === "sealed" ? 1 : 0,
  sealedBytes: state === "sealed" ? lengthBytes : 0,
  trashBytes: state === "trash" || state === "quarantined" ? lengthBytes : 0,
});

/** What a change has added to sums: of all rows, and of those that the audit under way has counted already. */
interface Added {
  all: Totals;
  counted: Totals;
}

/** The rows inside a transaction. */
export interface Rows {
  find(chunkId: ChunkId): ChunkRow | null;
  /** Inserts a row, or replaces the chunk's row. A new inline chunk brings its bytes. */
  put(row: ChunkRow, data?: Uint8Array): void;
  setState(chunkId: ChunkId, state: ChunkState): void;
  remove(chunkId: ChunkId): void;
}

export class Inventory {
  readonly commits: GroupCommit;
  readonly #index: ChunkIndex;
  readonly #now: () => number;
  readonly #isBeingWritten: (chunkId: ChunkId) => boolean;
  #totals = none();
  /** As the index has them; null: that is not known. */
  #stored: Totals | null = null;
  /** An audit has counted the rows up to this id, and keeps their sums up with changes. */
  #counted: { upTo: ChunkId; sums: Totals } | null = null;
  #audit: Promise<void> | null = null;

  /**
   * @param isBeingWritten whether blocks of a chunk are still awaited
   * @param flushFailed the index takes no more changes until it is mended
   */
  constructor(
    index: ChunkIndex,
    now: () => number,
    isBeingWritten: (chunkId: ChunkId) => boolean,
    flushFailed: (error: unknown) => void,
  ) {
    this.#index = index;
    this.#now = now;
    this.#isBeingWritten = isBeingWritten;
    this.commits = new GroupCommit(index, () => this.#storeTotals(), flushFailed);
  }

  get totals(): Readonly<Totals> {
    return this.#totals;
  }

  /** At the start, once index and files agree. Rows are counted only if the index does not know their totals. */
  learnTotals(): void {
    this.#stored = this.#index.storedTotals();
    this.#totals = { ...(this.#stored ?? this.#index.countTotals()) };
    if (this.#stored === null) this.#index.transaction(false, () => this.#storeTotals());
  }

  /** To be called at the end of a transaction, inside it: the row of the totals changes with the rows that it sums up. */
  #storeTotals(): void {
    if (this.#stored !== null && isSame(this.#stored, this.#totals)) return;
    this.#index.storeTotals(this.#totals);
    this.#stored = { ...this.#totals };
  }

  /**
   * @param durable whether the change must survive a power cut
   * @param apply is called inside the transaction, and sees the rows as they are then
   * @param bytes that it brings, of a chunk
   * @returns when the transaction is committed, and flushed if the change is durable
   * @throws why it was not. If the flush failed, the rows have changed; else they have not
   */
  change(durable: boolean, apply: (rows: Rows) => void, bytes = 0): Promise<void> {
    let added: Added = { all: none(), counted: none() };
    return this.commits.add(
      durable,
      () => {
        const sums = { all: none(), counted: none() };
        apply(this.#summed(sums));
        this.#count(sums, 1);
        added = sums;
      },
      () => {
        this.#count(added, -1);
        this.#stored = null;
      },
      bytes,
    );
  }

  /** Compares the totals, and what the index says they are, with a count of all rows. Others have their turn meanwhile. */
  audit(): Promise<void> {
    this.#audit ??= this.#countAll().finally(() => {
      this.#audit = null;
      this.#counted = null;
    });
    return this.#audit;
  }

  async #countAll(): Promise<void> {
    const counted = { upTo: -1, sums: none() };
    this.#counted = counted;
    for (;;) {
      const { totals, last } = this.#index.countAfter(counted.upTo, COUNTED_AT_ONCE);
      if (last === null) break;
      add(counted.sums, totals, 1);
      counted.upTo = last;
      await turn();
    }
    const [rows, stored, totals] = [counted.sums, this.#index.storedTotals(), this.#totals];
    const isStored = this.#stored === null || (stored !== null && isSame(stored, this.#stored));
    totalsAreSums.check(isSame(rows, totals) && isStored, { rows, stored, totals });
  }

  #count(added: Added, sign: 1 | -1): void {
    if (this.#counted) add(this.#counted.sums, added.counted, sign);
    add(this.#totals, added.all, sign);
    if (sign < 0) return;
    const { chunkCount, sealedBytes, trashBytes } = this.#totals;
    totalsAreNotNegative.check(chunkCount >= 0 && sealedBytes >= 0 && trashBytes >= 0, { ...this.#totals });
  }

  /** @returns the rows, whose changes are summed up in `added` */
  #summed(added: Added): Rows {
    const index = this.#index;
    const noneIsWritten = (chunkId: ChunkId, state: ChunkState): void =>
      sealedIsNotWritten.check(state !== "sealed" || !this.#isBeingWritten(chunkId), { chunkId });
    const count = (row: Pick<ChunkRow, "chunkId" | "state" | "lengthBytes"> | null, sign: 1 | -1): void => {
      if (row === null) return;
      const one = sumsOf(row);
      add(added.all, one, sign);
      if (this.#counted && row.chunkId <= this.#counted.upTo) add(added.counted, one, sign);
    };
    return {
      find: (chunkId) => index.find(chunkId),
      put: (row, data) => {
        noneIsWritten(row.chunkId, row.state);
        count(index.find(row.chunkId), -1);
        count(row, 1);
        index.put(row, data);
      },
      setState: (chunkId, state) => {
        const row = index.find(chunkId);
        if (!row) return;
        noneIsWritten(chunkId, state);
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
