/**
 * For scale: the same bytes written three times, as plain as it can be: three files, fdatasync at the end of each. Buffered,
 * 512 KiB at a time; or past the page cache (`O_DIRECT`), 1 MiB at a time, four in flight. Started as a load; the folder's
 * disk is all that it measures.
 */
import { constants, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { randomBytes, runAsLoad } from "../load/load-process.ts";

export interface FlushedCopiesTask {
  directory: string;
  sizeBytes: number;
  copies: number;
  direct: boolean;
}

const WAYS = {
  buffered: { flags: 0, blockBytes: 512 << 10, inFlight: 1 },
  direct: { flags: constants.O_DIRECT, blockBytes: 1 << 20, inFlight: 4 },
};
const PATTERN_BYTES = 64 << 20;

await runAsLoad<FlushedCopiesTask, { bytes: number }>(async ({ directory, sizeBytes, copies, direct }) => {
  const { flags, blockBytes, inFlight } = direct ? WAYS.direct : WAYS.buffered;
  // So large a buffer begins at a page, which O_DIRECT asks for.
  const pattern = randomBytes(Math.min(PATTERN_BYTES, sizeBytes));
  const paths = Array.from({ length: copies }, (_, n) => join(directory, `flushed-copy-${n}`));
  const writeCopy = async (path: string): Promise<void> => {
    const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | flags, 0o600);
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < sizeBytes) {
        const at = next;
        next += blockBytes;
        const from = at % pattern.length;
        await file.write(pattern, from, Math.min(blockBytes, pattern.length - from, sizeBytes - at), at);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    await file.datasync();
    await file.close();
  };
  process.on("exit", () => {
    for (const path of paths) rmSync(path, { force: true });
  });
  return async () => {
    await Promise.all(paths.map(writeCopy));
    return { bytes: sizeBytes };
  };
});
