/**
 * What processes have used, from /proc: CPU time, and the most memory that was resident at once. On systems without
 * /proc everything is null, and the table says n/a.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

/** The kernel counts CPU time in hundredths of a second, whatever its own tick is. */
const TICKS_PER_SECOND = 100;
/** As JavaScriptCore names them. */
const COMPILER = /^JITWorker/;

function read(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return null;
  }
}

/** What one process had spent at one moment, counted twice: coarsely and whole, finely and thread by thread. */
export interface CpuReading {
  /** User + system, threads that have ended included, in steps of 10 ms each. */
  seconds: number;
  /** By thread that lives, in nanoseconds; empty where the kernel does not tell. */
  threads: Map<string, number>;
  /** Nanoseconds that the first thread waited for a processor while it wanted one. */
  waited: number;
  /** Nanoseconds of the threads that compile JavaScript: much when a process is young, little when it is warm. */
  compiling: number;
}

/** Two counters, each cut to its step at both readings. */
const COARSE_ERROR_SECONDS = 4 / TICKS_PER_SECOND;

/** @returns null if the process is gone, or the system does not tell */
export function readCpu(pid: number): CpuReading | null {
  const stat = read(pid, "stat");
  if (stat === null) return null;
  // The name in parentheses may hold anything; fields are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const threads = new Map<string, number>();
  let waited = 0;
  let compiling = 0;
  for (const thread of threadsOf(pid)) {
    const [ran, wait] = read(pid, `task/${thread}/schedstat`)?.split(" ") ?? [];
    if (ran) threads.set(thread, Number(ran));
    if (thread === String(pid)) waited = Number(wait ?? 0);
    else if (ran && COMPILER.test(read(pid, `task/${thread}/comm`) ?? "")) compiling += Number(ran);
  }
  return { seconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND, threads, waited, compiling };
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}

/** The sum over the threads, or the coarse count if a thread ended between the readings and took its share along. */
export function cpuBetween(before: CpuReading, after: CpuReading): number {
  const coarse = after.seconds - before.seconds;
  if (before.threads.size === 0 || after.threads.size === 0) return coarse;
  let nanoseconds = 0;
  for (const [thread, now] of after.threads) nanoseconds += now - (before.threads.get(thread) ?? 0);
  const fine = nanoseconds / 1e9;
  return Math.abs(fine - coarse) <= COARSE_ERROR_SECONDS ? fine : coarse;
}

/** Seconds that the first thread ran, which is the one with the JavaScript; all threads where the kernel does not tell. */
export function firstThreadBetween(pid: number, before: CpuReading, after: CpuReading): number {
  const [from, to] = [before.threads.get(String(pid)), after.threads.get(String(pid))];
  return from === undefined || to === undefined ? cpuBetween(before, after) : (to - from) / 1e9;
}

/** Seconds in which the first thread had something to do: it ran, or waited for a processor. */
export const wantedBetween = (pid: number, before: CpuReading, after: CpuReading): number =>
  firstThreadBetween(pid, before, after) + (after.waited - before.waited) / 1e9;

/** Of memory that processes share each has its part. @returns null if the system does not tell */
export function proportionalBytes(pid: number): number | null {
  const kibibytes = /^Pss:\s+(\d+) kB/m.exec(read(pid, "smaps_rollup") ?? "")?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}

/** @returns the process's peak of resident bytes since it started or since `forgetPeak` */
export function peakResidentBytes(pid: number): number | null {
  const kibibytes = /^VmHWM:\s+(\d+) kB/m.exec(read(pid, "status") ?? "")?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1024;
}

/** Starts the peak anew at what is resident now. @returns false if the system does not offer that */
export function forgetPeak(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
    return true;
  } catch {
    return false;
  }
}
