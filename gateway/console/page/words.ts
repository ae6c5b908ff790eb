/** Numbers and times as people read them. */
export { clockTime } from "../clock-time.ts";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `1.5 GiB`; whole bytes below 1 KiB. */
export function bytesInWords(bytes: number): string {
  const power = bytes < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? Math.round(value) : value.toFixed(value < 10 ? 1 : 0)} ${UNITS[power]}`;
}

/** `340 ms`, `2.1 s`, `3 min 20 s`, `5 h 2 min` */
export function durationInWords(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (size < 60_000) return `${Math.round(ms / 1000)} s`;
  if (size < 3_600_000) return `${Math.floor(size / 60_000)} min ${Math.round((size % 60_000) / 1000)} s`;
  if (size < 172_800_000) return `${Math.floor(size / 3_600_000)} h ${Math.round((size % 3_600_000) / 60_000)} min`;
  return `${Math.floor(size / 86_400_000)} days`;
}

const pad = (n: number): string => String(n).padStart(2, "0");

/** `today 14:02`, `12 Mar 14:02`, `12 Mar 2025` */
export function dateInWords(iso: string): string {
  const at = new Date(iso);
  const now = new Date();
  const time = `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  if (at.toDateString() === now.toDateString()) return `today ${time}`;
  const day = `${at.getDate()} ${at.toLocaleString("en", { month: "short" })}`;
  return at.getFullYear() === now.getFullYear() ? `${day} ${time}` : `${day} ${at.getFullYear()}`;
}

export const percent = (part: number, whole: number): string =>
  whole === 0 ? "–" : `${Math.floor((part / whole) * 100)} %`;
