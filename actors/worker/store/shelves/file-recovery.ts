/** Makes index and files agree at the start of a worker, as they were left by a stop, a crash or a loss of power. */
import { renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { ChunkRow } from "../../../../databases/chunk-index.ts";
import type { ChunkId } from "../../../messages/primitives.ts";
import { formatChunkId } from "../../../rules/chunk-id.ts";
import { turn } from "../pace.ts";
import type { StoreParts } from "../store-parts.ts";
import type { FiledState } from "./chunk-folders.ts";
import { rowOf, trailerOrProblem } from "./trailer.ts";

export interface Recovered {
  partsDiscarded: number;
  /** Files without a row that tell what they are. */
  adopted: number;
  /** Files without a row that do not. */
  damaged: number;
  /** Rows that said another folder than their file's. */
  moved: number;
  /** Rows without a file. */
  missing: number;
}

type Parts = Pick<StoreParts, "index" | "folders" | "directories" | "log" | "now">;

/** To be called once, before anything else. */
export async function recover(parts: Parts): Promise<Recovered> {
  const { index, folders, directories, now } = parts;
  const found: Recovered = { partsDiscarded: 0, adopted: 0, damaged: 0, moved: 0, missing: 0 };
  for (const directory of folders.roots) await directories.sync(directory);
  found.partsDiscarded = await folders.discardParts();
  const filed = new Map<ChunkId, FiledState>();
  for await (const files of folders.files()) {
    const strangers: { chunkId: ChunkId; state: FiledState }[] = [];
    const moved: { chunkId: ChunkId; state: FiledState }[] = [];
    for (const file of files) {
      const seen = filed.get(file.chunkId);
      if (seen === undefined) filed.set(file.chunkId, file.state);
      else {
        // A new copy was sealed, and the crash came before the old one was removed; or it was moved a moment ago.
        if (seen !== file.state) rmSync(folders.file(file.chunkId, file.state));
        continue;
      }
      const row = index.find(file.chunkId);
      if (!row) strangers.push(file);
      else if (!row.inline && row.state !== file.state) moved.push(file);
    }
    // The crash may have come before the folder was flushed; it is flushed before anyone counts on these copies.
    for (const folder of new Set(strangers.map(({ chunkId, state }) => dirname(folders.file(chunkId, state)))))
      await directories.sync(folder);
    for (const { chunkId, state } of strangers) {
      if (adopt(parts, chunkId, state)) found.adopted++;
      else {
        found.damaged++;
        if (state === "sealed") filed.set(chunkId, "quarantined");
      }
    }
    found.moved += moved.length;
    if (moved.length > 0)
      index.transaction(false, () => {
        for (const { chunkId, state } of moved) {
          // It may have been found bad before its file could be moved: it is the next one to be read back.
          if (state === "sealed") index.setVerified(chunkId, 0);
          index.setState(chunkId, state, now());
        }
      });
  }
  found.missing = await markMissing(parts, filed);
  return found;
}

/** Rows whose file was not found. @returns how many */
async function markMissing({ index, now }: Parts, filed: ReadonlyMap<ChunkId, FiledState>): Promise<number> {
  let missing = 0;
  for (let after = 0; ; await turn()) {
    const rows = index.filesAfter(after, 1000);
    const last = rows.at(-1);
    if (!last) return missing;
    after = last.chunkId;
    const lost = rows.filter(({ chunkId }) => !filed.has(chunkId));
    missing += lost.length;
    if (lost.length > 0)
      index.transaction(true, () => {
        for (const { chunkId } of lost) index.setState(chunkId, "missing", now());
      });
  }
}

/** A file without a row: its trailer says what it is, or it is quarantined as damaged. */
function adopt({ index, folders, log }: Parts, chunkId: ChunkId, state: FiledState): boolean {
  const path = folders.file(chunkId, state);
  const trailer = trailerOrProblem(path);
  const whole = typeof trailer !== "string" && trailer.chunkId === chunkId;
  if (!whole) {
    log.warn(
      { event: "chunk-damaged", chunk: formatChunkId(chunkId), problem: trailer },
      "a chunk file without a good trailer was quarantined",
    );
    if (state === "sealed") renameSync(path, folders.file(chunkId, "quarantined"));
  }
  const row: ChunkRow = whole
    ? { ...rowOf(trailer, 0), state, verifiedAt: 0 }
    : {
        chunkId,
        state: state === "trash" ? "trash" : "quarantined",
        inline: false,
        lengthBytes: 0,
        crc32: 0,
        blockSizeBytes: 1,
        blockCrcs: new Uint8Array(),
        sealedAt: 0,
        verifiedAt: 0,
        copyDecidedAt: 0,
      };
  index.transaction(false, () => index.put(row));
  return whole;
}
