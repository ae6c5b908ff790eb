/**
 * What must hold of the applied state after every write, for the rows that the write touched. Commands of clients are
 * refused by `decide` before they come here, so what breaks one of these is a mistake of this program.
 */

import type { Writes } from "../../actors/rules/decide/state.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";

const totalsAreNotNegative: Invariant = declareInvariant("metadata: totals >= 0");
const idsAreExact: Invariant = declareInvariant("metadata: ids are handed out once, and are exact");
const setsCountChunks: Invariant = declareInvariant("metadata: chunk_count >= 0, of a set that is there");
const setsGrow: Invariant = declareInvariant("metadata: a chunk enters a set that is there");
const chunksAreUsed: Invariant = declareInvariant("metadata: refs >= 1, of a chunk that is there");
export const entriesFollow: Invariant = declareInvariant("metadata: entries are applied one after the other");

/** Writes that change exactly one row as long as this holds. */
export const CHANGES_ONE_ROW: { [K in keyof Writes]?: Invariant } = {
  addTotals: totalsAreNotNegative,
  addTinyBytes: totalsAreNotNegative,
  takeChunkIds: idsAreExact,
  takeNodeIds: idsAreExact,
  shrinkSet: setsCountChunks,
  shrinkSetBy: setsCountChunks,
  addToSet: setsGrow,
  addRef: chunksAreUsed,
};
