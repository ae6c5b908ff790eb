/** `Upload-Checksum`: what a client says of the bytes of one request. */
import { Refusal } from "../../../actors/messages/errors.ts";
import type { AppendOptions, HashName } from "../../ports/transfers.ts";

/** By tus's names: how many bytes a sum has. */
export const CHECKSUM_ALGORITHMS: ReadonlyMap<HashName | "crc32", number> = new Map([
  ["sha1", 20],
  ["sha256", 32],
  ["sha512", 64],
  ["md5", 16],
  ["crc32", 4],
]);

/** @returns an empty object if the request has no checksum. @throws INVALID_HEADER */
export function readUploadChecksum(headers: Headers): Pick<AppendOptions, "expectedHashes" | "expectedCrc32"> {
  const field = headers.get("upload-checksum");
  if (field === null) return {};
  const [, name = "", base64 = ""] = /^([a-z0-9]+) ([A-Za-z0-9+/]+={0,2})$/.exec(field.trim()) ?? [];
  const algorithm = name as HashName | "crc32";
  const bytes = Buffer.from(base64, "base64");
  if (CHECKSUM_ALGORITHMS.get(algorithm) !== bytes.length)
    throw new Refusal(
      "INVALID_HEADER",
      `Upload-Checksum is ${field.slice(0, 150)}; allowed: an algorithm (${[...CHECKSUM_ALGORITHMS.keys()].join(", ")}), a space, and the sum in base64`,
      { header: "Upload-Checksum" },
    );
  if (algorithm === "crc32") return { expectedCrc32: bytes.readUInt32BE() };
  return { expectedHashes: new Map([[algorithm, bytes.toString("hex")]]) };
}

/** The refusal of an append, with tus's own status if the checksum was wrong. */
export const asChecksumRefusal = (error: unknown): unknown =>
  error instanceof Refusal && error.code === "DIGEST_MISMATCH"
    ? new Refusal("UPLOAD_CHECKSUM_MISMATCH", error.message, error.details)
    : error;
