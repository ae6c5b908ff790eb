/** How chunks get into the trash, and are destroyed. */
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { declareInvariant, type Invariant } from "../../rules/invariant.ts";
import type { Settling } from "./settling.ts";
import type { StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

const sweptIsGone: Invariant = declareInvariant("store: what was swept is not in the trash any more");

const isAbsence = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

export class Trash {
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  readonly #settling: Settling;
  /** Of chunks whose bytes are destroyed and whose rows are about to follow. */
  #sweptBytes = 0;

  constructor(parts: StoreParts, open: OpenChunks, settling: Settling) {
    this.#parts = parts;
    this.#open = open;
    this.#settling = settling;
  }

  get sweptBytes(): number {
    return this.#sweptBytes;
  }

  /**
   * Moves chunks to the trash, where they can be read until the sweep.
   *
   * @param decidedAt log index of that decision; a chunk that a later order has copied here stays, and is in neither list
   */
  async trash(chunkIds: readonly ChunkId[], decidedAt: number): Promise<{ trashed: ChunkId[]; absent: ChunkId[] }> {
    if (this.#parts.disk.failure)
      throw new Refusal("READ_ONLY", `The disk refuses writes: ${this.#parts.disk.failure}`);
    const trashed: ChunkId[] = [];
    const absent: ChunkId[] = [];
    const moves: Promise<unknown>[] = [];
    for (const chunkId of new Set(chunkIds)) {
      if ((this.#open.get(chunkId)?.copyDecidedAt ?? 0) > decidedAt) continue;
      await this.#open.get(chunkId)?.sealing?.done.catch(() => {});
      const aborted = await this.#open.abort(chunkId);
      const row = this.#parts.index.find(chunkId);
      if (row?.state === "sealed" && row.copyDecidedAt > decidedAt) continue;
      if (!row || row.state === "missing") {
        (aborted ? trashed : absent).push(chunkId);
        continue;
      }
      trashed.push(chunkId);
      if (row.state !== "sealed") continue;
      const problem = await this.#parts.shelves
        .of(row)
        .moveToTrash(chunkId)
        .then(
          () => null,
          (error) => error,
        );
      moves.push(this.#letRowFollow(chunkId, problem));
      if (problem !== null && !isAbsence(problem)) break;
    }
    // All are awaited, also when one has failed: a row follows its file within a turn of the event loop.
    for (const failure of await Promise.all(moves)) if (failure !== null) throw this.#parts.disk.refusal(failure);
    return { trashed, absent };
  }

  /**
   * @param problem why the bytes could not be moved; null: they were
   * @returns why the row is not that of a trashed chunk; null: it is
   */
  async #letRowFollow(chunkId: ChunkId, problem: unknown): Promise<unknown> {
    try {
      if (problem !== null && !isAbsence(problem)) return problem;
      if (problem !== null) return (await this.#settling.settle(chunkId)) === "sealed" ? problem : null;
      await this.#parts.inventory.change(false, (rows) => {
        if (rows.find(chunkId)?.state === "sealed") rows.setState(chunkId, "trash");
      });
      return null;
    } catch (error) {
      this.#settling.fellBehind(chunkId);
      return error;
    }
  }

  /**
   * Destroys chunks that lie in trash or quarantine for longer than `keepMs`; earlier, oldest first, while `isShort`.
   *
   * @returns chunks destroyed
   */
  async sweep(keepMs: number, isShort: () => boolean): Promise<number> {
    const { index, inventory, shelves, now } = this.#parts;
    let destroyed = 0;
    for (;;) {
      const at = now();
      const rows = index.discarded(64);
      const doomed: typeof rows = [];
      try {
        for (const row of rows) {
          if (row.since + keepMs > at && !isShort()) break;
          await shelves.of(row).remove(row);
          this.#sweptBytes += row.lengthBytes;
          doomed.push(row);
        }
        if (doomed.length === 0) return destroyed;
        await inventory.change(false, (now) => {
          // A new copy may have been sealed in its place meanwhile.
          for (const { chunkId, state } of doomed) if (now.find(chunkId)?.state === state) now.remove(chunkId);
        });
        for (const { chunkId, state } of doomed)
          sweptIsGone.check(index.find(chunkId)?.state !== state, { chunkId, state });
      } finally {
        this.#sweptBytes = 0;
      }
      destroyed += doomed.length;
      if (doomed.length < rows.length) return destroyed;
    }
  }
}
