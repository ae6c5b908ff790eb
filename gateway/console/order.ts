/** One order for the records of all nodes: by hybrid clock, then by name. A cause always comes before its effect. */
import type { StepRecord } from "./api.ts";

type Placed = Pick<StepRecord, "h" | "n" | "b" | "q">;

export const compareRecords = (a: Placed, b: Placed): number => {
  if (a.h !== b.h) return a.h < b.h ? -1 : 1;
  if (a.n !== b.n) return a.n < b.n ? -1 : 1;
  return a.b - b.b || a.q - b.q;
};

/** A clock reading is 12 hex digits of milliseconds and 4 of a counter; this is the last one of a millisecond. */
export const endOf = (ms: number): string => `${Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0")}ffff`;
export const beginOf = (ms: number): string => `${Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0")}0000`;
export const msOf = (h: string): number => Number.parseInt(h.slice(0, 12), 16);

/** When it was over: counted records end with the last of what they count. */
export const lastMs = ({ t, l }: Pick<StepRecord, "t" | "l">): number => l ?? t;
