/**
 * What a node says to this gateway as to a node is never the fault of the gateway's client: clocks, secrets, clusters or
 * programs differ, and a person has to set them right.
 */
import { Refusal } from "../../actors/messages/errors.ts";

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
