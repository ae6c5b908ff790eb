/**
 * The ground that a store stands on: its data directory, the index in it, and the folders for chunk files. It can be taken
 * away under a running worker: by `rm`, by an unmounted disk, by another copy of the directory moved into its place.
 *
 * Without its directory or its index a worker must end: its database goes on writing to a file that has no name any more,
 * and chunks acknowledged from then on would be gone with the process.
 *
 * A folder that vanished took its copies with it. It is made anew if it was a plain folder on the file system of the data
 * directory, since nothing can come back to its place. A mounted file system, or a link to one, is not made anew: new chunks
 * would fill the disk below, and be hidden once the file system is mounted again.
 */
import { lstatSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Of so many looks, one is at every folder, whatever its parent says. */
const WHOLE_LOOK_EVERY = 8;

interface Place {
  path: string;
  /** Device and inode; null if it is not there. */
  identity: string | null;
  /** Whether it may be made anew. */
  isPlain: boolean;
}

export class Ground {
  readonly #home: Place[];
  readonly #folders: Place[];
  readonly #parents: string[];
  /** The parents at the last look that found every folder in its place; null: one may not be. */
  #calm: string | null = null;
  #looks = 0;

  /**
   * @param home what the worker cannot live without: its directory and its index
   * @param folders where chunk files lie, each after its parent
   */
  constructor(home: readonly string[], folders: readonly string[]) {
    const device = statSync(home[0] as string).dev;
    this.#home = home.map((path) => ({ path, identity: identityOf(path), isPlain: false }));
    this.#folders = folders.map((path) => {
      const isPlain = lstatSync(path).isDirectory() && statSync(path).dev === device;
      return { path, identity: identityOf(path), isPlain };
    });
    this.#parents = [...new Set(folders.map((path) => dirname(path)))];
  }

  /** @returns the first place without which a worker must end and which is gone or replaced; null: none */
  lostHome(): string | null {
    return this.#home.find(({ path, identity }) => identityOf(path) !== identity)?.path ?? null;
  }

  /**
   * A folder that goes, comes or is replaced changes its parent, so mostly the parents alone are looked at. A file system that
   * is mounted over a folder does not; that is noticed some looks later.
   *
   * @returns folders that are not there, or are others than they were
   */
  changedFolders(): string[] {
    const parents = this.#parents.map(contentOf).join();
    if (parents === this.#calm && ++this.#looks % WHOLE_LOOK_EVERY !== 0) return [];
    const changed = this.#folders.filter(({ path, identity }) => identityOf(path) !== identity);
    this.#calm = changed.length === 0 ? parents : null;
    return changed.map(({ path }) => path);
  }

  /**
   * Makes vanished folders anew where that is safe, and takes folders that were put in their places from outside as they are.
   *
   * @returns the folders that are gone and must not be made
   */
  restore(): string[] {
    this.#calm = null;
    const gone: string[] = [];
    for (const place of this.#folders) {
      const { path, isPlain } = place;
      if (identityOf(path) === null && isPlain && !gone.some((above) => path.startsWith(`${above}/`)))
        mkdirSync(path, { mode: 0o700 });
      const now = identityOf(path);
      if (now === null) gone.push(path);
      else place.identity = now;
    }
    return gone;
  }
}

/** Another one after each change of the names in a folder. */
function contentOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}:${stat.mtimeMs}` : "gone";
}

function identityOf(path: string): string | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}` : null;
}
