/**
 * The inside of a load generator: a process of its own, told what to do by its one argument, JSON, and answering with
 * one line of JSON. Its own CPU time is counted from when the work begins.
 */
import { randomFillSync } from "node:crypto";

export interface LoadReport<Result> {
  result: Result;
  /** User and system time of the load generator during the work. */
  cpuSeconds: number;
  seconds: number;
}

/** Runs `prepare`, which is not measured, then what it returns. */
export async function runAsLoad<Task, Result>(prepare: (task: Task) => Promise<() => Promise<Result>>): Promise<void> {
  const work = await prepare(JSON.parse(process.argv[2] as string) as Task);
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  const result = await work();
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  const report: LoadReport<Result> = { result, cpuSeconds: (user + system) / 1e6, seconds };
  process.stdout.write(`${JSON.stringify(report)}\n`);
  process.exit(0);
}

export const randomBytes = (count: number): Uint8Array => randomFillSync(new Uint8Array(count));

/** Calls `work` with 0 … count - 1, `concurrency` at a time. @returns what each call took, in ms */
export async function inParallel(
  count: number,
  concurrency: number,
  work: (n: number, lane: number) => Promise<void>,
): Promise<Float64Array> {
  const latenciesMs = new Float64Array(count);
  let next = 0;
  const lane = async (_: unknown, which: number): Promise<void> => {
    while (next < count) {
      const n = next++;
      const began = performance.now();
      await work(n, which);
      latenciesMs[n] = performance.now() - began;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  return latenciesMs;
}

export interface Latency {
  p50Ms: number;
  p99Ms: number;
}

export function latencyOf(samplesMs: Float64Array): Latency {
  const sorted = samplesMs.slice().sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}
