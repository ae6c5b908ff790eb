/** An earlier program, out of the history of this repository. */
import { mkdirSync, realpathSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";

const PROJECT = resolve(import.meta.dir, "../..");
/** What nodes run on. */
const PARTS = ["actors", "gateway", "databases", "config.json", "package.json", "tsconfig.json", "bunfig.toml"];

function git(...args: string[]) {
  return Bun.spawnSync(["git", ...args], { cwd: PROJECT, stderr: "pipe" });
}

/** false in a downloaded archive, in a shallow clone, and where there is no git */
export function isInHistory(commit: string): boolean {
  try {
    return git("cat-file", "-e", `${commit}^{commit}`).exitCode === 0;
  } catch {
    return false;
  }
}

/**
 * Unpacks the program of a commit. It runs on the packages of this checkout.
 *
 * @param folder is made; the caller removes it
 * @returns `folder`, for `RealCluster`
 */
export function unpackProgram(commit: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const archive = git("archive", commit, ...PARTS);
  if (archive.exitCode !== 0) throw new Error(archive.stderr.toString());
  const unpacked = Bun.spawnSync(["tar", "-x", "-C", folder], { stdin: archive.stdout, stderr: "pipe" });
  if (unpacked.exitCode !== 0) throw new Error(unpacked.stderr.toString());
  symlinkSync(realpathSync(join(PROJECT, "node_modules")), join(folder, "node_modules"));
  return folder;
}
