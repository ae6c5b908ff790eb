/**
 * How far terms leap. Pre-votes keep a master that no majority elects from raising its term, so terms grow by elections that
 * were held, one at a time. A term far beyond the known one was not elected: a mistake or an attack wrote it, and a master that
 * believed it would refuse every leader that there is.
 */

/** A node that knows a term believes the next ones up to here. At an election a second that is twelve days of them. */
export const MOST_TERM_LEAP = 2 ** 20;

/**
 * A history that begins anew (`--restore`, `--reset-term`) begins this far ahead of the terms that it may not know of, so
 * that no master votes twice in one. Half a leap: nodes that knew the last of the old terms still follow.
 */
export const TERMS_AHEAD = 2 ** 19;

export const isWithinReach = (term: number, known: number): boolean => term <= known + MOST_TERM_LEAP;

/**
 * The highest term that is not out of reach of what most masters say that know one: the word of a minority moves no one.
 *
 * @param terms as the masters told them, in any order; 0: knows none
 */
export function highestBelievable(terms: readonly number[]): number {
  const falling = terms.filter((term) => term > 0).sort((a, b) => b - a);
  const most = falling[Math.floor(falling.length / 2)] ?? 0;
  return falling.find((term) => isWithinReach(term, most)) ?? most;
}
