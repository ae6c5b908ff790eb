/**
 * What a client says about a file and gets back in headers: which names and values may be, and how an entry keeps them.
 *
 * An entry keeps them in one map. A name in lower case is the client's own metadata (`x-meta-…`). A capital letter, which
 * no such name may have, marks what HTTP itself defines. A master or gateway of an older program keeps that map, copies
 * and moves it without knowing of the standard headers, so they need no newer command and no newer table.
 */

/** Standard headers that come back as they were sent: by their name in JSON, the name that the entry keeps. */
export const CONTENT_HEADERS = {
  cacheControl: "Cache-Control",
  contentDisposition: "Content-Disposition",
  contentEncoding: "Content-Encoding",
  contentLanguage: "Content-Language",
  expires: "Expires",
} as const;
export type ContentHeaders = Partial<Record<keyof typeof CONTENT_HEADERS, string>>;

export const CONTENT_HEADER_FIELDS = Object.entries(CONTENT_HEADERS) as [keyof ContentHeaders, string][];
const KEPT_NAMES = new Set<string>(Object.values(CONTENT_HEADERS));

export const META_PREFIX = "x-meta-";
/** Of one value, in UTF-16 units. */
export const MAX_VALUE_LENGTH = 2048;
/** Of all names and values of one file, whatever config.json allows. */
const MAX_BYTES = 65_536;
/** msgpack of older programs renames a key `__proto__`. Header names have no case, so this one is the same header. */
const PROTO = ["__proto__", "__PROTO__"] as const;

const encoder = new TextEncoder();
const byteLength = (text: string): number => encoder.encode(text).length;

/** @returns why this text cannot travel as a header's value and come back the same, or null */
export function headerTextProblem(text: string): string | null {
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(text)) return "has a control character";
  if (/^[ \t]|[ \t]$/.test(text)) return "begins or ends with a space";
  return text.isWellFormed() ? null : "is not well-formed Unicode";
}

/** @returns what is wrong with a media type, or null */
export const contentTypeProblem = (type: string): string | null =>
  type.length <= 255 && /^[!-~][ -~]*\/[ -~]*[!-~]$/.test(type)
    ? null
    : "is not type/subtype in printable ASCII of up to 255 characters";

/** @returns what is wrong with the name of a metadatum, or null */
export const metadataNameProblem = (name: string): string | null =>
  /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/.test(name)
    ? null
    : "is not 1 to 128 characters that a header name may have, in lower case";

/** The map that the entry keeps. */
export function keptHeaders(
  headers: ContentHeaders = {},
  metadata: Iterable<readonly [name: string, value: string]> = [],
): Record<string, string> {
  const [plain, kept] = PROTO;
  return Object.fromEntries([
    ...CONTENT_HEADER_FIELDS.flatMap(([field, name]) => (headers[field] === undefined ? [] : [[name, headers[field]]])),
    ...Array.from(metadata, ([name, value]) => [name === plain ? kept : name, value]),
  ]);
}

/** What the map says: the reverse of `keptHeaders`. Client's names stay keys of a Map: an object has names of its own. */
export function saidHeaders(kept: Record<string, string>): { headers: ContentHeaders; metadata: Map<string, string> } {
  const [plain, renamed] = PROTO;
  const all = new Map(Object.entries(kept));
  const headers: ContentHeaders = {};
  if (all.size === 0) return { headers, metadata: all };
  for (const [field, name] of CONTENT_HEADER_FIELDS) {
    const value = all.get(name);
    if (value !== undefined && all.delete(name)) headers[field] = value;
  }
  return {
    headers,
    metadata: new Map([...all].map(([name, value]) => [name === renamed ? plain : name, value])),
  };
}

export const sizeOfHeaders = (kept: Iterable<readonly [name: string, value: string]>): number =>
  Array.from(kept, ([name, value]) => name.length + byteLength(value)).reduce((sum, bytes) => sum + bytes, 0);

/** @returns why an entry may not keep this, in a sentence, or null: the last gate before it is there for good */
export function keptHeadersProblem(contentType: string, kept: Record<string, string>): string | null {
  const problem = contentTypeProblem(contentType);
  if (problem) return `The content type ${problem}`;
  for (const [name, value] of Object.entries(kept)) {
    const isStandard = KEPT_NAMES.has(name) || name === PROTO[1];
    const nameProblem = isStandard ? null : metadataNameProblem(name);
    if (nameProblem) return `The name of the metadatum ${JSON.stringify(name.slice(0, 40))} ${nameProblem}`;
    const valueProblem = value.length > MAX_VALUE_LENGTH ? "is too long" : headerTextProblem(value);
    if (valueProblem) return `The value of ${name} ${valueProblem}`;
  }
  return sizeOfHeaders(Object.entries(kept)) > MAX_BYTES ? `The metadata has more than ${MAX_BYTES} bytes` : null;
}

const percent = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;

/**
 * Text as a header's value, one character per byte of its UTF-8, as HTTP libraries want it. Never throws: what was kept
 * before it was checked, such as a line break, goes out percent-encoded.
 */
export const headerValue = (text: string): string =>
  /^[ -~]*$/.test(text)
    ? text
    : Array.from(encoder.encode(text), (byte) =>
        (byte < 0x20 && byte !== 0x09) || byte === 0x7f ? percent(byte) : String.fromCharCode(byte),
      ).join("");

/** A name as part of a header's name: bytes that none may have are percent-encoded. */
export const headerName = (text: string): string =>
  Array.from(encoder.encode(text), (byte) => {
    const character = String.fromCharCode(byte);
    return /[A-Za-z0-9!#$%&'*+.^_`|~-]/.test(character) ? character : percent(byte);
  }).join("");
