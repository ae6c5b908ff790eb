/** Where the clusters' data lies: on a disk, and in a memory-backed folder, so that the disk does not hide the program. */
import { mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type PlaceKind = "disk" | "memory";

export interface Place {
  kind: PlaceKind;
  /** Made for this run alone. */
  directory: string;
}

const MEMORY_FOLDER = "/dev/shm";
/** Kernel's name for file systems that live in memory. */
const TMPFS_MAGIC = 0x0102_1994;

const isInMemory = (directory: string): boolean => statfsSync(directory).type === TMPFS_MAGIC;

function availableMemoryBytes(): number {
  const kibibytes = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  return Number(kibibytes ?? 0) * 1024;
}

/** What may be written there. Files in memory also take memory. */
export function freeBytes({ kind, directory }: Pick<Place, "kind" | "directory">): number {
  const { bavail, bsize } = statfsSync(directory);
  return kind === "disk" ? bavail * bsize : Math.min(bavail * bsize, availableMemoryBytes());
}

/** @returns a folder on a disk, below `parent` or the system's temporary folder. @throws if that is memory-backed */
export function makeDiskPlace(parent: string = tmpdir()): Place {
  if (isInMemory(parent)) throw new Error(`${parent} is memory-backed; name a folder on a disk with --dir`);
  return { kind: "disk", directory: mkdtempSync(join(parent, "dfs-bench-")) };
}

/** @returns a memory-backed folder, or in words why there is none */
export function makeMemoryPlace(neededBytes: number): Place | string {
  try {
    if (!isInMemory(MEMORY_FOLDER)) return `${MEMORY_FOLDER} is not memory-backed`;
  } catch {
    return `there is no ${MEMORY_FOLDER}`;
  }
  const free = freeBytes({ kind: "memory", directory: MEMORY_FOLDER });
  const inGiB = (bytes: number): string => (bytes / 2 ** 30).toFixed(1);
  if (free < neededBytes) return `${MEMORY_FOLDER} has ${inGiB(free)} GiB free, ${inGiB(neededBytes)} are needed`;
  return { kind: "memory", directory: mkdtempSync(join(MEMORY_FOLDER, "dfs-bench-")) };
}

export const removePlace = ({ directory }: Place): void => rmSync(directory, { recursive: true, force: true });
