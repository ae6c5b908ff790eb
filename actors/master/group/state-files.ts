/** The files of the applied state: where each generation lies, and which of them may be gone on with. */
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { LogDamaged, type RecoveredLog, type StateFile } from "../../../databases/master-log.ts";
import { StateMissing } from "../../../databases/metadata/backup.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { isDamage } from "../../../databases/sqlite.ts";
import type { Rules } from "../../rules/decide/exactly-once.ts";

const ENDS = ["", "-wal", "-shm"];
/** What a state that was not closed is read through for at once: it takes a tenth of a second. */
const CHECKED_AT_ONCE_BYTES = 32 << 20;

export interface FoundState {
  dataDirectory: string;
  rules: Rules;
  cacheBytes?: number;
  /** What is known of the file. */
  file: StateFile;
  /** Left out: `CHECKED_AT_ONCE_BYTES`. */
  checkedAtOnceBytes?: number;
}

export interface OpenState {
  store: SqliteMetadata;
  /** It was closed in order, is new, or was read through now. */
  isWhole: boolean;
}

/**
 * Opens the applied state and judges it by the log. A state that the log can build anew is put
 * aside if it is damaged. A large one that was not closed is not read through here: that is `soundness.ts`'s to do.
 *
 * @throws LogDamaged if the two are not of one master; StateMissing if only a leader's state can help
 */
export function openState(found: FoundState, log: RecoveredLog, closeLog: () => void): OpenState {
  const last = log.baseIndex + log.entries.length;
  const opened = openUndamaged(found, log.stateGeneration);
  const judged = opened.store;
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
  return opened;
}

function openUndamaged({ dataDirectory, ...found }: FoundState, generation: number): OpenState {
  const { rules, cacheBytes, file, checkedAtOnceBytes = CHECKED_AT_ONCE_BYTES } = found;
  const path = statePath(dataDirectory, generation);
  const bytes = stateBytes(path);
  const open = () => new SqliteMetadata(path, rules, cacheBytes);
  let store: SqliteMetadata | null = null;
  try {
    if (bytes === 0) return { store: open(), isWhole: true };
    if (file.damagedGeneration !== generation) {
      store = open();
      const { closed } = file;
      const isClosed =
        closed?.generation === generation && closed.index === store.applied().index && closed.bytes === bytes;
      if (isClosed) return { store, isWhole: true };
      if (bytes > checkedAtOnceBytes) return { store, isWhole: false };
      if (store.damage() === null) return { store, isWhole: true };
    }
  } catch (cause) {
    if (!isDamage(cause)) throw cause;
  }
  store?.close();
  for (const end of ENDS) if (existsSync(`${path}${end}`)) renameSync(`${path}${end}`, `${path}.damaged${end}`);
  return { store: open(), isWhole: true };
}

/** Of the file and what is still to be copied into it; 0: there is none. */
export const stateBytes = (path: string): number =>
  ["", "-wal"].reduce((sum, end) => sum + (statSync(path + end, { throwIfNoEntry: false })?.size ?? 0), 0);

/** What a crash left of a state that was replaced, or of one that was never adopted. */
export function dropOtherGenerations(dataDirectory: string, generation: number): void {
  const folder = join(dataDirectory, "state");
  const names = existsSync(folder) ? readdirSync(folder) : [];
  for (const name of names) if (name !== String(generation)) rmSync(join(folder, name), { recursive: true });
  if (generation > 0) for (const end of ENDS) rmSync(`${statePath(dataDirectory, 0)}${end}`, { force: true });
}

/** The first generation lies beside the log; each snapshot installed brings another. */
export const statePath = (dataDirectory: string, generation: number): string =>
  generation === 0
    ? join(dataDirectory, "dfs_metadata.db")
    : join(dataDirectory, "state", String(generation), "dfs_metadata.db");
