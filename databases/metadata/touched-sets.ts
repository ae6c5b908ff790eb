/**
 * Which replica sets entries have touched. A leader keeps its verdicts on the sets, and judges anew the ones that it hears
 * of here: whatever may change a set without being named here must tell of all.
 */
import type { Write, Writes } from "../../actors/rules/decide/state.ts";

/** Sets whose workers or whose number of chunks may have changed. */
export type TouchedSets = ReadonlySet<number> | "all";

/**
 * By write, the set that it touches; null: only sets without chunks. Every write to `replica_sets` is named here. An id
 * that was dropped with its empty set can be given to another one; that one is told of with its first chunk.
 */
export const TOUCHES_SET: {
  [K in keyof Writes]?: (what: Writes[K], named: () => number | null) => number | null;
} = {
  growSet: () => null,
  addToSet: (_, named) => named(),
  shrinkSet: ({ setId }) => setId,
  shrinkSetBy: ({ setId }) => setId,
  renameSet: ({ setId }) => setId,
  dropEmptySets: () => null,
};

/** Gathers the sets of one transaction. */
export class SetsOfTransaction {
  #touched = new Set<number>();

  /** @param named finds the set that the write names */
  written([name, what]: Write, named: () => number | null): void {
    const touches = TOUCHES_SET[name] as ((what: Write[1], named: () => number | null) => number | null) | undefined;
    const setId = touches?.(what, named) ?? null;
    if (setId !== null) this.#touched.add(setId);
  }

  take(): ReadonlySet<number> {
    const touched = this.#touched;
    this.#touched = new Set();
    return touched;
  }
}
