/** The way of chunks into the trash, and their end. */
import { existsSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import type { ChunkRow } from "../../../databases/chunk-index.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import type { Checking } from "./checking.ts";
import type { FiledState } from "./chunk-folders.ts";
import type { StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

export class Trash {
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  readonly #checking: Checking;
  /** Of files that are destroyed and whose rows are about to follow. */
  #sweptBytes = 0;

  constructor(parts: StoreParts, open: OpenChunks, checking: Checking) {
    this.#parts = parts;
    this.#open = open;
    this.#checking = checking;
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
    const rows: ChunkRow[] = [];
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
      try {
        if (!row.inline)
          await rename(this.#parts.folders.file(chunkId, "sealed"), this.#parts.folders.file(chunkId, "trash"));
        rows.push(row);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw this.#parts.disk.refusal(error);
        if (existsSync(this.#parts.folders.file(chunkId, "trash"))) rows.push(row);
        else await this.#checking.markMissing(row);
      }
    }
    if (rows.length > 0) await this.#checking.changeState(rows, "trash", false);
    return { trashed, absent };
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
      } finally {
        this.#sweptBytes = 0;
      }
      destroyed += doomed.length;
      if (doomed.length < rows.length) return destroyed;
    }
  }
}
