/** `Range` requests: what they ask for of a file of a given size. @see RFC 9110 §14 */
import type { ByteRange } from "../ports/transfers.ts";

/** A request with more ranges than this is refused: each costs a part of its own. */
export const MAX_RANGES = 32;

export type RangeVerdict =
  | { kind: "whole" }
  | { kind: "ranges"; ranges: ByteRange[] }
  | { kind: "unsatisfiable"; reason: string };

/**
 * Says which bytes to send. Units other than `bytes` are ignored, as the RFC wants; a `bytes` range that makes no sense
 * is refused, because sending everything instead would surprise more. Overlapping ranges are joined, so that no
 * answer is longer than the file. The order of the ranges reads no block twice.
 */
export function decideRanges(header: string | null, sizeBytes: number, blockSizeBytes: number): RangeVerdict {
  if (header === null) return { kind: "whole" };
  const specifier = /^\s*bytes\s*=(.*)$/i.exec(header)?.[1];
  if (specifier === undefined) return { kind: "whole" };
  const parts = specifier
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  if (parts.length === 0) return { kind: "unsatisfiable", reason: "The Range header names no range" };
  if (parts.length > MAX_RANGES)
    return { kind: "unsatisfiable", reason: `${parts.length} ranges; allowed: at most ${MAX_RANGES}` };
  const ranges: ByteRange[] = [];
  for (const part of parts) {
    const [, first, last] = /^(\d*)-(\d*)$/.exec(part) ?? [];
    if (first === undefined || last === undefined || (first === "" && last === ""))
      return { kind: "unsatisfiable", reason: `"${part.slice(0, 50)}" is not a range; allowed: 0-99, 100- or -50` };
    if (first !== "" && last !== "" && Number(last) < Number(first))
      return { kind: "unsatisfiable", reason: `The range ${part} ends before it starts` };
    const start = first === "" ? Math.max(0, sizeBytes - Number(last)) : Number(first);
    const endExclusive = first === "" || last === "" ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
    if (start < endExclusive) ranges.push({ start, endExclusive });
  }
  if (ranges.length === 0)
    return { kind: "unsatisfiable", reason: `No range lies within the file's ${sizeBytes} bytes` };
  return { kind: "ranges", ranges: arranged(ranges, blockSizeBytes) };
}

/** Joins ranges that overlap. The order is the one asked for, or rising if ranges overlap or share a block. */
function arranged(ranges: ByteRange[], blockSizeBytes: number): ByteRange[] {
  const rising = ranges.toSorted((a, b) => a.start - b.start);
  const joined: ByteRange[] = [];
  let sharesBlock = false;
  for (const range of rising) {
    const last = joined.at(-1);
    if (last && range.start < last.endExclusive) last.endExclusive = Math.max(last.endExclusive, range.endExclusive);
    else {
      const lastBlock = last ? Math.floor((last.endExclusive - 1) / blockSizeBytes) : -1;
      sharesBlock ||= lastBlock === Math.floor(range.start / blockSizeBytes);
      joined.push({ ...range });
    }
  }
  return sharesBlock || joined.length < ranges.length ? joined : ranges;
}

/** @returns e.g. `bytes 0-99/1000` */
export const contentRange = ({ start, endExclusive }: ByteRange, sizeBytes: number): string =>
  `bytes ${start}-${endExclusive - 1}/${sizeBytes}`;
