/**
 * What processes have used, from /proc: CPU time, and the most memory that was resident at once. On systems without
 * /proc everything is null, and the table says n/a.
 */
import { readFileSync, writeFileSync } from "node:fs";

/** The kernel counts CPU time in hundredths of a second, whatever its own tick is. */
const TICKS_PER_SECOND = 100;

function read(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return null;
  }
}

/** @returns user + system seconds over all these processes; null if one cannot be read */
export function cpuSeconds(pids: number[]): number | null {
  let ticks = 0;
  for (const pid of pids) {
    const stat = read(pid, "stat");
    if (stat === null) return null;
    // The name in parentheses may hold anything; fields are counted from behind it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
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
