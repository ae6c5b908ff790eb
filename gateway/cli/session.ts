/** What every command shares: the client, the output, and one way to stop. */
import type { DfsClient } from "../client/client.ts";
import { exitCodeOfAll } from "./exit-code.ts";
import type { Output } from "./output.ts";

export interface Session {
  dfs: DfsClient;
  output: Output;
  signal: AbortSignal;
}

/**
 * Does `work` for every item, at most `parallel` at once and in order of the list. A failure is printed at once and does not
 * stop the others; an interruption does.
 *
 * @returns the exit code
 */
export async function forEachItem<T>(
  { output, signal }: Session,
  items: T[],
  parallel: number,
  about: (item: T) => Record<string, string>,
  work: (item: T) => Promise<void>,
): Promise<number> {
  const waiting = items.values();
  const errors: unknown[] = [];
  const lane = async (): Promise<void> => {
    for (const item of waiting) {
      if (signal.aborted) return;
      try {
        await work(item);
      } catch (error) {
        errors.push(error);
        if (!signal.aborted) output.error(error, about(item));
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, lane));
  if (items.length > 1 && errors.length > 0 && !signal.aborted)
    output.note(`${errors.length} of ${items.length} failed; the others are done.`);
  return exitCodeOfAll(errors);
}
