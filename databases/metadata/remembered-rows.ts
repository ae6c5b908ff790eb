/**
 * The rows that nearly every command and question passes: the directories on the way to a name, the session that a command
 * belongs to, the workers that hold a chunk. Kept as they were read, until a write touches them.
 */
import { isDirectoryKey } from "../../actors/rules/decide/namespace.ts";
import type { Read, Write, Writes } from "../../actors/rules/decide/state.ts";

/** Beyond it all are forgotten: a plain end to growth, and what is in use is soon back. */
const MOST = 4096;

const entryKey = (parent: number, key: string): string => `${parent} ${key}`;
const sessionKey = (id: number): string => `session ${id}`;
const workerKey = (id: string): string => `worker ${id}`;

/** null: of a kind that is not remembered. */
function keyOf([name, where]: Read): string | null {
  if (name === "session") return sessionKey(where.sessionId);
  if (name === "worker") return workerKey(where.workerId);
  return name === "entry" && isDirectoryKey(where.key) ? entryKey(where.parent, where.key) : null;
}

/** Which rows a write changes, of those that may be remembered. Every write to their tables is named here. */
export const TOUCHES: { [K in keyof Writes]?: (what: Writes[K]) => string[] } = {
  putEntry: ({ parent, key }) => [entryKey(parent, key)],
  moveEntry: ({ parent, key, fromParent, fromKey }) => [entryKey(parent, key), entryKey(fromParent, fromKey)],
  dropEntry: ({ parent, key }) => [entryKey(parent, key)],
  putSession: ({ id }) => [sessionKey(id)],
  touchSession: ({ sessionId }) => [sessionKey(sessionId)],
  dropSession: ({ sessionId }) => [sessionKey(sessionId)],
  putWorker: ({ id }) => [workerKey(id)],
  setLiveness: ({ workerId }) => [workerKey(workerId)],
  setMode: ({ workerId }) => [workerKey(workerId)],
};

export class RememberedRows {
  readonly #rows = new Map<string, unknown[]>();

  /** The rows that `read` finds: remembered, or as `query` has them. They must not be changed. */
  rowsOf(read: Read, query: () => unknown[]): unknown[] {
    const key = keyOf(read);
    if (key === null) return query();
    const known = this.#rows.get(key);
    if (known) return known;
    const rows = query();
    // A row that is missing is asked for once, before it is made.
    if (rows.length > 0) {
      if (this.#rows.size >= MOST) this.#rows.clear();
      this.#rows.set(key, rows);
    }
    return rows;
  }

  written([name, what]: Write): void {
    const touched = TOUCHES[name] as ((what: Write[1]) => string[]) | undefined;
    for (const key of touched?.(what) ?? []) this.#rows.delete(key);
  }

  /** After anything else that changed the tables. */
  forget(): void {
    this.#rows.clear();
  }
}
