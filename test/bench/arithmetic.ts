/** Sums that several measurements need. */
export const MiB = 1 << 20;
export const GiB = 2 ** 30;

/** @throws on an empty list */
export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[middle - 1] ?? sorted[middle], sorted[middle]] as [number, number];
  if (high === undefined) throw new Error("The median of nothing");
  return sorted.length % 2 === 1 ? high : (low + high) / 2;
}

/** null if any is unknown. */
export const medianIfKnown = (values: (number | null)[]): number | null =>
  values.some((value) => value === null) ? null : median(values as number[]);

/** Millions of bytes per second. */
export const megabytesPerSecond = (bytes: number, seconds: number): number => bytes / seconds / 1e6;

export const perGiB = (amount: number | null, bytes: number): number | null =>
  amount === null ? null : amount / (bytes / GiB);
