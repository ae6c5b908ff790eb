/**
 * The ground that a store stands on: its data directory, the index in it, and the folders for chunk files. It can be taken
 * away under a running worker: by `rm`, by an unmounted disk, by another copy of the directory moved into its place.
 *
 * Without its directory or its index a worker must end. Its database goes on writing to a file that has no name any more,
 * and what is acknowledged then is gone with the process.
 *
 * A folder that vanished took its copies with it, and is made anew if it was an ordinary one: on the same file system as
 * the data directory, which is still there. Nothing can come back to its place then. One that was a file system of its own,
 * or a link to one, is not: new chunks would fill the disk below, and be hidden once it is mounted again.
 */
import { lstatSync, mkdirSync, statSync } from "node:fs";

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

  /**
   * @param home what the worker cannot live without: its directory and its index
   * @param folders where chunk files lie, each after the one that it lies in
   */
  constructor(home: readonly string[], folders: readonly string[]) {
    const device = statSync(home[0] as string).dev;
    this.#home = home.map((path) => ({ path, identity: identityOf(path), isPlain: false }));
    this.#folders = folders.map((path) => {
      const isPlain = lstatSync(path).isDirectory() && statSync(path).dev === device;
      return { path, identity: identityOf(path), isPlain };
    });
  }

  /** @returns what is not there any more, or not what it was, of the things that a worker cannot live without */
  lostHome(): string | null {
    return this.#home.find(({ path, identity }) => identityOf(path) !== identity)?.path ?? null;
  }

  /** @returns folders that are not there, or are others than they were */
  changedFolders(): string[] {
    return this.#folders.filter(({ path, identity }) => identityOf(path) !== identity).map(({ path }) => path);
  }

  /**
   * Makes vanished folders anew where that is safe, and takes those that somebody else has put there as they are.
   *
   * @returns those that are not there and must not be made
   */
  restore(): string[] {
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

function identityOf(path: string): string | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat ? `${stat.dev}:${stat.ino}` : null;
}
