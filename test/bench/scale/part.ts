/** What a program of this folder is told, and how it answers. */
import { tmpdir } from "node:os";
import type { Figure } from "../measurement.ts";
import { FULL, QUICK, type Sizes } from "../sizes.ts";

/** Alone, without the bench, it runs in full in the system's temporary folder. */
export function partSizes(): { directory: string; sizes: Sizes } {
  const { DFS_BENCH_DIRECTORY = tmpdir(), DFS_BENCH_QUICK } = Bun.env;
  return { directory: DFS_BENCH_DIRECTORY, sizes: DFS_BENCH_QUICK === "1" ? QUICK : FULL };
}

export function printFigure(figure: Omit<Figure, "place">): void {
  console.log(JSON.stringify(figure));
}

/** @returns null for a line that is no figure */
export function figureIn(line: string): Omit<Figure, "place"> | null {
  if (!line.startsWith("{")) return null;
  try {
    const { id, label, value, unit, note } = JSON.parse(line) as Partial<Figure>;
    if (typeof id !== "string" || typeof label !== "string" || typeof unit !== "string") return null;
    return { id, label, value: typeof value === "number" ? value : null, unit, ...(note ? { note } : {}) };
  } catch {
    return null;
  }
}
