/** What the logs of stopped masters say of a history: the order of its changes, and which never came to be. */
import { join } from "node:path";
import type { RaftEntry } from "../../actors/messages/raft.ts";
import { decode } from "../../actors/node/http/wire.ts";
import { MasterLog } from "../../databases/master-log.ts";
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
    const key = (decode(data) as unknown[])[4] as string | null;
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
