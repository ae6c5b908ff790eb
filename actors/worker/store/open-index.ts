/** Opens the index of a worker's data directory at the start. */
import { ChunkIndex } from "../../../databases/chunk-index.ts";
import { DatabaseRefused } from "../../../databases/sqlite.ts";
import { ExitCode, StartRefused } from "../../node/lifecycle.ts";
import type { Logger } from "../../node/log.ts";

/** @throws StartRefused */
export function openIndex(directory: string, log: Logger): ChunkIndex {
  try {
    const index = new ChunkIndex(directory);
    if (index.setAside)
      log.error(
        { event: "index-damaged", setAside: index.setAside },
        "the damaged index was put aside; the inline chunks in it are lost",
      );
    return index;
  } catch (error) {
    if (error instanceof DatabaseRefused && (error.why === "inUse" || error.why === "newer"))
      throw new StartRefused(error.message, ExitCode.dataDirectoryRefused);
    throw new StartRefused(`Cannot use ${directory}: ${(error as Error).message}`, ExitCode.diskFailed);
  }
}
