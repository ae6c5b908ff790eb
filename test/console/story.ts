/** Records written by hand, as nodes would tell them: `at` is ms from the beginning of the story. */
import type { StepRecord } from "../../gateway/console/api.ts";

export const BEGIN = Date.UTC(2026, 0, 2, 3, 4, 5);

export function story() {
  const counts = new Map<string, number>();
  return (n: string, at: number, fields: Partial<StepRecord> & Pick<StepRecord, "m" | "e" | "v">): StepRecord => {
    const q = (counts.get(n) ?? 0) + 1;
    counts.set(n, q);
    const h = `${(BEGIN + at).toString(16).padStart(12, "0")}${q.toString(16).padStart(4, "0")}`;
    return { n, b: 1, q, h, t: BEGIN + at, a: fields.m, s: n, k: "tr", ...fields };
  };
}
