/**
 * What a node says to this gateway as to a node is never the fault of the gateway's client: clocks, secrets, clusters or
 * programs differ, and a person has to set them right.
 */
import { type ErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { whoRefused } from "../../actors/node/http/answers.ts";

/** @param by what refused: an id or a URL */
export function asOurFault({ code, message, details }: Refusal, by: string): Refusal {
  const aheadMs = details.aheadMs;
  if (code === "UNAUTHENTICATED" && typeof aheadMs === "number") {
    const seconds = Math.round(Math.abs(aheadMs) / 1000);
    const way = aheadMs > 0 ? "ahead of" : "behind";
    return new Refusal("CLOCKS_DIFFER", `This gateway's clock is ${seconds} s ${way} that of ${by}`, { by, aheadMs });
  }
  if (code === "UNAUTHENTICATED")
    return new Refusal("SECRETS_DIFFER", `${by} refuses this gateway: ${message}`, { by });
  return new Refusal("NODES_DISAGREE", `${by} refuses this gateway's message: ${message}`, { by, cause: code });
}

/** Codes with which nodes refuse each other's messages, orders and blocks. */
const BETWEEN_NODES: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "INVALID_MESSAGE",
  "PAYLOAD_TOO_LARGE",
  "UNAUTHENTICATED",
  "WRONG_CLUSTER",
  "WRONG_NODE",
  "DEAD_MASTER",
  "NOT_LEADER",
  "SESSION_EXPIRED",
  "STALE_SEQUENCE",
  "UNKNOWN_WORKER",
  "STALE_TERM",
  "ORDER_EXPIRED",
  "NO_SUCH_CHUNK",
  "CHECKSUM_MISMATCH",
  "CHUNK_SEALED",
  "CHUNK_INCOMPLETE",
  "CHUNK_CORRUPT",
]);

/** The last door: whatever a node said to this gateway in one of these codes does not reach the client as its own fault. */
export function asClientHears(refusal: Refusal): Refusal {
  const by = BETWEEN_NODES.has(refusal.code) ? whoRefused(refusal) : null;
  return by === null ? refusal : asOurFault(refusal, by);
}
