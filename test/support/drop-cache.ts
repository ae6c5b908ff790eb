/** Takes a file out of the kernel's page cache, so that the next read of it is one of the disk. */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { openCLibrary } from "../../actors/node/c-library.ts";
import { PageCache } from "../../actors/worker/store/shelves/file-bytes.ts";

const POSIX_FADV_DONTNEED = 4;

/** @returns whether the file is out of it; never on a file system in memory */
export function dropFromCache(path: string): boolean {
  const libc = openCLibrary({ posix_fadvise: { args: ["i32", "i64", "i64", "i32"], returns: "i32" } });
  const file = openSync(path, "r");
  fsyncSync(file);
  libc?.posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  closeSync(file);
  return !new PageCache().holds(path, 0, 1);
}
