/**
 * For scale: the same bytes written three times, as plain as it can be: three files, 512 KiB at a time over the thread
 * pool, fdatasync at the end of each. Started as a load; the folder's disk is all that it measures.
 */
import { closeSync, fdatasync, openSync, rmSync, write } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { randomBytes, runAsLoad } from "../load/load-process.ts";

export interface FlushedCopiesTask {
  directory: string;
  sizeBytes: number;
  copies: number;
}

const BLOCK_BYTES = 512 << 10;
const PATTERN_BYTES = 64 << 20;
const writeAsync = promisify(write);
const flush = promisify(fdatasync);

await runAsLoad<FlushedCopiesTask, { bytes: number }>(async ({ directory, sizeBytes, copies }) => {
  const pattern = randomBytes(Math.min(PATTERN_BYTES, sizeBytes));
  const paths = Array.from({ length: copies }, (_, n) => join(directory, `flushed-copy-${n}`));
  const writeCopy = async (path: string): Promise<void> => {
    const file = openSync(path, "w", 0o600);
    for (let at = 0; at < sizeBytes; at += BLOCK_BYTES) {
      const from = at % pattern.length;
      await writeAsync(file, pattern, from, Math.min(BLOCK_BYTES, pattern.length - from, sizeBytes - at), at);
    }
    await flush(file);
    closeSync(file);
  };
  process.on("exit", () => {
    for (const path of paths) rmSync(path, { force: true });
  });
  return async () => {
    await Promise.all(paths.map(writeCopy));
    return { bytes: sizeBytes };
  };
});
