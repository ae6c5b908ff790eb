/** What `bun run simulate` needs to know of a kind of life. */

/** What became of one seed. */
export interface Told {
  counts: Record<string, number>;
  failure: { message: string; atMs: number } | null;
  /** Makes a failing life smaller. @returns what is kept of it in `seeds/` */
  shrink(): Promise<object>;
}

export interface Lives {
  /** A thread that lives one seed after the other; `null`: it was not over in time, and the thread is of no more use. */
  thread(): { live(seed: number): Promise<Told | null>; end(): void };
  /** One seed again, step by step. `recording`: for the console; null if none was asked for. */
  replay(seed: number, isRecorded: boolean): Promise<{ steps: string[]; recording: string | null; told: Told }>;
}
