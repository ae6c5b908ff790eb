/** A node's data is for its own user alone: the index holds small files whole, and records hold names. */
import { chmodSync, lstatSync, mkdirSync, readdirSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { ExitCode, StartRefused } from "./lifecycle.ts";
import type { Logger } from "./log.ts";

const FOR_OTHERS = 0o077;

/**
 * Makes a data directory, or takes the rights of others away from one that exists, and from the entries directly in it.
 * Deeper entries cannot be reached without it.
 *
 * @param uid the user that this process runs as
 * @throws StartRefused if the directory belongs to another user, who could read and replace its content
 */
export function takePrivately(directory: string, log: Logger, uid: number = process.getuid?.() ?? 0): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { uid: owner } = statSync(directory);
  if (owner !== uid) {
    const message = `${directory} belongs to user ${owner}, and this node runs as user ${uid}`;
    if (uid !== 0)
      throw new StartRefused(
        `${message}. Start it as that user, give the folder to this one (chown), or name another one.`,
        ExitCode.dataDirectoryRefused,
      );
    log.warn({ event: "directory-of-another-user", directory, owner }, message);
  }
  const opened = [directory, ...readdirSync(directory).map((name) => join(directory, name))].filter(tighten);
  if (opened.length === 0) return;
  log.warn(
    { event: "rights-tightened", paths: opened.slice(0, 20), count: opened.length },
    `${opened.length} files or folders in ${directory} were open to other users of this machine; they are not any more`,
  );
  if (isOpen(statSync(directory)))
    log.warn(
      { event: "directory-stays-open", directory },
      `other users of this machine can read ${directory}: its file system keeps no rights`,
    );
}

const isOpen = ({ mode }: Stats): boolean => (mode & FOR_OTHERS) !== 0;

/** @returns whether it was open to others */
function tighten(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat || stat.isSymbolicLink() || !isOpen(stat)) return false;
  try {
    chmodSync(path, stat.mode & 0o7777 & ~FOR_OTHERS);
  } catch (error) {
    if (!["EPERM", "ENOTSUP", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
  return true;
}
