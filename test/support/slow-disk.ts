/**
 * Makes the disk slow for one process, as the kernel does it for a container: by a control group of its own. Needs root, a
 * folder on a block device, and a kernel that limits what a group reads and writes.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = "/sys/fs/cgroup";
const isVersion1 = existsSync(join(ROOT, "blkio/blkio.throttle.write_bps_device"));
const isVersion2 = existsSync(join(ROOT, "io.stat")) || hasWord(join(ROOT, "cgroup.subtree_control"), "io");

function hasWord(file: string, word: string): boolean {
  return existsSync(file) && readFileSync(file, "utf8").split(/\s+/).includes(word);
}

/** "254:0", of the whole disk that the folder lies on. */
function deviceOf(folder: string): string {
  const { dev } = statSync(folder);
  const device = `${(dev >> 8) & 0xfff}:${(dev & 0xff) | ((dev >> 12) & 0xfff00)}`;
  const entry = `/sys/dev/block/${device}`;
  return existsSync(`${entry}/partition`) ? readFileSync(`${entry}/../dev`, "utf8").trim() : device;
}

function makeGroup(name: string, folder: string, bytesPerSecond: number): string {
  const group = join(ROOT, isVersion1 ? "blkio" : "", name);
  mkdirSync(group);
  try {
    const device = deviceOf(folder);
    if (isVersion1)
      for (const way of ["read", "write"])
        writeFileSync(join(group, `blkio.throttle.${way}_bps_device`), `${device} ${bytesPerSecond}`);
    else writeFileSync(join(group, "io.max"), `${device} rbps=${bytesPerSecond} wbps=${bytesPerSecond}`);
    return group;
  } catch (error) {
    rmdirSync(group);
    throw error;
  }
}

/** Whether that can be done here for files in the folder. */
export function canSlowDisk(folder: string): boolean {
  if (!isVersion1 && !isVersion2) return false;
  try {
    rmdirSync(makeGroup(`dfs-try-${process.pid}`, folder, 1 << 20));
    return true;
  } catch {
    return false;
  }
}

/** From now on the process reads and writes no faster, until the limit is disposed of. */
export function slowDisk(pid: number, folder: string, bytesPerSecond: number): Disposable {
  const group = makeGroup(`dfs-slow-${pid}`, folder, bytesPerSecond);
  writeFileSync(join(group, "cgroup.procs"), String(pid));
  return {
    [Symbol.dispose]: () => {
      writeFileSync(join(group, "../cgroup.procs"), String(pid));
      rmdirSync(group);
    },
  };
}
