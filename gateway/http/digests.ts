/**
 * Digests that a client sends with its bytes. Every digest of a known algorithm is verified. A field without any known
 * algorithm is refused: the client would take success for a check that was never made.
 *
 * @see RFC 9530 (Content-Digest, Repr-Digest), RFC 3230 (Digest), RFC 1864 (Content-MD5)
 */
import { Refusal } from "../../actors/messages/errors.ts";
import type { HashName, PutRequest } from "../ports/transfers.ts";
import { invalidHeader } from "./request-headers.ts";

export type Digests = Pick<PutRequest, "expectedHashes" | "expectedCrc32" | "wantSha256">;

interface Algorithm {
  hash: HashName;
  bytes: number;
}
/** By the name that digest fields give them. */
const ALGORITHMS = new Map<string, Algorithm>([
  ["sha-256", { hash: "sha256", bytes: 32 }],
  ["sha-512", { hash: "sha512", bytes: 64 }],
  ["md5", { hash: "md5", bytes: 16 }],
  ["sha", { hash: "sha1", bytes: 20 }],
]);
const KNOWN = [...ALGORITHMS.keys()].join(", ");

/** Members of each field, as `[algorithm, base64]`. */
const FIELDS = {
  "Repr-Digest": /^([a-z*][a-z0-9_.*-]*)=:([a-z0-9+/=]*):(?:;.*)?$/i,
  "Content-Digest": /^([a-z*][a-z0-9_.*-]*)=:([a-z0-9+/=]*):(?:;.*)?$/i,
  Digest: /^([a-z0-9-]+)=(\S+)$/i,
} as const;
const CRC32_HEADER = "x-crc32";
export const DIGEST_HEADERS = [...Object.keys(FIELDS), "Content-MD5", CRC32_HEADER] as const;

/** What the headers of a request say of its bytes. @throws INVALID_HEADER */
export function readDigests(headers: Headers): Digests {
  const hashes = new Map<HashName, string>();
  const expect = (header: string, { hash, bytes }: Algorithm, base64: string): void => {
    const digest = Buffer.from(base64, "base64");
    if (digest.length !== bytes || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64))
      throw invalidHeader(header, `${header}: ${base64.slice(0, 100)} is not ${bytes} bytes of ${hash} in base64`);
    const hex = digest.toString("hex");
    if ((hashes.get(hash) ?? hex) !== hex)
      throw invalidHeader(header, `The request has two different digests of ${hash}`);
    hashes.set(hash, hex);
  };
  for (const [header, member] of Object.entries(FIELDS)) {
    const field = headers.get(header);
    if (field !== null)
      for (const [algorithm, base64] of membersOf(field, header, member)) expect(header, algorithm, base64);
  }
  const md5 = headers.get("content-md5");
  if (md5 !== null) expect("Content-MD5", ALGORITHMS.get("md5") as Algorithm, md5.trim());
  const crc32 = headers.get(CRC32_HEADER);
  return {
    ...(hashes.size > 0 ? { expectedHashes: hashes } : {}),
    ...(crc32 === null ? {} : { expectedCrc32: parseCrc32(crc32, CRC32_HEADER) }),
    ...(wantsSha256(headers.get("want-repr-digest")) ? { wantSha256: true } : {}),
  };
}

function membersOf(field: string, header: string, member: RegExp): [Algorithm, string][] {
  const members = field.split(",").map((text) => {
    const [, name, base64] = member.exec(text.trim()) ?? [];
    if (name === undefined || base64 === undefined)
      throw invalidHeader(header, `${header} is ${field.slice(0, 100)}, which is no list of digests`);
    return { algorithm: ALGORITHMS.get(name.toLowerCase()), base64 };
  });
  const known = members.flatMap(({ algorithm, base64 }): [Algorithm, string][] =>
    algorithm ? [[algorithm, base64]] : [],
  );
  if (known.length === 0)
    throw invalidHeader(
      header,
      `${header} is ${field.slice(0, 100)}; of its algorithms none can be checked. Known: ${KNOWN}`,
    );
  return known;
}

/** A wish that cannot be met or read is ignored, as RFC 9530 §4 wants. Only SHA-256 is kept. */
function wantsSha256(field: string | null): boolean {
  const wishes = (field ?? "").split(",").map((text) => /^([a-z0-9-]+)=(10|[0-9])$/.exec(text.trim().toLowerCase()));
  return !wishes.includes(null) && wishes.some((wish) => wish?.[1] === "sha-256" && wish[2] !== "0");
}

/** @throws INVALID_HEADER if digests are sent where none is verified */
export function refuseDigests(headers: Headers, hint: string): void {
  for (const header of DIGEST_HEADERS)
    if (headers.has(header)) throw invalidHeader(header, `${header} is not verified on this request. ${hint}`);
}

/** Verifies the digests that came with a body that is held whole. @throws INVALID_HEADER, DIGEST_MISMATCH */
export function verifyDigests(headers: Headers, body: Uint8Array): void {
  const { expectedHashes, expectedCrc32 } = readDigests(headers);
  const isRight =
    (expectedCrc32 === undefined || expectedCrc32 === Bun.hash.crc32(body)) &&
    [...(expectedHashes ?? [])].every(([hash, hex]) => new Bun.CryptoHasher(hash).update(body).digest("hex") === hex);
  if (!isRight) throw new Refusal("DIGEST_MISMATCH", "The body is not the one that the digest was made of");
}

export function parseCrc32(text: string, header: string): number {
  if (!/^[0-9a-f]{8}$/i.test(text))
    throw invalidHeader(header, `${header} is ${text.slice(0, 40)}; allowed: 8 hex digits`);
  return Number.parseInt(text, 16);
}

/** @returns e.g. `sha-256=:…base64…:` */
export const reprDigest = (sha256: string): string => `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
