/** Notices that folders vanished under a running worker, and marks the rows of their copies as missing for the leader. */
import type { Logger } from "../../node/log.ts";
import type { ChunkStore } from "./chunk-store.ts";
import type { Disk } from "./disk.ts";
import type { Ground } from "./ground.ts";

export interface FolderWatchOptions {
  log: Logger;
  /** The data directory or its index is gone: the process must end. */
  onLost(path: string): void;
}

export class FolderWatch {
  /** The folders that are gone or replaced, and the number of rounds in which exactly these were. */
  #changed = "";
  #rounds = 0;

  constructor(
    readonly store: ChunkStore,
    readonly disk: Disk,
    readonly ground: Ground,
    readonly options: FolderWatchOptions,
  ) {}

  get isWhole(): boolean {
    return this.#changed === "";
  }

  /** One round. */
  async look(): Promise<void> {
    const { disk, ground, options } = this;
    const lost = ground.lostHome();
    if (lost !== null) return options.onLost(lost);
    const folders = ground.changedFolders();
    this.#rounds = this.#changed === folders.join() ? this.#rounds + 1 : 1;
    this.#changed = folders.join();
    if (this.isWhole) return;
    if (this.#rounds === 1) {
      disk.fail(`${named(folders)} vanished`);
      options.log.error({ event: "folders-vanished", folders }, `${named(folders)} vanished`);
    }
    // Acted on when it is seen twice: a file system on a network may be away for a moment.
    if (this.#rounds === 2) await this.#restore();
  }

  async #restore(): Promise<void> {
    const { store, disk, ground, options } = this;
    const gone = ground.restore();
    const missing = await store.lostFiles();
    options.log.error({ event: "folders-restored", gone, missing }, `${missing} copies are gone with their folders`);
    if (gone.length > 0)
      return disk.fail(`${named(gone)} vanished, which was a file system of its own: mount it again`);
    this.#changed = "";
    await disk.probe();
  }
}

const named = ([first = "", ...more]: string[]): string =>
  more.length === 0 ? first : `${first} and ${more.length} folders more`;
