/** What a path may be, and how it falls apart. Checked at the gateway's door and again by `decide`. */
import { Refusal } from "../messages/errors.ts";

const MAX_PATH_BYTES = 4096;
const encoder = new TextEncoder();

/** @returns the path without a leading slash; throws INVALID_PATH */
export function checkPath(path: string): string {
  const problem = pathProblem(path);
  if (problem) throw new Refusal("INVALID_PATH", problem, { path: path.slice(0, 200) });
  return path;
}

/** @returns what is wrong with it, or null */
export function pathProblem(path: string): string | null {
  if (path.length === 0) return "The path is empty";
  if (encoder.encode(path).length > MAX_PATH_BYTES) return `The path has more than ${MAX_PATH_BYTES} bytes of UTF-8`;
  if (path.includes("\0")) return "The path contains NUL";
  if (!path.isWellFormed()) return "The path is not well-formed Unicode";
  for (const segment of path.split("/")) {
    if (segment === "") return "The path has an empty segment";
    if (segment === "." || segment === "..") return `The path has a segment ${segment}`;
  }
  return null;
}

/** Orders paths as their UTF-8 bytes do, which is how SQLite keeps them. JavaScript's own order differs beyond U+FFFF. */
export function comparePaths(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let at = 0; at < shorter; at++) {
    const unitA = a.charCodeAt(at);
    const unitB = b.charCodeAt(at);
    if (unitA !== unitB) return codePointOrder(unitA) - codePointOrder(unitB);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above all other units. */
const codePointOrder = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
