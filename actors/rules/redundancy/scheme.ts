/**
 * How a chunk outlives its workers. Today there is one kind: whole copies. A coded kind is a case more here, and the
 * compiler names every place that must know it. Pure.
 */

/** Whole copies on this many workers; any one of them is enough to read the chunk. */
export interface Copies {
  kind: "copies";
  count: number;
}

export type Scheme = Copies;

const KNOWN: Copies[] = [];

/** The scheme of `count` whole copies. One object per count, because the rows of a cluster share a few schemes. */
export function copies(count: number): Scheme {
  KNOWN[count] ??= { kind: "copies", count };
  return KNOWN[count];
}

/** How many workers hold a piece of a chunk when nothing is amiss. */
export const piecesOf = ({ count }: Scheme): number => count;
