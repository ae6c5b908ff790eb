/** `--restore FILE`: the first master of a new history, made from a backup. */
import { createReadStream } from "node:fs";
import { BackupUnusable, restoreBackup } from "../../../databases/metadata/backup.ts";
import { ExitCode, StartRefused } from "../../node/lifecycle.ts";
import type { Logger } from "../../node/log.ts";
import { clusterIdOf } from "./cluster-id.ts";

export interface RestoreOptions {
  file: string;
  dataDirectory: string;
  nodeId: string;
  secret: string;
  log: Logger;
}

/** @throws StartRefused if the directory is not empty, or the backup is of no use here */
export async function restoreMaster({ file, dataDirectory, nodeId, secret, log }: RestoreOptions): Promise<void> {
  try {
    const source = createReadStream(file, { highWaterMark: 1 << 20 });
    const { index, at } = await restoreBackup(source, { dataDirectory, nodeId, clusterId: clusterIdOf(secret) });
    log.warn(
      { event: "restored", file, index, madeAt: new Date(at).toISOString() },
      `${nodeId} begins a new history with the backup; other masters join it (dfs masters add), none goes on with old data`,
    );
  } catch (cause) {
    if (cause instanceof BackupUnusable)
      throw new StartRefused(`${file} cannot be restored: ${cause.message}`, ExitCode.dataDirectoryRefused);
    throw cause;
  }
}
