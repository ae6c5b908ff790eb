/** What the launcher shows of its nodes' logs. */
import { closeSync, openSync, readSync, statSync } from "node:fs";

const LOG_POLL_MS = 250;

/** As pino writes them. */
export const LogLevel = { warn: 40, error: 50 } as const;

export interface LogFollower {
  /** Shows at once the lines that were written until now. */
  read(): void;
  stop(): void;
}

/** Follows a node's log, and prints in short form the lines whose level `isShown` admits. */
export function followLog(
  node: { id: string; logPath: string; logStart: number },
  isShown: (level: number) => boolean,
): LogFollower {
  let position = node.logStart;
  let rest = "";
  const read = (): void => {
    const size = statSync(node.logPath, { throwIfNoEntry: false })?.size ?? 0;
    if (size <= position) return;
    const bytes = Buffer.alloc(Math.min(size - position, 1 << 20));
    const file = openSync(node.logPath, "r");
    position += readSync(file, bytes, 0, bytes.length, position);
    closeSync(file);
    const lines = (rest + bytes.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const short = shortForm(line, isShown);
      if (short) console.log(`  ${node.id}: ${short}`);
    }
  };
  const timer = setInterval(read, LOG_POLL_MS);
  return {
    read,
    stop() {
      clearInterval(timer);
      read();
    },
  };
}

/** @returns one short line for a line that is shown, or that is not JSON (a crash); null for all others */
function shortForm(line: string, isShown: (level: number) => boolean): string | null {
  if (line.trim() === "") return null;
  try {
    const { level, msg, err, event } = JSON.parse(line) as {
      level: number;
      msg?: string;
      event?: string;
      err?: { message?: string };
    };
    if (!isShown(level)) return null;
    return `${level >= LogLevel.error ? "error" : "warning"}: ${[msg ?? event, err?.message].filter(Boolean).join(": ")}`;
  } catch {
    return line.slice(0, 300);
  }
}
