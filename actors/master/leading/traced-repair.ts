/** A repair as a trace of its own: from the leader's decision, by the copy's order, to its place in the metadata. */
import type { Actor } from "xstate";
import { ofItself } from "../../node/trace/span.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import type { Repair, repairMachine } from "./repair.machine.ts";

/** @param begin starts the actor */
export function tracedRepair(actor: Actor<typeof repairMachine>, repair: Repair, begin: () => void): void {
  ofItself("repair", (span) => {
    if (span) {
      span.set({
        "dfs.chunk.id": formatChunkId(repair.chunkId),
        "dfs.worker": repair.targetId,
        "dfs.repair.purpose": repair.purpose,
        "dfs.repair.reason": repair.reason,
      });
      actor.subscribe({
        complete: () => {
          const { value, context } = actor.getSnapshot();
          span.set({ "dfs.repair.outcome": value });
          span.end(context.failure === null ? undefined : new Error(context.failure));
        },
      });
    }
    begin();
  });
}
