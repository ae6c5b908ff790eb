/**
 * What the leader does about redundancy as a whole.
 *
 *     safeMode ─▶ steady ◀─▶ repairing
 *                   ▲▼
 *               rebalancing             paused, from anywhere, when too much is silent at once
 */
import { setup } from "xstate";

export interface Steward {
  safeModeMs: number;
  /** Repairs wait no longer than this for workers that fell silent together. */
  pauseMs: number;
}

export type StewardEvent =
  | { type: "ALL_REPORTED" }
  /** The leader's event loop stalled; that time does not count as silence. */
  | { type: "LEADER_WAS_LATE" }
  | { type: "TROUBLE" }
  | { type: "UNEVEN" }
  | { type: "ALL_WELL" }
  | { type: "PAUSE" }
  | { type: "RESUME" };

export const stewardMachine = setup({
  types: { context: {} as Steward, input: {} as Steward, events: {} as StewardEvent },
  delays: {
    safeModeMs: ({ context }) => context.safeModeMs,
    pauseMs: ({ context }) => context.pauseMs,
  },
}).createMachine({
  id: "steward",
  // Told after each look around, whatever the state.
  meta: { mayComeLate: ["LEADER_WAS_LATE", "TROUBLE", "UNEVEN", "ALL_WELL"] },
  context: ({ input }) => input,
  initial: "safeMode",
  states: {
    safeMode: {
      description: "A new leader: workers get time to report before anything is repaired or deleted.",
      on: {
        ALL_REPORTED: "steady",
        LEADER_WAS_LATE: { target: "safeMode", reenter: true },
        PAUSE: "paused",
      },
      after: { safeModeMs: "steady" },
    },
    steady: {
      description: "Every chunk has its copies, as far as is known.",
      on: { TROUBLE: "repairing", UNEVEN: "rebalancing", PAUSE: "paused" },
    },
    repairing: {
      description: "Chunks have too few or too many copies, or two in one zone; worst off first.",
      on: { ALL_WELL: "steady", UNEVEN: "rebalancing", PAUSE: "paused" },
    },
    rebalancing: {
      description: "All copies are there; some move from full workers to empty ones.",
      on: { TROUBLE: "repairing", ALL_WELL: "steady", PAUSE: "paused" },
    },
    paused: {
      description: "No repairs and no deletes: so many workers fell silent at once that their return is waited for.",
      on: { RESUME: "steady", LEADER_WAS_LATE: { target: "paused", reenter: true } },
      after: { pauseMs: "steady" },
    },
  },
});
