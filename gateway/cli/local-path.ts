/** Local files to send, and local places that names from the cluster may be written to. */
import { mkdirSync, readdirSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { DfsError } from "../client/client.ts";

export interface LocalFile {
  path: string;
  /** Below the directory that was named, with slashes. */
  relative: string;
  sizeBytes: number;
  modifiedMs: number;
}

export interface LocalTree {
  files: LocalFile[];
  /** Empty directories. */
  emptyDirectories: string[];
  /** Sockets, dangling links and the like, with the reason. */
  skipped: { path: string; reason: string }[];
}

/** Everything below a directory. Links to files are followed; links to directories are not, so there are no circles. */
export function walk(root: string): LocalTree {
  const tree: LocalTree = { files: [], emptyDirectories: [], skipped: [] };
  const visit = (directory: string, below: string): void => {
    const entries = readdirSync(directory, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
    if (entries.length === 0 && below !== "") tree.emptyDirectories.push(below);
    for (const entry of entries) {
      const path = join(directory, entry.name);
      const relative = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isDirectory()) {
        visit(path, relative);
        continue;
      }
      const found = statSync(path, { throwIfNoEntry: false });
      if (found?.isFile()) tree.files.push({ path, relative, sizeBytes: found.size, modifiedMs: found.mtimeMs });
      else
        tree.skipped.push({
          path,
          reason: found === undefined ? "dangling link" : found.isDirectory() ? "link to a directory" : "not a file",
        });
    }
  };
  visit(root, "");
  return tree;
}

/**
 * The local path for a name that came from the cluster: inside `root`, whatever the name says and wherever links within
 * `root` lead. Makes the directories on the way.
 *
 * @throws DfsError UNSAFE_NAME
 */
export function targetInside(root: string, name: string): string {
  const refuse = (reason: string): never => {
    throw new DfsError(
      "UNSAFE_NAME",
      `${JSON.stringify(name)} was not written: ${reason}.`,
      0,
      "Get this file alone, under a name of your choice: dfs get PATH NAME.",
    );
  };
  const segments = name.split("/");
  if (segments.some((segment) => segment === "" || segment === "." || segment === ".." || segment.includes("\0")))
    refuse("the name leads out of the target directory");
  const base = resolve(root);
  const target = join(base, ...segments);
  if (!target.startsWith(base.endsWith(sep) ? base : base + sep)) refuse("the name leads out of the target directory");
  mkdirSync(base, { recursive: true });
  const realBase = realpathSync(base);
  let existing = dirname(target);
  while (statSync(existing, { throwIfNoEntry: false }) === undefined) existing = dirname(existing);
  const real = realpathSync(existing);
  if (real !== realBase && !real.startsWith(realBase.endsWith(sep) ? realBase : realBase + sep))
    refuse("a link in the target directory leads out of it");
  mkdirSync(dirname(target), { recursive: true });
  return target;
}
