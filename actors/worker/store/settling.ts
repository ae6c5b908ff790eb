/**
 * A chunk's bytes go first, and its row follows. Here a row that did not follow is brought to what its shelf says: its
 * transaction failed after the file was moved, or the file was taken away from outside.
 */
import type { ChunkState } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { declareInvariant, type Invariant } from "../../rules/invariant.ts";
import type { StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

/** Beyond this many, the oldest are forgotten: the scrub and the comparison with the leader find them as well. */
const MOST_BEHIND = 10_000;
const SETTLED_AT_ONCE = 256;

const rowFollowsFolder: Invariant = declareInvariant("store: a settled row says what its folder says");

export class Settling {
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  /** Chunks whose bytes were moved and whose row could not be changed. */
  readonly #behind = new Set<ChunkId>();

  constructor(parts: StoreParts, open: OpenChunks) {
    this.#parts = parts;
    this.#open = open;
  }

  get behind(): number {
    return this.#behind.size;
  }

  /** A row could not follow its bytes: it is settled as soon as the index takes changes again. */
  fellBehind(chunkId: ChunkId): void {
    if (this.#behind.size >= MOST_BEHIND) this.#behind.delete(this.#behind.values().next().value as ChunkId);
    this.#behind.add(chunkId);
  }

  /**
   * Looks where a chunk's bytes lie, and corrects its row.
   *
   * @returns the row's state now; null if there is no row. A chunk that is being written is left alone
   */
  async settle(chunkId: ChunkId): Promise<ChunkState | null> {
    let state: ChunkState | null = null;
    let before: ChunkState | null = null;
    let problem: unknown = null;
    try {
      await this.#parts.inventory.change(true, (rows) => {
        const row = rows.find(chunkId);
        before = state = row?.state ?? null;
        if (!row || this.#open.get(chunkId)) return;
        try {
          state = this.#parts.shelves.of(row).settle(row);
        } catch (error) {
          problem = error; // thrown here, it would undo what others change in this transaction
          return;
        }
        if (state !== row.state) rows.setState(chunkId, state);
        rowFollowsFolder.check(rows.find(chunkId)?.state === state, { chunkId, before: row.state, state });
      });
    } catch (error) {
      this.fellBehind(chunkId);
      throw error;
    }
    if (problem !== null) throw problem;
    this.#behind.delete(chunkId);
    if (state !== before) this.#parts.log.warn({ event: "row-settled", chunk: formatChunkId(chunkId), before, state });
    return state;
  }

  /** Settles rows that fell behind. @returns how many */
  async catchUp(): Promise<number> {
    const some = [...this.#behind].slice(0, SETTLED_AT_ONCE);
    await Promise.all(some.map((chunkId) => this.settle(chunkId)));
    return some.length;
  }

  /** Settles every row whose file is not where the row says. @returns how many */
  async settleAll(): Promise<number> {
    let settled = 0;
    for await (const misplaced of this.#parts.shelves.file.misplaced()) {
      await Promise.all(misplaced.map((chunkId) => this.settle(chunkId)));
      settled += misplaced.length;
    }
    return settled;
  }
}
