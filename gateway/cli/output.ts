/** Everything that is printed: for people on a terminal, or as JSON for programs. Results on stdout, the rest on stderr. */
import { writeSync } from "node:fs";
import { worldRefusal } from "../../actors/node/lifecycle.ts";
import { DfsError } from "../client/client.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `1.5 GiB`; whole bytes below 1 KiB. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${UNITS[power]}`;
}

export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "unknown";
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

export { counted } from "../client/verdict.ts";

/** Clients choose the names: characters that would steer the terminal are shown as their code. */
export const printable = (text: string): string =>
  text.replace(/\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);

/** Columns as wide as their widest cell; `right` marks those of numbers. */
export function table(head: string[], rows: string[][], right: number[] = []): string {
  const lines = [head, ...rows].map((row) => row.map(printable));
  const widths = head.map((_, n) => Math.max(...lines.map((row) => Bun.stringWidth(row[n] ?? ""))));
  const cell = (text: string, n: number): string => {
    const padding = " ".repeat((widths[n] as number) - Bun.stringWidth(text));
    return right.includes(n) ? padding + text : text + padding;
  };
  return lines.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

export interface OutputOptions {
  json?: boolean;
  quiet?: boolean;
}

/** stdout that is a closed pipe (`dfs ls | head`) is a reader who has seen enough. */
function print(line: string): void {
  const bytes = Buffer.from(`${line}\n`);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === "EPIPE") process.exit(0);
      if (code !== "EAGAIN") throw cause;
    }
  }
}

export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  constructor({ json = false, quiet = false }: OutputOptions) {
    this.json = json;
    this.quiet = quiet;
  }

  /** A result: its text for people, or its JSON on one line. */
  result(value: unknown, text: () => string): void {
    if (this.json) print(JSON.stringify(value));
    else print(text());
  }

  /** What was done, of interest to people who did not ask for quiet. */
  note(text: string): void {
    if (!this.json && !this.quiet) process.stderr.write(`${text}\n`);
  }

  /** A result of a change: JSON for programs, a note for people. */
  done(value: unknown, text: () => string): void {
    if (this.json) print(JSON.stringify(value));
    else this.note(text());
  }

  error(error: unknown, about?: Record<string, string>): void {
    const { code, message, next, details } =
      error instanceof DfsError
        ? error
        : {
            code: "FAILED",
            message: (worldRefusal(error) ?? (error as Error)).message,
            next: "",
            details: undefined,
          };
    if (this.json) print(JSON.stringify({ ...about, error: { code, message, next, details } }));
    else process.stderr.write(`${printable(message)}\n${next ? `  ${printable(next)}\n` : ""}`);
  }
}
