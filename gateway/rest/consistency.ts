/** How fresh an answer about names must be, and what the answer says of its own freshness. */
import { Type } from "@sinclair/typebox";
import type { Consistency } from "../data-path-api.ts";

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
