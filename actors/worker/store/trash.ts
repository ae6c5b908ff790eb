/** The way of chunks into the trash, and their end. */
import { rename, rm } from "node:fs/promises";
import type { ChunkRow } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { declareInvariant, type Invariant } from "../../rules/invariant.ts";
import type { Settling } from "./settling.ts";
import type { FiledState } from "./shelves/chunk-folders.ts";
import type { StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

const sweptIsGone: Invariant = declareInvariant("store: what was swept is not in the trash any more");

const isAbsence = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

export class Trash {
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  readonly #settling: Settling;
  /** Of files that are destroyed and whose rows are about to follow. */
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
   * @param decidedAt log index at which that was decided; chunks ordered here later than that stay, and are in no list
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
      const file = row.inline ? null : await this.#moveFile(chunkId);
      moves.push(this.#letRowFollow(row, file));
      if (file !== null && !isAbsence(file)) break;
    }
    // All of them, also when one has failed: a row follows its file within a turn of the event loop.
    for (const failure of await Promise.all(moves)) if (failure !== null) throw this.#parts.disk.refusal(failure);
    return { trashed, absent };
  }

  /** @returns what the file system says against it */
  #moveFile(chunkId: ChunkId): Promise<unknown> {
    const { folders } = this.#parts;
    return rename(folders.file(chunkId, "sealed"), folders.file(chunkId, "trash")).then(
      () => null,
      (error) => error,
    );
  }

  /**
   * @param problem why the file could not be moved
   * @returns why the row is not that of a trashed chunk, or null
   */
  async #letRowFollow(row: ChunkRow, problem: unknown): Promise<unknown> {
    const { chunkId } = row;
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
   * Destroys what lies in trash and quarantine for longer than `keepMs`; earlier, longest first, while `isShort` says so.
   *
   * @returns chunks destroyed
   */
  async sweep(keepMs: number, isShort: () => boolean): Promise<number> {
    const { index, inventory, folders, now } = this.#parts;
    let destroyed = 0;
    for (;;) {
      const at = now();
      const rows = index.discarded(64);
      const doomed: typeof rows = [];
      try {
        for (const row of rows) {
          if (row.since + keepMs > at && !isShort()) break;
          if (!row.inline) await rm(folders.file(row.chunkId, row.state as FiledState), { force: true });
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
