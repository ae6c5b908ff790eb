/**
 * The rows that nearly every command and question passes: the directories on the way to a name, and the session that a
 * command belongs to. Kept as they were read, until a write touches them.
 */
import type { Read, Write, Writes } from "../../actors/rules/decide/state.ts";

/** Beyond it all are forgotten: a plain end to growth, and what is in use is soon back. */
const MOST = 4096;

const entryKey = (parent: unknown, key: unknown): string => `${parent} ${key}`;
const isDirectory = (key: unknown): boolean => (key as string).endsWith("/");
const sessionKey = (id: unknown): string => `session ${id}`;

/** Which rows a write changes, of those that may be remembered. Every write to their tables is named here. */
export const TOUCHES: { [K in keyof Writes]?: (params: Writes[K]) => string[] } = {
  putEntry: ([parent, key]) => [entryKey(parent, key)],
  moveEntry: ([parent, key, oldParent, oldKey]) => [entryKey(parent, key), entryKey(oldParent, oldKey)],
  dropEntry: ([parent, key]) => [entryKey(parent, key)],
  putSession: ([id]) => [sessionKey(id)],
  touchSession: ([, , id]) => [sessionKey(id)],
  dropSession: ([id]) => [sessionKey(id)],
};

export class RememberedRows {
  readonly #rows = new Map<string, unknown[]>();

  /** The rows that `read` finds: remembered, or as `query` has them. They must not be changed. */
  rowsOf(read: Read, query: () => unknown[]): unknown[] {
    const [name, ...params] = read;
    const key =
      name === "session"
        ? sessionKey(params[0])
        : name === "entry" && isDirectory(params[1])
          ? entryKey(params[0], params[1])
          : null;
    if (key === null) return query();
    const known = this.#rows.get(key);
    if (known) return known;
    const rows = query();
    // What is not there yet is asked for once, before it is made.
    if (rows.length > 0) {
      if (this.#rows.size >= MOST) this.#rows.clear();
      this.#rows.set(key, rows);
    }
    return rows;
  }

  written([name, ...params]: Write): void {
    const touched = TOUCHES[name] as ((params: readonly unknown[]) => string[]) | undefined;
    for (const key of touched?.(params) ?? []) this.#rows.delete(key);
  }

  /** After anything else that changed the tables. */
  forget(): void {
    this.#rows.clear();
  }
}
