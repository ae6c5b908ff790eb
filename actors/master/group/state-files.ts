/** The files of the applied state: where each generation lies, and which of them may be gone on with. */
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { LogDamaged, type RecoveredLog } from "../../../databases/master-log.ts";
import { StateMissing } from "../../../databases/metadata/backup.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import type { Rules } from "../../rules/decide/exactly-once.ts";

/**
 * Opens the applied state and judges it by the log. A state that the log can build anew is put
 * aside if it is damaged.
 *
 * @throws LogDamaged if the two are not of one master; StateMissing if only a leader's state can help
 */
export function openState(path: string, rules: Rules, log: RecoveredLog, closeLog: () => void): SqliteMetadata {
  const last = log.baseIndex + log.entries.length;
  const judged = openUndamaged(path, rules);
  const { index, term } = judged.applied();
  const own = index === log.baseIndex ? log.baseTerm : log.entries[index - log.baseIndex - 1]?.term;
  const refuse = (error: LogDamaged): never => {
    judged.close();
    closeLog();
    throw error;
  };
  if (index > last)
    refuse(
      new LogDamaged(
        `the applied state is at entry ${index}, behind the log's end ${last}: the log lost what it had flushed, or these files are not of one master. Remove this master and start another under a new id`,
      ),
    );
  if (index < log.baseIndex)
    refuse(
      new StateMissing(`the applied state is at entry ${index}, and the log holds only what follows ${log.baseIndex}`),
    );
  if (own !== term)
    refuse(
      new LogDamaged(
        `the applied state ends with term ${term} at entry ${index}, the log has term ${own} there: these files are not of one master`,
      ),
    );
  return judged;
}

function openUndamaged(path: string, rules: Rules): SqliteMetadata {
  let metadata: SqliteMetadata | null = null;
  try {
    metadata = new SqliteMetadata(path, rules);
    if (metadata.damage() === null) return metadata;
  } catch (cause) {
    if (!isDamage(cause)) throw cause;
  }
  metadata?.close();
  for (const end of ["", "-wal", "-shm"])
    if (existsSync(`${path}${end}`)) renameSync(`${path}${end}`, `${path}.damaged${end}`);
  return new SqliteMetadata(path, rules);
}

/** Not: in use by another process, or of a newer program. */
const isDamage = (cause: unknown): boolean => /malformed|not a database|corrupt/i.test((cause as Error).message);

/** What a crash left of a state that was replaced, or of one that was never adopted. */
export function dropOtherGenerations(dataDirectory: string, generation: number): void {
  const folder = join(dataDirectory, "state");
  const names = existsSync(folder) ? readdirSync(folder) : [];
  for (const name of names) if (name !== String(generation)) rmSync(join(folder, name), { recursive: true });
  if (generation > 0)
    for (const end of ["", "-wal", "-shm"]) rmSync(`${statePath(dataDirectory, 0)}${end}`, { force: true });
}

/** The first generation lies beside the log; each snapshot installed brings another. */
export const statePath = (dataDirectory: string, generation: number): string =>
  generation === 0
    ? join(dataDirectory, "dfs_metadata.db")
    : join(dataDirectory, "state", String(generation), "dfs_metadata.db");
