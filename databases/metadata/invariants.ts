/**
 * What must hold of the applied state after every write, for the rows that the write touched. Commands of clients are
 * refused by `decide` before they come here, so what breaks one of these is a mistake of this program.
 */

import type { Writes } from "../../actors/rules/decide/state.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";

type Row = Readonly<Record<string, number>>;

const totalsAreNotNegative: Invariant = declareInvariant("metadata: totals >= 0");
const idsAreExact: Invariant = declareInvariant("metadata: ids are handed out once, and are exact");
const setsCountChunks: Invariant = declareInvariant("metadata: chunk_count >= 0, of a set that is there");
const setsGrow: Invariant = declareInvariant("metadata: a chunk enters a set that is there");
const chunksAreUsed: Invariant = declareInvariant("metadata: refs >= 1, of a chunk that is there");
export const entriesFollow: Invariant = declareInvariant("metadata: entries are applied one after the other");

const NO_ROW = { row: null };

/** By write, what its `RETURNING` must show; undefined: the write found no row. */
export const AFTER_WRITE: { [K in keyof Writes]?: (row: Row | undefined) => void } = {
  addTotals: (row) => {
    const { files = -1, directories = -1, bytes = -1 } = row ?? {};
    totalsAreNotNegative.check(files >= 0 && directories >= 0 && bytes >= 0, row);
  },
  addTinyBytes: (row) => totalsAreNotNegative.check((row?.tiny_bytes ?? -1) >= 0, row),
  takeChunkIds: (row) => idsAreExact.check(isId(row?.next_chunk_id), row),
  takeNodeIds: (row) => idsAreExact.check(isId(row?.next_node_id), row),
  shrinkSet: (row) => setsCountChunks.check((row?.chunk_count ?? -1) >= 0, row ?? NO_ROW),
  shrinkSetBy: (row) => setsCountChunks.check((row?.chunk_count ?? -1) >= 0, row ?? NO_ROW),
  addToSet: (row) => setsGrow.check((row?.chunk_count ?? 0) >= 1, row ?? NO_ROW),
  addRef: (row) => chunksAreUsed.check((row?.refs ?? 0) >= 1, row ?? NO_ROW),
};

const isId = (id: number | undefined): boolean => id !== undefined && Number.isSafeInteger(id) && id > 1;
