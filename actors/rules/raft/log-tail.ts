/**
 * The log as the core sees it: everything behind the compacted base, in memory. Entries are shared between versions of
 * the tail; appending costs what is appended, and an older version stays valid.
 */
import type { RaftEntry } from "../../messages/raft.ts";

export interface LogTail {
  /** The last compacted entry. */
  readonly baseIndex: number;
  readonly baseTerm: number;
  /** Entries `baseIndex + 1 …`; only the first `length` belong to this version. */
  readonly entries: RaftEntry[];
  readonly length: number;
}

export const emptyLog = (baseIndex = 0, baseTerm = 0): LogTail => ({ baseIndex, baseTerm, entries: [], length: 0 });

export const lastIndex = (log: LogTail): number => log.baseIndex + log.length;

export const entryAt = (log: LogTail, index: number): RaftEntry | undefined =>
  index > log.baseIndex && index <= lastIndex(log) ? log.entries[index - log.baseIndex - 1] : undefined;

/** @returns undefined where the log holds nothing, or no longer */
export const termAt = (log: LogTail, index: number): number | undefined =>
  index === log.baseIndex ? log.baseTerm : entryAt(log, index)?.term;

export const lastTerm = (log: LogTail): number => termAt(log, lastIndex(log)) as number;

/** Entries `from … to`, both included. */
export const slice = (log: LogTail, from: number, to: number): RaftEntry[] =>
  log.entries.slice(Math.max(0, from - log.baseIndex - 1), Math.min(log.length, to - log.baseIndex));

export function append(log: LogTail, added: readonly RaftEntry[]): LogTail {
  const own = log.entries.length === log.length ? log.entries : log.entries.slice(0, log.length);
  own.push(...added);
  return { ...log, entries: own, length: log.length + added.length };
}

/** Without the entries from `index` on. */
export const truncate = (log: LogTail, index: number): LogTail => {
  const length = index - log.baseIndex - 1;
  return { ...log, entries: log.entries.slice(0, length), length };
};

/** Without the entries up to `index`. */
export function compact(log: LogTail, index: number): LogTail {
  const term = termAt(log, index);
  if (term === undefined || index <= log.baseIndex) return log;
  return {
    baseIndex: index,
    baseTerm: term,
    entries: log.entries.slice(index - log.baseIndex, log.length),
    length: lastIndex(log) - index,
  };
}

/**
 * How much of a log stays when it is cut back: at most so many entries, and no more bytes.
 *
 * @returns null while it is not twice as long yet
 */
export function entriesToKeep({ entries, length }: LogTail, most: number, mostBytes: number): number | null {
  let bytes = 0;
  let kept = 0;
  for (let n = length - 1; n >= 0 && bytes <= 2 * mostBytes; n--) {
    bytes += (entries[n] as RaftEntry).data.length;
    if (bytes <= mostBytes && kept < most) kept++;
  }
  return length > 2 * most || bytes > 2 * mostBytes ? kept : null;
}

/** The last index at or before `index` whose term is not above `term`: whole terms are skipped in one probe. */
export function lastIndexNotAbove(log: LogTail, index: number, term: number): { index: number; term: number } {
  let at = Math.min(index, lastIndex(log));
  while (at > log.baseIndex && (termAt(log, at) as number) > term) at--;
  return { index: at, term: termAt(log, at) ?? 0 };
}

/** Is a log that ends at (term, index) at least as complete as ours? */
export const isUpToDate = (log: LogTail, theirs: { lastIndex: number; lastTerm: number }): boolean =>
  theirs.lastTerm > lastTerm(log) || (theirs.lastTerm === lastTerm(log) && theirs.lastIndex >= lastIndex(log));
