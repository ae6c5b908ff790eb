/** Reads copies back: bad ones go to quarantine, and come back from there if they turn out to be whole. */
import { renameSync } from "node:fs";
import { rename } from "node:fs/promises";
import { dirname } from "node:path";
import type { ChunkRow } from "../../../databases/chunk-index.ts";
import type { ChunkId } from "../../messages/primitives.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";
import type { Settling } from "./settling.ts";
import { unpackCrcs } from "./shelves/chunk-file.ts";
import type { FiledState } from "./shelves/chunk-folders.ts";
import { readProblem, rowOf, trailerOrProblem } from "./shelves/trailer.ts";
import type { Expected, StoreParts } from "./store-parts.ts";
import type { OpenChunks } from "./writing.ts";

/** Quarantined copies read again in one go. */
const RECHECKED_AT_ONCE = 16;

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
  async verify(
    chunkId: ChunkId,
    expected: Expected | null,
    pace: (bytes: number) => Promise<void> | null = () => null,
  ): Promise<Verdict> {
    await this.#open.get(chunkId)?.sealing?.done.catch(() => {});
    const row = this.#parts.index.find(chunkId);
    if (!row || row.state === "missing" || row.state === "trash") return "missing";
    if (row.state === "quarantined") return "corrupt";
    const problem =
      expected && (expected.lengthBytes !== row.lengthBytes || expected.crc32 !== row.crc32)
        ? "length or checksum differ from what was committed"
        : await this.#problemOf(row, pace);
    const now = this.#parts.index.find(chunkId);
    if (now?.state !== "sealed" || now.sealedAt !== row.sealedAt) return "missing";
    if (problem === null) {
      await this.#parts.inventory.commits.add(false, () => this.#parts.index.setVerified(chunkId, this.#parts.now()));
      return "good";
    }
    if (problem === "missing") {
      await this.#settling.settle(chunkId);
      return "missing";
    }
    await this.quarantine(chunkId, problem);
    return "corrupt";
  }

  async #problemOf(row: ChunkRow, pace: (bytes: number) => Promise<void> | null): Promise<string | null> {
    const crcs = unpackCrcs(row.blockCrcs);
    if (crc32OfBlocks(crcs, row.lengthBytes, row.blockSizeBytes) !== row.crc32)
      return "the block checksums do not combine into the chunk's";
    if (row.inline) {
      const bytes = this.#parts.index.inlineBytes(row.chunkId);
      if (!bytes) return "missing";
      await pace(bytes.length);
      return bytes.length === row.lengthBytes && Bun.hash.crc32(bytes) === row.crc32 ? null : "the bytes changed";
    }
    const path = this.#parts.folders.file(row.chunkId, row.state as FiledState);
    const trailer = trailerOrProblem(path);
    if (typeof trailer === "string") return trailer;
    if (trailer.chunkId !== row.chunkId || trailer.crc32 !== row.crc32) return "the file is of another chunk";
    const file = await this.#parts.openFile(path).catch(readProblem);
    if (typeof file === "string") return file;
    try {
      const buffer = new Uint8Array(Math.min(row.blockSizeBytes, row.lengthBytes));
      for (let n = 0; n < crcs.length; n++) {
        const offset = n * row.blockSizeBytes;
        const block = buffer.subarray(0, Math.min(row.blockSizeBytes, row.lengthBytes - offset));
        for (let done = 0; done < block.length; ) {
          const read = await file.read(block, done, block.length - done, offset + done).catch(readProblem);
          if (typeof read === "string") return read;
          if (read.bytesRead === 0) return `the file ends in block ${n}`;
          done += read.bytesRead;
        }
        if (Bun.hash.crc32(block) !== crcs[n]) return `block ${n} changed`;
        await pace(block.length);
      }
      return null;
    } finally {
      await file.close();
    }
  }

  /** Takes a bad copy out of service; the file is kept for people, the leader is told. */
  async quarantine(chunkId: ChunkId, problem: string): Promise<void> {
    const row = this.#parts.index.find(chunkId);
    if (row?.state !== "sealed" && row?.state !== "trash") return;
    this.#parts.log.warn(
      { event: "chunk-quarantined", chunk: formatChunkId(chunkId), problem },
      "a bad copy was quarantined",
    );
    if (row.state === "trash") return;
    try {
      if (!row.inline) await this.#moveAway(chunkId);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return void (await this.#settling.settle(chunkId));
      // The copy is out of service all the same; its file follows.
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

  async #moveAway(chunkId: ChunkId): Promise<void> {
    const { folders, directories } = this.#parts;
    const [from, to] = [folders.file(chunkId, "sealed"), folders.file(chunkId, "quarantined")];
    await rename(from, to);
    await directories.sync(dirname(to));
    await directories.sync(dirname(from));
  }

  /**
   * Reads again what lies in quarantine: a disk, a cable or a controller that failed for a while took good copies there
   * with it. One that is whole is a copy again; the leader learns of it when inventories are compared.
   *
   * @param afterMs since it came there; after each reading that finds it bad, twice as long
   * @returns how many are copies again
   */
  async recheck(afterMs: number): Promise<number> {
    let restored = 0;
    for (const { chunkId } of this.#parts.index.toRecheck(this.#parts.now(), afterMs, RECHECKED_AT_ONCE)) {
      const row = this.#rowOfQuarantined(chunkId);
      const problem = row === null ? "it does not tell what it is" : await this.#problemOf(row, () => null);
      if (row !== null && problem === null && (await this.#restore(row))) restored++;
      else if (problem === "missing") await this.#settling.settle(chunkId);
      else
        await this.#parts.inventory.commits.add(false, () => this.#parts.index.setVerified(chunkId, this.#parts.now()));
    }
    return restored;
  }

  /** One whose trailer could not be read when its file was found may tell now what it is. */
  #rowOfQuarantined(chunkId: ChunkId): ChunkRow | null {
    const row = this.#parts.index.find(chunkId);
    if (row?.state !== "quarantined" || row.lengthBytes > 0) return row?.state === "quarantined" ? row : null;
    const trailer = trailerOrProblem(this.#parts.folders.file(chunkId, "quarantined"));
    return typeof trailer === "string" || trailer.chunkId !== chunkId
      ? null
      : { ...rowOf(trailer, row.copyDecidedAt), state: "quarantined" };
  }

  async #restore(row: ChunkRow): Promise<boolean> {
    const { chunkId } = row;
    const now = this.#parts.index.find(chunkId);
    if (this.#open.get(chunkId) || now?.state !== "quarantined" || now.sealedAt > row.sealedAt) return false;
    if (!row.inline) {
      const { folders, directories } = this.#parts;
      const path = folders.file(chunkId, "sealed");
      renameSync(folders.file(chunkId, "quarantined"), path);
      await directories.sync(dirname(path));
    }
    const sealed: ChunkRow = { ...row, state: "sealed", verifiedAt: this.#parts.now() };
    let isRestored = false;
    try {
      await this.#parts.inventory.change(true, (rows) => {
        if (this.#open.get(chunkId) || rows.find(chunkId)?.state !== "quarantined") return;
        if (!row.inline && this.#parts.folders.whereIs(chunkId) !== "sealed") return;
        rows.put(sealed, row.inline ? (this.#parts.index.inlineBytes(chunkId) ?? undefined) : undefined);
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
