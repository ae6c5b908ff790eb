/** Conditional requests. Reads are decided here; conditions of writes are only translated, and `decide` judges them. @see RFC 9110 §13 */
import { Refusal } from "../../actors/messages/errors.ts";
import type { WriteCondition } from "../../actors/messages/primitives.ts";
import type { FileInfo } from "../ports/namespace.ts";

export interface EntityTag {
  tag: string;
  weak: boolean;
}

const MAX_TAGS = 16;

/** @returns "*" or the list, whose empty elements are ignored as the RFC wants (§5.6.1.2); throws INVALID_HEADER */
export function parseEntityTags(header: string, name: string): "*" | EntityTag[] {
  const text = header.trim();
  if (text === "*") return "*";
  const tags: EntityTag[] = [];
  const pattern = /[\s,]*(W\/)?"([\x21\x23-\x7e\x80-\uffff]{0,128})"\s*(?:,[\s,]*|$)/y;
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text);
    if (!match) break;
    tags.push({ tag: match[2] as string, weak: match[1] !== undefined });
    if (pattern.lastIndex === text.length) {
      if (tags.length > MAX_TAGS)
        throw new Refusal("INVALID_HEADER", `${name} has ${tags.length} tags; allowed: at most ${MAX_TAGS}`, {
          header: name,
        });
      return tags;
    }
  }
  throw new Refusal("INVALID_HEADER", `${name} is ${text.slice(0, 100)}; allowed: * or "tag", "tag"`, { header: name });
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const TIME = "(?<hour>\\d\\d):(?<minute>\\d\\d):(?<second>\\d\\d)";
const MONTH = `(?<month>${MONTHS.join("|")})`;
/** The format that is sent today, and the two older ones that a recipient must still take (RFC 9110 §5.6.7). */
const DATE_FORMATS = [
  `\\w{3}, (?<day>\\d\\d) ${MONTH} (?<year>\\d{4}) ${TIME} GMT`,
  `\\w{6,9}, (?<day>\\d\\d)-${MONTH}-(?<year>\\d\\d) ${TIME} GMT`,
  `\\w{3} ${MONTH} (?<day>[ \\d]\\d) ${TIME} (?<year>\\d{4})`,
].map((format) => new RegExp(`^${format}$`));

/** HTTP dates have seconds; one that cannot be read counts as not sent, as the RFC wants. @returns ms since the epoch */
export function parseHttpDate(header: string | null, now = Date.now()): number | null {
  const parts = DATE_FORMATS.map((format) => format.exec(header?.trim() ?? "")?.groups).find((groups) => groups);
  if (!parts) return null;
  const { year = "", month = "", day, hour, minute, second } = parts;
  // A year of two digits is at most 50 years ahead, says the RFC.
  const ahead = new Date(now).getUTCFullYear() + 50;
  const fullYear = year.length === 4 ? Number(year) : ahead - ((ahead - Number(year)) % 100);
  const date = new Date(0);
  date.setUTCFullYear(fullYear, MONTHS.indexOf(month), Number(day));
  date.setUTCHours(Number(hour), Number(minute), Number(second));
  const isReal = date.getUTCDate() === Number(day) && Number(hour) < 24 && Number(minute) < 60 && Number(second) <= 60;
  return isReal ? date.getTime() : null;
}

const toSeconds = (ms: number): number => Math.floor(ms / 1000) * 1000;
export const httpDate = (ms: number): string => new Date(ms).toUTCString();

/** What a GET or HEAD with these headers gets of this version of the file. */
export function decideRead(
  headers: Headers,
  file: Pick<FileInfo, "etag" | "modifiedAt">,
): "send" | "notModified" | "preconditionFailed" {
  const ifMatch = headers.get("if-match");
  const modified = toSeconds(file.modifiedAt);
  if (ifMatch !== null) {
    const tags = parseEntityTags(ifMatch, "If-Match");
    if (tags !== "*" && !tags.some(({ tag, weak }) => !weak && tag === file.etag)) return "preconditionFailed";
  } else {
    const unmodifiedSince = parseHttpDate(headers.get("if-unmodified-since"));
    if (unmodifiedSince !== null && modified > unmodifiedSince) return "preconditionFailed";
  }
  const ifNoneMatch = headers.get("if-none-match");
  if (ifNoneMatch !== null) {
    const tags = parseEntityTags(ifNoneMatch, "If-None-Match");
    return tags === "*" || tags.some(({ tag }) => tag === file.etag) ? "notModified" : "send";
  }
  const modifiedSince = parseHttpDate(headers.get("if-modified-since"));
  return modifiedSince !== null && modified <= modifiedSince ? "notModified" : "send";
}

/** Whether a `Range` still means this version: without `If-Range` always, else only if tag or date fit exactly. */
export function rangeApplies(ifRange: string | null, file: Pick<FileInfo, "etag" | "modifiedAt">): boolean {
  if (ifRange === null) return true;
  if (ifRange.includes('"')) return ifRange.trim() === `"${file.etag}"`;
  return parseHttpDate(ifRange) === toSeconds(file.modifiedAt);
}

/**
 * The precondition of a write. `If-Match: *` and `If-Unmodified-Since` need to know what is there now: they become a
 * condition on exactly the version that is seen.
 *
 * @throws PRECONDITION_FAILED if it cannot come true; INVALID_HEADER
 */
export async function writeCondition(
  headers: Headers,
  current: () => Promise<{ etag: string; modifiedAt: number } | null>,
): Promise<WriteCondition | undefined> {
  const condition: WriteCondition = {};
  const ifNoneMatch = headers.get("if-none-match");
  if (ifNoneMatch !== null) {
    if (parseEntityTags(ifNoneMatch, "If-None-Match") !== "*")
      throw new Refusal("INVALID_HEADER", "If-None-Match on a write; allowed: *", { header: "If-None-Match" });
    condition.ifNoneMatchAny = true;
  }
  const ifMatch = headers.get("if-match");
  const unmodifiedSince = parseHttpDate(headers.get("if-unmodified-since"));
  const tags = ifMatch === null ? null : parseEntityTags(ifMatch, "If-Match");
  if (Array.isArray(tags)) {
    // A directory has no tag, so no tag matches it.
    condition.ifMatch = tags.filter(({ tag, weak }) => !weak && tag !== "").map(({ tag }) => tag);
    if (condition.ifMatch.length === 0)
      throw new Refusal("PRECONDITION_FAILED", "If-Match compares strongly; weak and empty tags never match");
  } else if (tags === "*" || unmodifiedSince !== null) {
    const file = await current();
    if (file === null) throw new Refusal("PRECONDITION_FAILED", "There is no such file to match");
    if (tags === null && unmodifiedSince !== null && toSeconds(file.modifiedAt) > unmodifiedSince)
      throw new Refusal("PRECONDITION_FAILED", `The file was modified at ${httpDate(file.modifiedAt)}`);
    condition.ifMatch = [file.etag];
  }
  return Object.keys(condition).length > 0 ? condition : undefined;
}

/** For changes that are made on no condition: one that would be ignored is refused. @throws INVALID_HEADER */
export function refuseConditions(headers: Headers, instead: string): void {
  for (const header of ["If-Match", "If-None-Match", "If-Unmodified-Since"])
    if (headers.has(header))
      throw new Refusal("INVALID_HEADER", `${header} has no meaning here; ${instead}`, { header });
}
