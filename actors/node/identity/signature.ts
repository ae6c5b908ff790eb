/**
 * Proof that a request comes from a node of this cluster: an HMAC over method, path, sender, time and content. Block
 * bodies are covered by their CRC header (the body is checked against it), messages by their bytes.
 *
 *     authorization: DFS worker-1:1795404975994:<64 hex digits>
 */
import { timingSafeEqual } from "node:crypto";
import { Refusal } from "../../messages/errors.ts";
import { BlockHeader } from "../../messages/worker.ts";
import { assertLinked } from "../messaging/link-cut.ts";
import type { Credentials } from "./identity.ts";

/** Clocks of two nodes may differ by this much; after this an overheard request cannot be repeated. */
const TOLERANCE_MS = 5 * 60_000;

const hmac = (
  secret: string,
  sender: string,
  time: string,
  method: string,
  path: string,
  content: string | Uint8Array,
): string =>
  new Bun.CryptoHasher("sha256", secret)
    .update(`${method} ${path}\n${sender}\n${time}\n`)
    .update(content)
    .digest("hex");

/** What stands for the body of a block request. */
export const blockContent = (headers: Headers): string =>
  `${headers.get(BlockHeader.crc32) ?? ""}\n${headers.get(BlockHeader.route) ?? ""}\n${headers.get(BlockHeader.seal) ?? ""}`;

export function sign(
  secret: string,
  sender: string,
  method: string,
  path: string,
  content: string | Uint8Array,
): string {
  const time = String(Date.now());
  return `DFS ${sender}:${time}:${hmac(secret, sender, time, method, path, content)}`;
}

/** A text from outside may have more bytes than characters; `timingSafeEqual` wants equal lengths. */
const sameBytes = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);

/** @returns the sender's node id; throws UNAUTHENTICATED otherwise */
export function verifySignature(
  secret: string,
  authorization: string | null,
  method: string,
  path: string,
  content: string | Uint8Array,
): string {
  const [scheme, proof] = authorization?.split(" ", 2) ?? [];
  const [sender, time, digest] = proof?.split(":", 3) ?? [];
  if (scheme !== "DFS" || !sender || !time || !digest)
    throw new Refusal("UNAUTHENTICATED", "The request carries no node signature");
  const expected = hmac(secret, sender, time, method, path, content);
  if (!sameBytes(Buffer.from(digest), Buffer.from(expected)))
    throw new Refusal("UNAUTHENTICATED", `The signature of ${sender} does not match: another cluster secret?`);
  const aheadMs = Number(time) - Date.now();
  if (!(Math.abs(aheadMs) <= TOLERANCE_MS))
    throw new Refusal(
      "UNAUTHENTICATED",
      `The clock of ${sender} is about ${Math.round(Math.abs(aheadMs) / 60_000)} minutes ${aheadMs > 0 ? "ahead of" : "behind"} this node's; ${TOLERANCE_MS / 60_000} are borne: check the clocks`,
      { aheadMs },
    );
  assertLinked(sender);
  return sender;
}

/** Credentials of a node that shares the cluster's secret with all others. */
export const sharedSecret = (nodeId: string, secret: string): Credentials => ({
  sign: (method, path, content) => sign(secret, nodeId, method, path, content),
  verify: (authorization, method, path, content) => verifySignature(secret, authorization, method, path, content),
});
