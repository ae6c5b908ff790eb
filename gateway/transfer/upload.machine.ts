/**
 * One upload:  opening ──▶ writing ──▶ sealing ──▶ committing ──▶ done, and from each of them to failed(reason).
 * The writer sends a few events per chunk and none per block. This machine decides what may follow what.
 */
import { assign, setup } from "xstate";

export interface UploadInput {
  id: string;
  /** Name of the principal whose request it is. */
  by: string;
  path: string;
  lengthBytes: number | null;
  startedAt: number;
}

export interface Upload extends UploadInput {
  /** The chunk being written, from 0; -1 before the first. */
  chunkIndex: number;
  /** Chunks written but not yet sealed on enough workers. */
  unsealed: number;
  bytes: number;
  /** Of the chunk being written. */
  workers: string[];
  lost: { workerId: string; code: string }[];
  failure: { code: string; message: string } | null;
}

export type UploadEvent =
  | { type: "CHUNK_PLACED"; workers: string[] }
  | { type: "CHUNK_MOVED"; workers: string[] }
  | { type: "BLOCKS_WRITTEN"; bytes: number }
  | { type: "WORKER_LOST"; workerId: string; code: string }
  | { type: "WORKER_REPLACED"; workerId: string }
  | { type: "CHUNK_SEALED" }
  | { type: "BODY_ENDED" }
  | { type: "COMMITTED" }
  | { type: "FAILED"; code: string; message: string };

const MAX_LOST_SHOWN = 16;

export const uploadMachine = setup({
  types: { context: {} as Upload, input: {} as UploadInput, events: {} as UploadEvent },
  guards: {
    isLastSeal: ({ context }) => context.unsealed === 1,
    isAllSealed: ({ context }) => context.unsealed === 0,
  },
  actions: {
    beginChunk: assign(({ context, event }) =>
      event.type === "CHUNK_PLACED"
        ? { chunkIndex: context.chunkIndex + 1, unsealed: context.unsealed + 1, workers: event.workers }
        : {},
    ),
    moveChunk: assign(({ event }) => (event.type === "CHUNK_MOVED" ? { workers: event.workers } : {})),
    countBytes: assign(({ context, event }) =>
      event.type === "BLOCKS_WRITTEN" ? { bytes: context.bytes + event.bytes } : {},
    ),
    dropWorker: assign(({ context, event }) =>
      event.type === "WORKER_LOST"
        ? {
            workers: context.workers.filter((id) => id !== event.workerId),
            lost: [...context.lost, { workerId: event.workerId, code: event.code }].slice(-MAX_LOST_SHOWN),
          }
        : {},
    ),
    addWorker: assign(({ context, event }) =>
      event.type === "WORKER_REPLACED" ? { workers: [...context.workers, event.workerId] } : {},
    ),
    countSealed: assign(({ context }) => ({ unsealed: context.unsealed - 1 })),
    recordFailure: assign(({ event }) =>
      event.type === "FAILED" ? { failure: { code: event.code, message: event.message } } : {},
    ),
  },
}).createMachine({
  id: "upload",
  context: ({ input }) => ({
    ...input,
    chunkIndex: -1,
    unsealed: 0,
    bytes: 0,
    workers: [],
    lost: [],
    failure: null,
  }),
  on: {
    BLOCKS_WRITTEN: { actions: "countBytes" },
    WORKER_LOST: { actions: "dropWorker" },
    WORKER_REPLACED: { actions: "addWorker" },
    FAILED: { target: ".failed", actions: "recordFailure" },
  },
  initial: "opening",
  states: {
    opening: {
      description: "Accepted; its first bytes are awaited, then a place for the first chunk.",
      on: {
        CHUNK_PLACED: { target: "writing", actions: "beginChunk" },
        BODY_ENDED: "committing",
      },
    },
    writing: {
      description: "Blocks flow to the chunk's workers; the chunk before may still be sealing.",
      on: {
        CHUNK_PLACED: { actions: "beginChunk" },
        CHUNK_SEALED: { actions: "countSealed" },
        BODY_ENDED: [{ guard: "isAllSealed", target: "committing" }, { target: "sealing" }],
      },
    },
    sealing: {
      description: "All bytes are sent; workers flush them to disk.",
      on: {
        CHUNK_MOVED: { actions: "moveChunk" },
        CHUNK_SEALED: [
          { guard: "isLastSeal", target: "committing", actions: "countSealed" },
          { actions: "countSealed" },
        ],
      },
    },
    committing: {
      description: "Every chunk is on enough disks, or the command holds the bytes; the leader makes the file visible.",
      on: {
        CHUNK_PLACED: {
          target: "writing",
          actions: "beginChunk",
          description: "The metadata does not take the bytes of this tiny file: they go to workers.",
        },
        COMMITTED: "done",
      },
    },
    done: { description: "Visible, whole.", type: "final" },
    failed: { description: "Given up, for the reason in `failure`; nothing of it is visible.", type: "final" },
  },
});
