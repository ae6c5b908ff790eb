/**
 * The folders that hold a node's data: `<dataDirectory>/<node-id>/`. Finds them, brings those of an older layout to where
 * they belong, and destroys them when an operator begins anew.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { formerDataDirectory } from "../actors/rules/former-place.ts";
import { isInUse } from "./sqlite.ts";

/** What only a master, a worker or any node keeps; one of these makes a folder a node's. */
const CONTENTS = {
  metadata: ["master_metadata.db", "dfs_metadata.db", "state"],
  chunks: ["chunk-index.db", "chunks"],
  records: ["records.db", "followed-records.db", "node.log"],
} as const;

/** Each is opened by one process alone. */
const LOCKED = ["master_metadata.db", "chunk-index.db", "records.db", "followed-records.db"];

/** In front of the name of a folder that is being destroyed. */
const DISCARDED = ".discarded-";

export interface NodeData {
  /** The node's id, which is the folder's name. */
  id: string;
  directory: string;
  /** In a person's words: metadata, chunks, records. */
  holds: string[];
}

/** The kinds of a node's data that lie in this folder; empty if it is not a node's. */
function contentsOf(directory: string): string[] {
  const names = new Set(readdirSync(directory));
  return Object.entries(CONTENTS)
    .filter(([, files]) => files.some((file) => names.has(file)))
    .map(([kind]) => kind);
}

/** All nodes with data below `dataDirectory`, or where it was formerly kept. Folders that hold something else are left out. */
export function nodesWithData(dataDirectory: string): NodeData[] {
  const places = [dataDirectory, formerDataDirectory(dataDirectory)].filter((place) => place !== null);
  return places.filter(existsSync).flatMap((place) =>
    readdirSync(place, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
      .map(({ name }) => ({ id: name, directory: join(place, name), holds: contentsOf(join(place, name)) }))
      .filter(({ holds }) => holds.length > 0)
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
  );
}

/** Is a running process using this node's data? */
export const isNodeRunning = (directory: string): boolean =>
  LOCKED.some((name) => existsSync(join(directory, name)) && isInUse(join(directory, name)));

/**
 * Moves a node's data from where it was formerly kept. One rename: a crash leaves it at one place or the other, and the
 * next start finds it there. Where a rename is impossible (a mount point, a running node), the data is used where it is.
 *
 * @returns where the node's data is now
 */
export function settleNodeData(dataDirectory: string, nodeId: string): string {
  const directory = join(dataDirectory, nodeId);
  const place = formerDataDirectory(dataDirectory);
  const former = place && join(place, nodeId);
  if (former === null || existsSync(directory) || !existsSync(former) || contentsOf(former).length === 0)
    return directory;
  if (isNodeRunning(former)) return former;
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
  try {
    renameSync(former, directory);
    return directory;
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    if (["EXDEV", "EBUSY"].includes(code)) return former;
    // Two processes of this node at once: the other one moved it.
    if (existsSync(directory)) return directory;
    throw cause;
  }
}

/** Bytes below a folder. What disappears meanwhile counts as nothing. */
export function bytesBelow(directory: string): number {
  let bytes = 0;
  for (const name of readdirSync(directory, { recursive: true }) as string[])
    bytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0;
  return bytes;
}

/** Renames the folder before it removes it: a crash in between leaves no node with half of its data. */
export function destroyNodeData({ id, directory }: NodeData): void {
  const discarded = join(dirname(directory), `${DISCARDED}${id}`);
  rmSync(discarded, { recursive: true, force: true });
  renameSync(directory, discarded);
  rmSync(discarded, { recursive: true, force: true });
}

/** Removes what a crash left of `destroyNodeData`. */
export function finishDestroying(dataDirectory: string): void {
  for (const place of [dataDirectory, formerDataDirectory(dataDirectory)])
    if (place !== null && existsSync(place))
      for (const name of readdirSync(place))
        if (name.startsWith(DISCARDED)) rmSync(join(place, name), { recursive: true, force: true });
}
