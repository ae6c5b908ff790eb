/** What the logs of stopped masters say of a history: the order of its changes, and which never came to be. */
import { join } from "node:path";
import { decodeCommand, NOOP } from "../../actors/master/group/entry-data.ts";
import type { RaftEntry } from "../../actors/messages/raft.ts";
import { MasterLog } from "../../databases/master-log.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import type { RecordedCall } from "./recorded-load.ts";

const NOBODY = { clusterId: "", nodeId: "", configuration: { voters: [[]], learners: [] } };

/** @param dataDirectory of a master that has been stopped */
export function logOfStopped(dataDirectory: string): RaftEntry[] {
  const log = new MasterLog(join(dataDirectory, "master_metadata.db"), NOBODY);
  try {
    const { baseIndex, entries } = log.recover();
    if (baseIndex > 0) throw new Error(`the log begins behind entry ${baseIndex}: set raft.keepEntries higher`);
    return entries;
  } finally {
    log.close();
  }
}

/** Where two logs differ up to an entry that is committed; null: nowhere. */
export function firstDifference(one: RaftEntry[], other: RaftEntry[], committed: number): number | null {
  for (let n = 0; n < committed; n++) {
    const [a, b] = [one[n], other[n]];
    if (!a || !b || a.term !== b.term || a.kind !== b.kind || Buffer.compare(a.data, b.data) !== 0) return n + 1;
  }
  return null;
}

/** Hashes of states, all at the same entry: the last that any of the masters applied. */
export interface StateHashes {
  /** One for each master. Entries that its state has not applied yet are applied here. */
  ofMasters: number[];
  /** Of the state that this program builds from the whole log. */
  builtAnew: number;
}

/** @param dataDirectories of masters that have been stopped, with the log from its beginning */
export function stateHashes(dataDirectories: readonly string[]): StateHashes {
  const stores = dataDirectories.map((directory) => new SqliteMetadata(join(directory, "dfs_metadata.db")));
  const indexes = stores.map((store) => store.applied().index);
  const upTo = Math.max(...indexes);
  const log = logOfStopped(dataDirectories[indexes.indexOf(upTo)] as string);
  const [builtAnew = 0, ...ofMasters] = [new SqliteMetadata(":memory:"), ...stores].map((store) => {
    applyUpTo(upTo, log, store);
    const { stateHash } = store.applied();
    store.close();
    return stateHash;
  });
  return { ofMasters, builtAnew };
}

function applyUpTo(upTo: number, log: readonly RaftEntry[], store: SqliteMetadata): void {
  const { index: applied, logTime, wallTime } = store.applied();
  let stamp = { logTime, wallTime };
  for (const { kind, data, index, term } of log.slice(applied, upTo)) {
    const command = kind === "command" ? decodeCommand({ data }) : null;
    if (command) stamp = command.stamp;
    store.apply([{ proposal: command?.proposal ?? NOOP, env: { index, term, ...stamp } }]);
  }
}

export interface Evidence {
  /** Calls with a key, each with the index of its entry; those that the log proves to be absent have none. */
  calls: RecordedCall[];
  /** Commands that are in the log more than once, because they were sent again. */
  sentAgain: number;
  /** Calls without an answer of which the log knows that they never took effect. */
  provedAbsent: number;
  /** Calls that were told that nothing happened, and that the log has all the same. */
  broken: RecordedCall[];
}

/** @param committed the index up to which the log is committed; the history is older than that */
export function evidenceOf(history: readonly RecordedCall[], log: RaftEntry[], committed: number): Evidence {
  const found = new Map<string, number>();
  let sentAgain = 0;
  for (const { kind, index, data } of log.slice(0, committed)) {
    if (kind !== "command") continue;
    const key = decodeCommand({ data }).proposal.idempotencyKey;
    if (key === null) continue;
    if (found.has(key)) sentAgain++;
    else found.set(key, index);
  }
  const calls = history.map((one) => ({ ...one, index: one.key === null ? null : (found.get(one.key) ?? null) }));
  const keyed = calls.filter(({ key }) => key !== null);
  return {
    calls,
    sentAgain,
    provedAbsent: keyed.filter(({ outcome, index }) => outcome === null && index === null).length,
    broken: keyed.filter(({ withoutEffect, index }) => withoutEffect && index !== null),
  };
}
