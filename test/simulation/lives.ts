/** Many lives, one seed after the other, on all cores: what `bun run simulate` and the tests of storms share. */
import { availableParallelism } from "node:os";
import type { Evaluations } from "./thread-report.ts";

/** What became of one seed. */
export interface Told {
  counts: Record<string, number>;
  /** It was ended undecided, because it took more steps than anybody wants to wait for. */
  isCutShort: boolean;
  failure: { message: string; atMs: number } | null;
  /** Makes a failing life smaller. @returns what is kept of it in `seeds/` */
  shrink(): Promise<object>;
}

/** Lives one seed after the other; `null`: it was not over in time, and the thread is of no more use. */
export interface Thread {
  live(seed: number): Promise<Told | null>;
  end(): void;
}

/** A kind of life. */
export interface Lives {
  /** @param evaluations to which the thread adds those of its lives */
  thread(evaluations: Evaluations): Thread;
  /** One seed again, step by step. `recording`: for the console; null if none was asked for. */
  replay(seed: number, isRecorded: boolean): Promise<{ steps: string[]; recording: string | null; told: Told }>;
}

export interface Lived {
  lives: number;
  counts: Record<string, number>;
  failures: { seed: number; told: Told; failure: NonNullable<Told["failure"]> }[];
  /** Seeds that were not over in time. */
  givenUp: number[];
  /** How often each invariant was asked in all of them. */
  evaluations: Evaluations;
}

/** @param wantsMore asked before each life, with how many were begun */
export async function liveMany(
  { thread }: Pick<Lives, "thread">,
  {
    from,
    wantsMore,
    note,
    cores = availableParallelism(),
  }: {
    from: number;
    wantsMore: (begun: number) => boolean;
    /** Called as each life ends. */
    note?: (seed: number, told: Told | null) => void;
    cores?: number;
  },
): Promise<Lived> {
  const lived: Lived = { lives: 0, counts: {}, failures: [], givenUp: [], evaluations: {} };
  let begun = 0;
  const onOneCore = async (): Promise<void> => {
    while (wantsMore(begun)) {
      const { live, end } = thread(lived.evaluations);
      try {
        while (wantsMore(begun)) {
          const seed = (from + begun++) >>> 0;
          const told = await live(seed);
          lived.lives++;
          note?.(seed, told);
          if (told === null || told.isCutShort) lived.givenUp.push(seed);
          if (told === null) break;
          const { counts, failure } = told;
          for (const [name, count] of Object.entries(counts)) lived.counts[name] = (lived.counts[name] ?? 0) + count;
          if (failure) lived.failures.push({ seed, told, failure });
        }
      } finally {
        end();
      }
    }
  };
  await Promise.all(Array.from({ length: cores }, onOneCore));
  return lived;
}
