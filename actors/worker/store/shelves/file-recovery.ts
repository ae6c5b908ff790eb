/** Makes rows and chunk files agree at the start of a worker, as a stop, a crash or a loss of power has left them. */
import { renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import type { ChunkIndex, ChunkRow } from "../../../../databases/chunk-index.ts";
import type { ChunkId } from "../../../messages/primitives.ts";
import type { Logger } from "../../../node/log.ts";
import { formatChunkId } from "../../../rules/chunk-id.ts";
import { turn } from "../pace.ts";
import type { ChunkFolders, FiledState } from "./chunk-folders.ts";
import type { DirectorySync } from "./directory-sync.ts";
import { type Flaw, wordsOf } from "./flaw.ts";
import { readTrailer, rowOf } from "./trailer.ts";

/** What a start has found, in chunks. */
export interface Recovered {
  partsDiscarded: number;
  /** Files without a row whose trailer says what they are. */
  adopted: number;
  /** Files without a row, and without a good trailer. */
  damaged: number;
  /** Rows that named another folder than their file's. */
  moved: number;
  /** Rows without a file. */
  missing: number;
}

interface Parts {
  index: ChunkIndex;
  folders: ChunkFolders;
  directories: DirectorySync;
  log: Logger;
  now(): number;
}

interface FoundFile {
  chunkId: ChunkId;
  state: FiledState;
}

/** To be called once, before anything else. */
export async function recoverFiles(parts: Parts): Promise<Recovered> {
  const { index, folders, directories } = parts;
  const found: Recovered = { partsDiscarded: 0, adopted: 0, damaged: 0, moved: 0, missing: 0 };
  for (const directory of folders.roots) await directories.sync(directory);
  found.partsDiscarded = await folders.discardParts();
  const filed = new Map<ChunkId, FiledState>();
  for await (const files of folders.files()) {
    const strangers: FoundFile[] = [];
    const moved: FoundFile[] = [];
    for (const file of files) {
      if (isSecond(parts, filed, file)) continue;
      const row = index.find(file.chunkId);
      if (!row) strangers.push(file);
      else if (row.shelf === "file" && row.state !== file.state) moved.push(file);
    }
    // The crash may have come before the folder was fsynced; it is synced before anyone relies on these copies.
    for (const folder of new Set(strangers.map(({ chunkId, state }) => dirname(folders.file(chunkId, state)))))
      await directories.sync(folder);
    for (const { chunkId, state } of strangers) {
      if (await adopt(parts, chunkId, state)) found.adopted++;
      else {
        found.damaged++;
        if (state === "sealed") filed.set(chunkId, "quarantined");
      }
    }
    found.moved += moved.length;
    letRowsFollow(parts, moved);
  }
  found.missing = await markMissing(parts, filed);
  return found;
}

/** Notes the first file of a chunk. A second one, in another folder, is removed. @returns whether it is a second one */
function isSecond({ folders }: Parts, filed: Map<ChunkId, FiledState>, { chunkId, state }: FoundFile): boolean {
  const seen = filed.get(chunkId);
  if (seen === undefined) {
    filed.set(chunkId, state);
    return false;
  }
  // A new copy was sealed, and the crash came before the old one was removed. With the same state it is the very file, which
  // this recovery has moved.
  if (seen !== state) rmSync(folders.file(chunkId, state));
  return true;
}

function letRowsFollow({ index, now }: Parts, moved: readonly FoundFile[]): void {
  if (moved.length === 0) return;
  index.transaction(false, () => {
    index.forgetTotals();
    for (const { chunkId, state } of moved) {
      // The copy may have been found bad before its file could be moved: it is the next one to be read back.
      if (state === "sealed") index.setVerified(chunkId, 0);
      index.setState(chunkId, state, now());
    }
  });
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
        index.forgetTotals();
        for (const { chunkId } of lost) index.setState(chunkId, "missing", now());
      });
  }
}

/** Makes a row for a file without one: by its trailer, or else as damaged. @returns whether the trailer is good */
async function adopt(parts: Parts, chunkId: ChunkId, state: FiledState): Promise<boolean> {
  const { index, folders } = parts;
  const { value: trailer, flaw } = await readTrailer(folders.file(chunkId, state));
  const isWhole = trailer?.chunkId === chunkId;
  if (!isWhole) setAside(parts, chunkId, state, flaw);
  const row = isWhole ? { ...rowOf(trailer, 0), state, verifiedAt: 0 } : rowOfDamaged(chunkId, state);
  index.transaction(false, () => {
    index.forgetTotals();
    index.put(row);
  });
  return isWhole;
}

/** @param flaw null: its trailer is good, but that of another chunk */
function setAside({ folders, log }: Parts, chunkId: ChunkId, state: FiledState, flaw: Flaw | null): void {
  const problem = flaw ? wordsOf(flaw) : "its trailer is of another chunk";
  log.warn(
    { event: "chunk-damaged", chunk: formatChunkId(chunkId), problem },
    "a chunk file without a good trailer was quarantined",
  );
  if (state === "sealed") renameSync(folders.file(chunkId, state), folders.file(chunkId, "quarantined"));
}

const rowOfDamaged = (chunkId: ChunkId, state: FiledState): ChunkRow => ({
  chunkId,
  state: state === "trash" ? "trash" : "quarantined",
  shelf: "file",
  lengthBytes: 0,
  crc32: 0,
  blockSizeBytes: 1,
  blockCrcs: new Uint8Array(),
  sealedAt: 0,
  verifiedAt: 0,
  copyDecidedAt: 0,
});
