/**
 * What the leader does about redundancy as a whole.
 *
 *     safeMode ─▶ steady ◀─▶ repairing
 *                   ▲▼
 *               rebalancing             paused, from anywhere, by an operator or when too much is silent at once
 */
import { setup } from "xstate";

export interface Steward {
  safeModeMs: number;
}

export type StewardEvent =
  | { type: "ALL_REPORTED" }
  | { type: "TROUBLE" }
  | { type: "UNEVEN" }
  | { type: "ALL_WELL" }
  | { type: "PAUSE" }
  | { type: "RESUME" };

export const stewardMachine = setup({
  types: { context: {} as Steward, input: {} as Steward, events: {} as StewardEvent },
  delays: { safeModeMs: ({ context }) => context.safeModeMs },
}).createMachine({
  id: "steward",
  context: ({ input }) => input,
  initial: "safeMode",
  states: {
    safeMode: {
      description: "A new leader: workers get time to report before anything is repaired or deleted.",
      on: { ALL_REPORTED: "steady", PAUSE: "paused" },
      after: { safeModeMs: "steady" },
    },
    steady: {
      description: "Every chunk has its copies, as far as is known.",
      on: { TROUBLE: "repairing", UNEVEN: "rebalancing", PAUSE: "paused" },
    },
    repairing: {
      description: "Chunks have too few or too many copies; worst off first.",
      on: { ALL_WELL: "steady", UNEVEN: "rebalancing", PAUSE: "paused" },
    },
    rebalancing: {
      description: "All copies are there; some move from full workers to empty ones.",
      on: { TROUBLE: "repairing", ALL_WELL: "steady", PAUSE: "paused" },
    },
    paused: {
      description: "No repairs and no deletes: too many workers went silent at once, or an operator said so.",
      on: { RESUME: "steady" },
    },
  },
});
