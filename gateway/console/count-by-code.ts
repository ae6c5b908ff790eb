/** Counts refusals under their code. Codes come from recordings too, so any text may be one, and no plain object counts. */
export function countByCode(refusals: Iterable<readonly [code: string, count: number]>): Record<string, number> {
  const counts = new Map<string, number>();
  for (const [code, count] of refusals) counts.set(code, (counts.get(code) ?? 0) + count);
  return Object.fromEntries(counts);
}
