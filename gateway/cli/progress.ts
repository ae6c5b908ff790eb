/** One bar for a whole command: bytes, rate, time left. Only on a terminal; elsewhere it is silence. */
import { SingleBar } from "cli-progress";
import { formatBytes, formatDuration, printable } from "./output.ts";

export interface Progress {
  /** A file's bytes so far; counts are kept per name, so a restart of one file is not counted twice. */
  at(name: string, bytes: number): void;
  fileDone(name: string, bytes: number): void;
  stop(): void;
}

const RATE_WINDOW_MS = 5000;

export function startProgress(options: {
  isShown: boolean;
  label: string;
  files: number;
  /** null: not known, as for a pipe. */
  totalBytes: number | null;
}): Progress {
  const { isShown, label, files, totalBytes } = options;
  if (!isShown) return { at: () => undefined, fileDone: () => undefined, stop: () => undefined };

  const bytesOf = new Map<string, number>();
  let sum = 0;
  let firstSum: number | null = null;
  let done = 0;
  const samples: { atMs: number; bytes: number }[] = [];

  const bar = new SingleBar({
    stream: process.stderr,
    fps: 8,
    hideCursor: true,
    clearOnComplete: true,
    etaBuffer: 1,
    format: (_options, params) => {
      const now = performance.now();
      samples.push({ atMs: now, bytes: sum });
      while (samples.length > 2 && now - (samples[0]?.atMs ?? now) > RATE_WINDOW_MS) samples.shift();
      const first = samples[0] ?? { atMs: now, bytes: sum };
      const rate = now > first.atMs ? Math.max(0, ((sum - first.bytes) / (now - first.atMs)) * 1000) : 0;
      const of = totalBytes === null ? "" : ` of ${formatBytes(totalBytes)}`;
      const left = totalBytes === null || rate === 0 ? "" : `, ${formatDuration((totalBytes - sum) / rate)} left`;
      const cells = 24;
      const full = Math.round(cells * (totalBytes ? Math.min(1, sum / totalBytes) : params.progress));
      const shape = totalBytes === null ? "" : `${"█".repeat(full)}${"░".repeat(cells - full)} `;
      return `${label} ${shape}${formatBytes(sum)}${of}, ${formatBytes(rate)}/s${left}${files > 1 ? `  (${done} of ${files} files)` : ""}`;
    },
  });
  bar.start(Math.max(1, totalBytes ?? 1), 0);
  const at = (name: string, bytes: number): void => {
    sum += bytes - (bytesOf.get(name) ?? 0);
    bytesOf.set(name, bytes);
    if (firstSum === null) {
      // What an earlier run has sent is no rate of this one.
      firstSum = sum;
      samples.push({ atMs: performance.now(), bytes: sum });
    }
    bar.update(sum);
  };
  return {
    at,
    fileDone(name, bytes) {
      at(name, bytes);
      done++;
    },
    stop: () => bar.stop(),
  };
}

export const shortName = (text: string): string => {
  const plain = printable(text);
  return plain.length <= 32 ? plain : `…${plain.slice(-31)}`;
};
