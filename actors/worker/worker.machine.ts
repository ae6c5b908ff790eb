/**
 * One worker's life:  starting ──▶ registering ──▶ serving ──▶ draining ──▶ stopped;  orphaned while no leader answers.
 *
 * The host sends it events (a leader answered or was silent, the disk's condition) and carries out its actions:
 * `register`, `sendHeartbeat`, `reconcile`, `finishWork`. Blocks are served in every state but the first and the last.
 */
import { assign, setup } from "xstate";
import type { WorkerCondition, WorkerMode } from "../messages/primitives.ts";
import { suppliedByHost } from "../rules/supplied-by-host.ts";

export interface WorkerInput {
  heartbeatMs: number;
  /** Silence of the leader after which the worker calls itself orphaned. */
  orphanAfterMs: number;
  /** A stop waits no longer than this for work under way. */
  drainMs: number;
}

export interface WorkerContext extends WorkerInput {
  /** Of the leader that registered this worker. */
  term: number;
  /** What the operator wants, as the leader's answers say. */
  mode: WorkerMode;
  /** Why the last registration failed, in words. */
  refusedBecause: string | null;
}

export type WorkerEvent =
  | { type: "OPENED" }
  | { type: "REGISTERED"; term: number; mode: WorkerMode; heartbeatMs: number }
  | { type: "ACKNOWLEDGED"; term: number; mode: WorkerMode }
  | { type: "UNKNOWN_HERE" }
  | { type: "LEADER_SILENT"; silentMs: number; reason: string }
  | { type: "DISK"; condition: WorkerCondition }
  | { type: "STOP" }
  | { type: "DRAINED" };

export const workerMachine = setup({
  types: { context: {} as WorkerContext, input: {} as WorkerInput, events: {} as WorkerEvent },
  guards: {
    isFull: ({ event }) => event.type === "DISK" && event.condition === "full",
    isReadOnly: ({ event }) => event.type === "DISK" && event.condition === "readOnly",
    isNewerTerm: ({ context, event }) => event.type === "ACKNOWLEDGED" && event.term > context.term,
    isSilentTooLong: ({ context, event }) => event.type === "LEADER_SILENT" && event.silentMs >= context.orphanAfterMs,
  },
  actions: {
    adoptLeader: assign(({ context, event }) => {
      if (event.type !== "REGISTERED" && event.type !== "ACKNOWLEDGED") return {};
      const heartbeatMs = event.type === "REGISTERED" ? event.heartbeatMs : context.heartbeatMs;
      return { term: event.term, mode: event.mode, heartbeatMs, refusedBecause: null };
    }),
    noteReason: assign(({ event }) => (event.type === "LEADER_SILENT" ? { refusedBecause: event.reason } : {})),
    register: suppliedByHost("register"),
    sendHeartbeat: suppliedByHost("sendHeartbeat"),
    reconcile: suppliedByHost("reconcile"),
    finishWork: suppliedByHost("finishWork"),
    noteUnexpected: suppliedByHost("noteUnexpected"),
  },
  delays: {
    heartbeatMs: ({ context }) => context.heartbeatMs,
    drainMs: ({ context }) => context.drainMs,
  },
}).createMachine({
  id: "worker",
  context: ({ input }) => ({ ...input, term: 0, mode: "active", refusedBecause: null }),
  on: {
    STOP: ".draining",
    // Answers that come too late for the state that asked: the next state asks again.
    REGISTERED: {},
    ACKNOWLEDGED: {},
    UNKNOWN_HERE: {},
    LEADER_SILENT: {},
    DISK: {},
    DRAINED: {},
    "*": { actions: "noteUnexpected" },
  },
  initial: "starting",
  states: {
    starting: {
      description: "Opens its data directory, and makes index and chunk files agree.",
      on: { OPENED: "registering" },
    },
    registering: {
      description: "Tells the leader who it is. Blocks are served already.",
      initial: "asking",
      on: {
        REGISTERED: { target: "serving", actions: "adoptLeader" },
        LEADER_SILENT: [
          { guard: "isSilentTooLong", target: "orphaned", actions: "noteReason" },
          { target: ".waiting", actions: "noteReason" },
        ],
      },
      states: {
        asking: { description: "Asks the masters in turn which of them leads.", entry: "register" },
        waiting: { description: "No leader answered; waits one heartbeat.", after: { heartbeatMs: "asking" } },
      },
    },
    serving: {
      description: "Known to the leader: takes blocks and orders, and reports.",
      entry: "reconcile",
      on: { UNKNOWN_HERE: "registering" },
      type: "parallel",
      states: {
        disk: {
          description: "What the disk can take.",
          initial: "normal",
          on: {
            DISK: [
              { guard: "isReadOnly", target: ".readOnly" },
              { guard: "isFull", target: ".full" },
              { target: ".normal" },
            ],
          },
          states: {
            normal: { description: "Takes new chunks." },
            full: { description: "Out of space: reads, deletes and orders to trash, but nothing new." },
            readOnly: { description: "The disk refuses writes: reads only, until a trial write succeeds." },
          },
        },
        pulse: {
          description: "The rhythm of heartbeats; one at a time.",
          initial: "beating",
          states: {
            beating: {
              description: "A heartbeat is on its way.",
              entry: "sendHeartbeat",
              on: {
                ACKNOWLEDGED: [
                  { guard: "isNewerTerm", target: "#worker.registering" },
                  { target: "resting", actions: "adoptLeader" },
                ],
                LEADER_SILENT: [
                  { guard: "isSilentTooLong", target: "#worker.orphaned", actions: "noteReason" },
                  { target: "resting", actions: "noteReason" },
                ],
              },
            },
            resting: {
              description: "Acknowledged; waits for the next heartbeat's time.",
              after: { heartbeatMs: "beating" },
            },
          },
        },
      },
    },
    orphaned: {
      description: "No leader answers for long. Still serves blocks and reads, and keeps asking.",
      initial: "waiting",
      on: {
        REGISTERED: { target: "serving", actions: "adoptLeader" },
        LEADER_SILENT: { target: ".waiting", actions: "noteReason" },
      },
      states: {
        waiting: { description: "Waits one heartbeat.", after: { heartbeatMs: "asking" } },
        asking: { description: "Asks the masters in turn which of them leads.", entry: "register" },
      },
    },
    draining: {
      description: "Told to stop: takes no new work and finishes what is under way.",
      entry: "finishWork",
      on: { DRAINED: "stopped", STOP: {} },
      after: { drainMs: "stopped" },
    },
    stopped: { description: "Files and index are closed.", type: "final" },
  },
});
