/** What a client says about a file in headers: digests, metadata, type, length, idempotency key. Pure; throws refusals. */
import { Refusal } from "../../actors/messages/errors.ts";

const invalid = (header: string, text: string): Refusal => new Refusal("INVALID_HEADER", text, { header });

export interface Digests {
  /** Hex. */
  expectedSha256?: string;
  expectedCrc32?: number;
  wantSha256?: boolean;
}

/** `Repr-Digest` or `Content-Digest` (sha-256), `x-crc32`, `Want-Repr-Digest`. Other algorithms are not checked. */
export function readDigests(headers: Headers): Digests {
  const digests: Digests = {};
  for (const name of ["Repr-Digest", "Content-Digest"]) {
    const header = headers.get(name);
    if (header === null) continue;
    const base64 = /(?:^|[\s,])sha-256=:([A-Za-z0-9+/=]*):/i.exec(header)?.[1];
    if (base64 === undefined) continue;
    const bytes = Buffer.from(base64, "base64");
    if (bytes.length !== 32)
      throw invalid(name, `${name} has ${bytes.length} bytes of sha-256; allowed: 32, as sha-256=:base64:`);
    const hex = bytes.toString("hex");
    if (digests.expectedSha256 !== undefined && digests.expectedSha256 !== hex)
      throw invalid(name, "Repr-Digest and Content-Digest contradict each other");
    digests.expectedSha256 = hex;
  }
  const crc32 = headers.get("x-crc32");
  if (crc32 !== null) digests.expectedCrc32 = parseCrc32(crc32, "x-crc32");
  if (/(?:^|[\s,])sha-256\s*=\s*[1-9]/i.test(headers.get("want-repr-digest") ?? "")) digests.wantSha256 = true;
  return digests;
}

export function parseCrc32(text: string, header: string): number {
  if (!/^[0-9a-f]{8}$/i.test(text)) throw invalid(header, `${header} is ${text.slice(0, 40)}; allowed: 8 hex digits`);
  return Number.parseInt(text, 16);
}

/** @returns e.g. `sha-256=:…base64…:` */
export const reprDigest = (sha256: string): string => `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;

const META_PREFIX = "x-meta-";

/** `x-meta-name: value` headers as `{name: value}`. HTTP gives header bytes as Latin-1; they are meant as UTF-8. */
export function readUserMetadata(headers: Headers, maxBytes: number): Record<string, string> {
  const metadata: Record<string, string> = {};
  headers.forEach((value, key) => {
    if (key.startsWith(META_PREFIX)) metadata[key.slice(META_PREFIX.length)] = utf8OfHeader(value);
  });
  checkUserMetadata(metadata, maxBytes);
  return metadata;
}

/** @throws METADATA_TOO_LARGE, INVALID_HEADER */
export function checkUserMetadata(metadata: Record<string, string>, maxBytes: number): void {
  let bytes = 0;
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/.test(name))
      throw invalid(
        `${META_PREFIX}${name.slice(0, 40)}`,
        "The name of a metadatum has 1 to 128 characters that a header name may have, in lower case",
      );
    if (value.length > 2048)
      throw new Refusal("METADATA_TOO_LARGE", `${META_PREFIX}${name} has ${value.length} characters; allowed: 2048`);
    bytes += name.length + Buffer.byteLength(value);
  }
  if (bytes > maxBytes)
    throw new Refusal("METADATA_TOO_LARGE", `The metadata has ${bytes} bytes; allowed: ${maxBytes}`, {
      bytes,
      maxBytes,
    });
}

/** As response headers, in ASCII: what is not printable ASCII goes out as UTF-8 bytes, as it came in. */
export const metadataHeaders = (metadata: Record<string, string>): [string, string][] =>
  Object.entries(metadata).map(([name, value]) => [`${META_PREFIX}${name}`, Buffer.from(value).toString("latin1")]);

function utf8OfHeader(value: string): string {
  if (/^[\x20-\x7e]*$/.test(value)) return value;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(value, "latin1"));
  } catch {
    return value;
  }
}

export function readContentType(headers: Headers): string | undefined {
  const type = headers.get("content-type") ?? undefined;
  if (type !== undefined && (type.length > 255 || !/^[\x20-\x7e]+\/[\x20-\x7e]+$/.test(type)))
    throw invalid("Content-Type", "Content-Type is not type/subtype of up to 255 characters");
  return type;
}

/** @returns undefined for a chunked body */
export function readContentLength(headers: Headers): number | undefined {
  const text = headers.get("content-length");
  if (text === null) return undefined;
  const length = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(length))
    throw invalid("Content-Length", `Content-Length is ${text.slice(0, 40)}; allowed: a whole number`);
  return length;
}

export function readIdempotencyKey(headers: Headers): string | undefined {
  const key = headers.get("idempotency-key") ?? undefined;
  if (key !== undefined && !/^[\x21-\x7e]{1,255}$/.test(key))
    throw invalid("Idempotency-Key", "Idempotency-Key has 1 to 255 visible ASCII characters");
  return key;
}
