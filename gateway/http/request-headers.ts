/** What a client says about a file in headers: type, standard headers, metadata, length, idempotency key. Pure. */
import { Refusal } from "../../actors/messages/errors.ts";
import {
  CONTENT_HEADER_FIELDS,
  CONTENT_HEADERS,
  type ContentHeaders,
  contentTypeProblem,
  headerTextProblem,
  keptHeaders,
  MAX_VALUE_LENGTH,
  META_PREFIX,
  metadataNameProblem,
  sizeOfHeaders,
} from "../../actors/rules/file-headers.ts";
import type { FileRequest } from "../ports/transfers.ts";

export const invalidHeader = (header: string, text: string): Refusal => new Refusal("INVALID_HEADER", text, { header });

/** Headers that are kept with a file and come back as they were sent. */
export type FileHeaders = Pick<FileRequest, "contentType" | "contentHeaders" | "userMetadata">;

/** @throws INVALID_HEADER, METADATA_TOO_LARGE */
export function readFileHeaders(headers: Headers, maxBytes: number): FileHeaders {
  const contentHeaders: ContentHeaders = {};
  for (const [field, name] of CONTENT_HEADER_FIELDS) {
    const value = headers.get(name);
    if (value) contentHeaders[field] = utf8OfHeader(value, name);
  }
  const userMetadata = new Map<string, string>();
  headers.forEach((value, name) => {
    if (name.startsWith(META_PREFIX)) userMetadata.set(name.slice(META_PREFIX.length), utf8OfHeader(value, name));
  });
  const contentType = headers.get("content-type") ?? undefined;
  return checkFileHeaders({ contentType, contentHeaders, userMetadata }, maxBytes);
}

/** @returns what was given. @throws INVALID_HEADER, METADATA_TOO_LARGE */
export function checkFileHeaders(said: FileHeaders, maxBytes: number): FileHeaders {
  const { contentType, contentHeaders = {}, userMetadata = new Map<string, string>() } = said;
  const typeProblem = contentType === undefined ? null : contentTypeProblem(contentType);
  if (typeProblem) throw invalidHeader("Content-Type", `Content-Type ${typeProblem}`);
  for (const [field, value] of Object.entries(contentHeaders))
    checkValue(CONTENT_HEADERS[field as keyof ContentHeaders], value);
  for (const [name, value] of userMetadata) {
    checkMetadataName(name);
    checkValue(`${META_PREFIX}${name}`, value);
  }
  const bytes = sizeOfHeaders(Object.entries(keptHeaders(contentHeaders, userMetadata)));
  if (bytes > maxBytes)
    throw new Refusal("METADATA_TOO_LARGE", `The metadata has ${bytes} bytes; allowed: ${maxBytes}`, {
      bytes,
      maxBytes,
    });
  return said;
}

/** @throws INVALID_HEADER */
export function checkMetadataName(name: string): void {
  const problem = metadataNameProblem(name);
  if (problem) throw invalidHeader(`${META_PREFIX}${name.slice(0, 40)}`, `The name of the metadatum ${problem}`);
}

/** @throws INVALID_HEADER, METADATA_TOO_LARGE */
export function checkValue(header: string, value: string): void {
  if (value.length > MAX_VALUE_LENGTH)
    throw new Refusal("METADATA_TOO_LARGE", `${header} has ${value.length} characters; allowed: ${MAX_VALUE_LENGTH}`);
  const problem = headerTextProblem(value);
  if (problem) throw invalidHeader(header, `The value of ${header} ${problem}`);
}

/**
 * HTTP hands over header bytes as Latin-1. Clients mean UTF-8, and the gateway sends UTF-8 back. Bytes that are no UTF-8 are
 * refused rather than changed.
 */
function utf8OfHeader(value: string, name: string): string {
  if (/^[\x20-\x7e]*$/.test(value)) return value;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(value, "latin1"));
  } catch {
    throw invalidHeader(name, `The value of ${name} is not UTF-8`);
  }
}

/** @returns undefined for a chunked body */
export function readContentLength(headers: Headers): number | undefined {
  const text = headers.get("content-length");
  if (text === null) return undefined;
  const length = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(length))
    throw invalidHeader("Content-Length", `Content-Length is ${text.slice(0, 40)}; allowed: a whole number`);
  return length;
}

export function readIdempotencyKey(headers: Headers): string | undefined {
  const key = headers.get("idempotency-key") ?? undefined;
  if (key !== undefined && !/^[\x21-\x7e]{1,255}$/.test(key))
    throw invalidHeader("Idempotency-Key", "Idempotency-Key has 1 to 255 visible ASCII characters");
  return key;
}
