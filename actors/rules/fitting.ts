/**
 * How many of those that wait go together: as many as fit, from the first on, and one at least.
 *
 * @param mostBytes of all of them
 * @param most how many
 */
export function fitting<T>(
  waiting: readonly T[],
  bytesOf: (one: T) => number,
  mostBytes: number,
  most = Number.POSITIVE_INFINITY,
): number {
  let bytes = 0;
  const beyond = waiting.findIndex((one, n) => {
    bytes += bytesOf(one);
    return n > 0 && (n >= most || bytes > mostBytes);
  });
  return beyond === -1 ? waiting.length : beyond;
}
