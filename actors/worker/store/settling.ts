/**
 * The folder that a chunk's file lies in is the chunk's state; its row follows. Here a row that does not say so is brought
 * to what the folders say: its transaction failed after the file was moved, or somebody took the file away.
 */
import { renameSync } from "node:fs";
import type { ChunkRow, ChunkState } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { declareInvariant, type Invariant } from "../../rules/invariant.ts";
import { turn } from "./pace.ts";
import type { StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

/** Beyond this many, the oldest are forgotten: the scrub and the comparison with the leader come upon them, too. */
const MOST_BEHIND = 10_000;
const SETTLED_AT_ONCE = 256;
const LOOKED_AT_ONCE = 1000;

const rowFollowsFolder: Invariant = declareInvariant("store: a settled row says what its folder says");

export class Settling {
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  /** Chunks whose file was moved and whose row could not be changed. */
  readonly #behind = new Set<ChunkId>();

  constructor(parts: StoreParts, open: OpenChunks) {
    this.#parts = parts;
    this.#open = open;
  }

  get behind(): number {
    return this.#behind.size;
  }

  /** A row could not follow its file: it is settled as soon as the index takes changes again. */
  fellBehind(chunkId: ChunkId): void {
    if (this.#behind.size >= MOST_BEHIND) this.#behind.delete(this.#behind.values().next().value as ChunkId);
    this.#behind.add(chunkId);
  }

  /**
   * Looks where a chunk's bytes lie, and lets its row say so.
   *
   * @returns what the row says now; null if there is none. A chunk that is being written is left alone
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
          state = this.#placeOf(row);
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

  /** A quarantined copy is never one that counts again because its move failed: the move is done now. */
  #placeOf(row: ChunkRow): ChunkState {
    const { folders, index } = this.#parts;
    if (row.inline) return row.state === "missing" || index.inlineBytes(row.chunkId) !== null ? row.state : "missing";
    const place = folders.whereIs(row.chunkId);
    if (row.state !== "quarantined" || place !== "sealed") return place ?? "missing";
    renameSync(folders.file(row.chunkId, "sealed"), folders.file(row.chunkId, "quarantined"));
    return "quarantined";
  }

  /** Settles rows that fell behind. @returns how many */
  async catchUp(): Promise<number> {
    const some = [...this.#behind].slice(0, SETTLED_AT_ONCE);
    await Promise.all(some.map((chunkId) => this.settle(chunkId)));
    return some.length;
  }

  /** Looks for the file of every row that should have one. @returns how many rows said something else */
  async settleAll(): Promise<number> {
    const { index, folders } = this.#parts;
    let settled = 0;
    for (let after = 0; ; await turn()) {
      const rows = index.filesAfter(after, LOOKED_AT_ONCE);
      const last = rows.at(-1);
      if (!last) return settled;
      after = last.chunkId;
      const wrong = rows.filter(({ chunkId, state }) => (folders.whereIs(chunkId) ?? "missing") !== state);
      await Promise.all(wrong.map(({ chunkId }) => this.settle(chunkId)));
      settled += wrong.length;
    }
  }
}
