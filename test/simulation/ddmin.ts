/** Delta debugging (Zeller and Hildebrandt): a smallest part of a list that still fails, by leaving pieces out. */

/**
 * @param fails tries a part; at most `mostTries` times
 * @returns a part that fails and that no piece can be taken from any more, as far as the tries went
 */
export async function ddmin<T>(
  whole: readonly T[],
  fails: (part: readonly T[]) => Promise<boolean>,
  mostTries = 200,
): Promise<readonly T[]> {
  let smallest = whole;
  let tries = 0;
  for (let pieces = 2; smallest.length > 0 && tries < mostTries; ) {
    const size = Math.ceil(smallest.length / pieces);
    let isSmaller = false;
    for (let from = 0; from < smallest.length && tries < mostTries; from += size) {
      const without = [...smallest.slice(0, from), ...smallest.slice(from + size)];
      tries++;
      if (!(await fails(without))) continue;
      smallest = without;
      isSmaller = true;
      break;
    }
    if (isSmaller) pieces = Math.max(2, pieces - 1);
    else if (size === 1) break;
    else pieces = Math.min(smallest.length, 2 * pieces);
  }
  return smallest;
}
