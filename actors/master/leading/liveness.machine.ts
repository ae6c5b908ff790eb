/**
 * One worker, as the leader sees it.
 *
 *     unknown ─▶ live ─▶ suspect ─▶ dead     by silence; back by a heartbeat
 *
 * beside what an operator wants of it: active, draining, in maintenance, removed. In maintenance silence is expected,
 * so a worker is suspected but not declared dead.
 */
import { assign, setup } from "xstate";
import type { NodeId, WorkerMode } from "../../messages/primitives.ts";
import { suppliedByHost } from "../../rules/supplied-by-host.ts";

export interface Liveness {
  workerId: NodeId;
  suspectAfterMs: number;
  deadAfterMs: number;
  /** How long a worker may stay unheard after this leader took office. */
  graceMs: number;
  /** Deaths of late: each makes the leader more patient with a worker that comes and goes, until it has stayed a while. */
  deaths: number;
  mode: WorkerMode;
}

export type LivenessEvent =
  | { type: "HEARTBEAT" }
  | { type: "MODE"; mode: WorkerMode }
  /** The leader itself was late: silence meant nothing. The guard `leaderIsLate` says the same of a timer that is late. */
  | { type: "LEADER_WAS_LATE" };

const MOST_PATIENCE = 8;
/** A worker that is heard for this many times its `deadAfterMs` is forgiven one death. */
const FORGIVEN_AFTER = 10;

export const livenessMachine = setup({
  types: { context: {} as Liveness, input: {} as Liveness, events: {} as LivenessEvent },
  guards: {
    isNotInMaintenance: ({ context }) => context.mode !== "maintenance",
    /** Whether the clock is past the moment at which this timer should have rung: a host that can tell says so. */
    leaderIsLate: () => false,
    hasDied: ({ context }) => context.deaths > 0,
    entersDraining: ({ event }) => event.type === "MODE" && event.mode === "draining",
    entersMaintenance: ({ event }) => event.type === "MODE" && event.mode === "maintenance",
    entersRemoved: ({ event }) => event.type === "MODE" && event.mode === "removed",
  },
  actions: {
    countDeath: assign(({ context }) => ({ deaths: Math.min(MOST_PATIENCE - 1, context.deaths + 1) })),
    forgiveDeath: assign(({ context }) => ({ deaths: context.deaths - 1 })),
    adoptMode: assign(({ context, event }) => ({ mode: event.type === "MODE" ? event.mode : context.mode })),
    declareLive: suppliedByHost("declareLive"),
    declareDead: suppliedByHost("declareDead"),
  },
  delays: {
    graceMs: ({ context }) => context.graceMs,
    suspectAfterMs: ({ context }) => context.suspectAfterMs,
    forgiveAfterMs: ({ context }) => FORGIVEN_AFTER * context.deadAfterMs,
    deadAfterSuspicionMs: ({ context }) => (context.deadAfterMs - context.suspectAfterMs) * (1 + context.deaths),
  },
}).createMachine({
  id: "liveness",
  // Told to all; the dead have no time to be given.
  meta: { mayComeLate: ["LEADER_WAS_LATE"] },
  context: ({ input }) => input,
  type: "parallel",
  states: {
    heard: {
      description: "Is it there? Judged by silence.",
      initial: "unknown",
      states: {
        unknown: {
          description: "Not heard since this leader took office; its copies still count.",
          on: { HEARTBEAT: "live", LEADER_WAS_LATE: { target: "unknown", reenter: true } },
          after: {
            graceMs: [
              { guard: "leaderIsLate", target: "unknown", reenter: true },
              { guard: "isNotInMaintenance", target: "dead" },
            ],
          },
        },
        live: {
          description: "Heard in time; receives new chunks.",
          entry: "declareLive",
          after: { forgiveAfterMs: { guard: "hasDied", target: "live", reenter: true, actions: "forgiveDeath" } },
          initial: "listening",
          states: {
            listening: {
              description: "Counting the silence since the last heartbeat.",
              on: {
                HEARTBEAT: { target: "listening", reenter: true },
                LEADER_WAS_LATE: { target: "listening", reenter: true },
              },
              after: {
                suspectAfterMs: [{ guard: "leaderIsLate", target: "listening", reenter: true }, { target: "#suspect" }],
              },
            },
          },
        },
        suspect: {
          id: "suspect",
          description: "Silent; gets no new chunks, its copies still count.",
          on: {
            HEARTBEAT: "live",
            LEADER_WAS_LATE: { target: "suspect", reenter: true },
            MODE: { target: "suspect", reenter: true },
          },
          after: {
            deadAfterSuspicionMs: [
              { guard: "leaderIsLate", target: "suspect", reenter: true },
              { guard: "isNotInMaintenance", target: "dead" },
            ],
          },
        },
        dead: {
          description: "Silent for too long; its copies no longer count and are made anew elsewhere.",
          entry: ["countDeath", "declareDead"],
          on: { HEARTBEAT: "live" },
        },
      },
    },
    duty: {
      description: "What does the operator want of it?",
      initial: "active",
      on: {
        MODE: [
          { guard: "entersDraining", target: ".draining", actions: "adoptMode" },
          { guard: "entersMaintenance", target: ".maintenance", actions: "adoptMode" },
          { guard: "entersRemoved", target: ".removed", actions: "adoptMode" },
          { target: ".active", actions: "adoptMode" },
        ],
      },
      states: {
        active: { description: "Takes new chunks while it is heard." },
        draining: { description: "Takes nothing new; its copies move to others." },
        maintenance: { description: "Expected to be away: its silence starts no repair." },
        removed: { description: "No longer part of the cluster." },
      },
    },
  },
});
