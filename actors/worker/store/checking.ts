/** Reads copies back. Bad ones go to quarantine, and are restored from there if a later reading finds them whole. */
import type { ChunkRow } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";
import type { Settling } from "./settling.ts";
import { unpackCrcs } from "./shelves/chunk-file.ts";
import { bad, type Flaw } from "./shelves/flaw.ts";
import type { ReadPace } from "./shelves/shelf.ts";
import type { Expected, StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

/** Quarantined copies read again in one go. */
const RECHECKED_AT_ONCE = 16;

const atOnce: ReadPace = async () => {};

export type Verdict = "good" | "corrupt" | "missing";

export class Checking {
  readonly #parts: StoreParts;
  readonly #open: OpenChunks;
  readonly #settling: Settling;

  constructor(parts: StoreParts, open: OpenChunks, settling: Settling) {
    this.#parts = parts;
    this.#open = open;
    this.#settling = settling;
  }

  /**
   * Reads a sealed chunk back, block by block, and quarantines it if it is not what it should be.
   *
   * @param expected what the metadata says, if known; a whole copy of something else is corrupt too
   * @param pace awaited after each slice, with its bytes
   */
  async verify(chunkId: ChunkId, expected: Expected | null, pace: ReadPace = atOnce): Promise<Verdict> {
    await this.#open.get(chunkId)?.sealing?.done.catch(() => {});
    const row = this.#parts.index.find(chunkId);
    if (!row || row.state === "missing" || row.state === "trash") return "missing";
    if (row.state === "quarantined") return "corrupt";
    const flaw =
      expected && (expected.lengthBytes !== row.lengthBytes || expected.crc32 !== row.crc32)
        ? bad("length or checksum differ from what was committed")
        : await this.#flawOf(row, pace);
    const now = this.#parts.index.find(chunkId);
    if (now?.state !== "sealed" || now.sealedAt !== row.sealedAt) return "missing";
    if (flaw === null) {
      await this.#parts.inventory.commits.add(false, () => this.#parts.index.setVerified(chunkId, this.#parts.now()));
      return "good";
    }
    if (flaw.kind === "missing") {
      await this.#settling.settle(chunkId);
      return "missing";
    }
    await this.quarantine(chunkId, flaw.problem);
    return "corrupt";
  }

  async #flawOf(row: ChunkRow, pace: ReadPace): Promise<Flaw | null> {
    const blockCrcs = unpackCrcs(row.blockCrcs);
    if (crc32OfBlocks(blockCrcs, row.lengthBytes, row.blockSizeBytes) !== row.crc32)
      return bad("the block checksums do not combine into the chunk's");
    return this.#parts.shelves.of(row).verify(row, blockCrcs, pace);
  }

  /** Takes a bad copy out of service. Its bytes are kept for the operator, and the next heartbeat reports it. */
  async quarantine(chunkId: ChunkId, problem: string): Promise<void> {
    const row = this.#parts.index.find(chunkId);
    if (row?.state !== "sealed" && row?.state !== "trash") return;
    this.#parts.log.warn(
      { event: "chunk-quarantined", chunk: formatChunkId(chunkId), problem },
      "a bad copy was quarantined",
    );
    if (row.state === "trash") return;
    try {
      await this.#parts.shelves.of(row).quarantine(chunkId);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return void (await this.#settling.settle(chunkId));
      // The copy is out of service all the same; its bytes follow.
      this.#settling.fellBehind(chunkId);
      this.#parts.log.error(
        { event: "quarantine-failed", err: this.#parts.disk.refusal(error) },
        "a bad copy could not be moved",
      );
    }
    try {
      await this.#parts.inventory.change(true, (rows) => {
        if (rows.find(chunkId)?.state === "sealed") rows.setState(chunkId, "quarantined");
      });
    } catch (error) {
      this.#settling.fellBehind(chunkId);
      throw error;
    }
  }

  /**
   * Reads quarantined copies again: a disk, a cable or a controller that failed for a while may have sent good ones there.
   * A whole one is restored; the leader learns of it when inventories are compared.
   *
   * @param afterMs from quarantine to the first reading; each reading that finds the copy bad doubles it
   * @returns how many were restored
   */
  async recheck(afterMs: number): Promise<number> {
    let restored = 0;
    for (const { chunkId } of this.#parts.index.toRecheck(this.#parts.now(), afterMs, RECHECKED_AT_ONCE)) {
      const now = this.#parts.index.find(chunkId);
      const row = now?.state === "quarantined" ? await this.#parts.shelves.of(now).identify(now) : null;
      const flaw = row === null ? bad("neither its row nor its bytes say what it is") : await this.#flawOf(row, atOnce);
      if (row !== null && flaw === null && (await this.#restore(row))) restored++;
      else if (flaw?.kind === "missing") await this.#settling.settle(chunkId);
      else
        await this.#parts.inventory.commits.add(false, () => this.#parts.index.setVerified(chunkId, this.#parts.now()));
    }
    return restored;
  }

  async #restore(row: ChunkRow): Promise<boolean> {
    const { chunkId } = row;
    const shelf = this.#parts.shelves.of(row);
    const now = this.#parts.index.find(chunkId);
    if (this.#open.get(chunkId) || now?.state !== "quarantined" || now.sealedAt > row.sealedAt) return false;
    await shelf.restore(chunkId);
    const sealed: ChunkRow = { ...row, state: "sealed", verifiedAt: this.#parts.now() };
    let isRestored = false;
    try {
      await this.#parts.inventory.change(true, (rows) => {
        if (this.#open.get(chunkId) || rows.find(chunkId)?.state !== "quarantined") return;
        if (shelf.settle(sealed) !== "sealed") return;
        rows.put(sealed);
        isRestored = true;
      });
    } finally {
      if (!isRestored) this.#settling.fellBehind(chunkId);
    }
    if (!isRestored) return false;
    this.#parts.log.info(
      { event: "chunk-restored", chunk: formatChunkId(chunkId) },
      "a quarantined copy is whole after all",
    );
    return true;
  }
}
