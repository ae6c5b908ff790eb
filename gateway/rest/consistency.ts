/** How fresh an answer about names must be, and what the answer says of its own freshness. */
import { Type } from "@sinclair/typebox";
import { Refusal } from "../../actors/messages/errors.ts";
import { RefusalWithHeaders } from "../http/problem.ts";
import type { Consistency } from "../ports/namespace.ts";

export const ConsistencyQuery = {
  consistency: Type.Optional(
    Type.Union([Type.Literal("strong"), Type.Literal("eventual")], {
      description:
        "strong or eventual, default strong: the answer reflects every change acknowledged before the request began; eventual: it may be as old as x-dfs-age-ms says",
    }),
  ),
};
/** @param ageMs how old the state was that the answer comes from; 0: the leader gave it, and a majority confirmed it */
export const consistencyHeaders = (asked: Consistency = "strong", ageMs = 0): Record<string, string> => ({
  "x-dfs-consistency": asked,
  "x-dfs-age-ms": String(ageMs),
});

/**
 * An eventual read that is refused also says how old the state was that the refusal comes from: `unknown` if no master said.
 *
 * @param ageMs of the state that was read before the refusal; its own `details.ageMs` counts more
 */
export function withFreshness(error: unknown, asked: Consistency | undefined, ageMs?: number): unknown {
  if (!(error instanceof Refusal) || asked !== "eventual") return error;
  const age = typeof error.details.ageMs === "number" ? error.details.ageMs : ageMs;
  return RefusalWithHeaders.adding(error, {
    "x-dfs-consistency": asked,
    "x-dfs-age-ms": age === undefined ? "unknown" : String(age),
  });
}
