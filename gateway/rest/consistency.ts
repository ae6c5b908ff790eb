/** How fresh an answer about names must be, and what the answer says of its own freshness. */
import { Type } from "@sinclair/typebox";

export const ConsistencyQuery = {
  consistency: Type.Optional(
    Type.Union([Type.Literal("strong"), Type.Literal("eventual")], {
      description:
        "strong or eventual, default strong: the answer reflects every change acknowledged before the request began; eventual: it may be as old as x-dfs-age-ms says",
    }),
  ),
};
export type Consistency = "strong" | "eventual";

/** The leader answers both kinds, from the state that holds every acknowledged change: the age is 0. */
export const consistencyHeaders = (asked: Consistency = "strong"): Record<string, string> => ({
  "x-dfs-consistency": asked,
  "x-dfs-age-ms": "0",
});
