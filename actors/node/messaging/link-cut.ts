/**
 * Drills cut links: for a while this node refuses each request that some other node signs, as if it had not arrived. Only a
 * node whose launcher allows drills obeys.
 */
import { Refusal } from "../../messages/errors.ts";
import type { CutLink } from "../../messages/records.ts";

const cutUntil = new Map<string, number>();
let allowed = false;

export const allowDrills = (): void => {
  allowed = true;
};

/** @throws DRILLS_NOT_ALLOWED */
export function cutLink({ peers, forMs }: Pick<CutLink, "peers" | "forMs">): { cut: number } {
  if (!allowed) throw new Refusal("DRILLS_NOT_ALLOWED", "This node takes no part in drills");
  for (const peer of peers) cutUntil.set(peer, performance.now() + forMs);
  return { cut: peers.length };
}

/** @throws PEER_UNREACHABLE while the link to `sender` is cut */
export function assertLinked(sender: string): void {
  if (cutUntil.size === 0) return;
  const until = cutUntil.get(sender);
  if (until === undefined) return;
  if (performance.now() < until) throw new Refusal("PEER_UNREACHABLE", `A drill cut the link to ${sender}`);
  cutUntil.delete(sender);
}
