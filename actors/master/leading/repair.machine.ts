/**
 * One copy of a chunk: from the plan to its place in the log, or to its failure.
 *
 *     queued ─▶ copying ─▶ verifying ─▶ healed
 *        ╰────────┴────────────┴──────▶ failed, cancelled
 */
import { assign, setup } from "xstate";
import type { ChunkId, NodeId } from "../../messages/primitives.ts";
import { suppliedByHost } from "../../rules/supplied-by-host.ts";

export interface Repair {
  chunkId: ChunkId;
  /** `spread` moves a copy to a zone that has none, `evenness` from a full worker to an empty one. */
  purpose: "redundancy" | "spread" | "evenness";
  /** Copies that count, when the repair was planned. 1 is the worst that can be mended. */
  goodCopies: number;
  sourceIds: NodeId[];
  targetId: NodeId;
  /** Why the chunk needs a copy, in words. */
  reason: string;
  attempts: number;
  timeoutMs: number;
  failure: string | null;
}

export type RepairEvent =
  | { type: "START" }
  | { type: "COPIED" }
  | { type: "RECORDED" }
  | { type: "FAILED"; reason: string }
  | { type: "CANCELLED"; reason: string };

export const repairMachine = setup({
  types: { context: {} as Repair, input: {} as Repair, events: {} as RepairEvent },
  actions: {
    noteFailure: assign(({ event }) => ({ failure: "reason" in event ? event.reason : "no answer in time" })),
    orderCopy: suppliedByHost("orderCopy"),
    recordReplica: suppliedByHost("recordReplica"),
  },
  delays: { timeoutMs: ({ context }) => context.timeoutMs },
}).createMachine({
  id: "repair",
  meta: { about: "chunk" },
  context: ({ input }) => input,
  initial: "queued",
  on: {
    FAILED: { target: ".failed", actions: "noteFailure" },
    CANCELLED: { target: ".cancelled", actions: "noteFailure" },
  },
  states: {
    queued: { description: "Planned; waits for its turn.", on: { START: "copying" } },
    copying: {
      description: "The target fetches the chunk from a good copy and checks every block.",
      entry: "orderCopy",
      on: { COPIED: "verifying" },
      after: { timeoutMs: { target: "failed", actions: "noteFailure" } },
    },
    verifying: {
      description: "Length and checksum match what was committed; the new copy goes into the log.",
      entry: "recordReplica",
      on: { RECORDED: "healed" },
      after: { timeoutMs: { target: "failed", actions: "noteFailure" } },
    },
    healed: { type: "final", description: "One more good copy, on the books." },
    failed: { type: "final", description: "Will be planned again, elsewhere or later." },
    cancelled: { type: "final", description: "No longer needed: the lost copy came back, or the file was deleted." },
  },
});
