/**
 * Where a worker's chunk files lie, and so what state they are in:
 *
 *     parts/         <id>.<n>.part    being written; worthless after a restart, since which blocks it has is lost
 *     chunks/ab/     <id>.chunk       sealed
 *     trash/         <id>.chunk       deleted, still readable
 *     quarantine/    <id>.chunk       found bad
 */
import { mkdirSync, statSync } from "node:fs";
import { readdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { ChunkId } from "../../../messages/primitives.ts";
import { formatChunkId } from "../../../rules/chunk-id.ts";
import { chunkFileName, chunkIdOfFileName } from "./chunk-file.ts";

/** The states that have a file of their own. */
export type FiledState = "sealed" | "trash" | "quarantined";
const FILED_STATES = ["sealed", "trash", "quarantined"] as const;
const FOLDERS = { sealed: "chunks", trash: "trash", quarantined: "quarantine" } as const;

export class ChunkFolders {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes what is not there yet. */
  make(): void {
    for (const folder of this.all) mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Every folder, each after the one that it lies in. */
  get all(): string[] {
    const chunks = Array.from({ length: 256 }, (_, n) => join("chunks", n.toString(16).padStart(2, "0")));
    return ["parts", "chunks", "trash", "quarantine", ...chunks].map((folder) => join(this.#root, folder));
  }

  /** The folders whose own names must be durable before anything in them is. */
  get roots(): string[] {
    return [dirname(this.#root), this.#root, join(this.#root, "chunks")];
  }

  /** @param begun tells the file from others that were begun for the same chunk since the start */
  part(chunkId: ChunkId, begun: number): string {
    return join(this.#root, "parts", `${formatChunkId(chunkId)}.${begun}.part`);
  }

  file(chunkId: ChunkId, state: FiledState): string {
    const name = chunkFileName(chunkId);
    return join(this.#root, FOLDERS[state], state === "sealed" ? name : name.slice(3));
  }

  /** @returns the folder that holds the chunk's file, the sealed one first; null if none does */
  whereIs(chunkId: ChunkId): FiledState | null {
    const isThere = (state: FiledState) => statSync(this.file(chunkId, state), { throwIfNoEntry: false }) !== undefined;
    return FILED_STATES.find(isThere) ?? null;
  }

  async discardParts(): Promise<number> {
    const folder = join(this.#root, "parts");
    const names = await readdir(folder);
    for (const name of names) await unlink(join(folder, name));
    return names.length;
  }

  /** Every chunk file, folder by folder. */
  async *files(): AsyncGenerator<{ chunkId: ChunkId; state: FiledState }[]> {
    for (const state of FILED_STATES) {
      const folder = join(this.#root, FOLDERS[state]);
      const places = state === "sealed" ? (await readdir(folder)).map((name) => join(folder, name)) : [folder];
      for (const place of places)
        yield (await readdir(place))
          .map(chunkIdOfFileName)
          .filter((chunkId) => chunkId !== null)
          .map((chunkId) => ({ chunkId, state }));
    }
  }
}
