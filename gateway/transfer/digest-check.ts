/** Digests that a client sent with a body, or wants of it. */
import { Refusal } from "../../actors/messages/errors.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import type { HashName, PutRequest } from "../ports/transfers.ts";

/** The digests of a body that are to be computed. */
export function hashesFor({
  wantSha256 = false,
  expectedHashes,
}: Pick<PutRequest, "wantSha256" | "expectedHashes">): HashName[] {
  return [...new Set([...(wantSha256 ? ["sha256" as const] : []), ...(expectedHashes?.keys() ?? [])])];
}

/** @throws DIGEST_MISMATCH */
export function checkDigests(
  { expectedCrc32, expectedHashes }: Pick<PutRequest, "expectedCrc32" | "expectedHashes">,
  crc32: number,
  hashes: ReadonlyMap<HashName, string> = new Map(),
): void {
  if (expectedCrc32 !== undefined && expectedCrc32 !== crc32)
    throw new Refusal(
      "DIGEST_MISMATCH",
      `The bytes have CRC-32 ${formatCrc32(crc32)}, not ${formatCrc32(expectedCrc32)}`,
      {
        crc32: formatCrc32(crc32),
      },
    );
  for (const [name, expected] of expectedHashes ?? []) {
    const hash = hashes.get(name) ?? "";
    if (hash !== expected)
      throw new Refusal("DIGEST_MISMATCH", `The bytes have ${name.toUpperCase()} ${hash}, not ${expected}`, {
        [name]: hash,
      });
  }
}
