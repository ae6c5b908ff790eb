/**
 * Known mistakes, planted one at a time into the shipped classes. A simulation that does not find them proves nothing by
 * finding nothing.
 */
import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { raftMachine } from "../../../actors/master/group/raft.machine.ts";
import { RaftMetadata } from "../../../actors/master/group/raft-metadata.ts";
import { Invariant } from "../../../actors/rules/invariant.ts";
import { ChunkStore } from "../../../actors/worker/store/chunk-store.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { SimulatedDisk } from "./disk.ts";
import type { Trouble } from "./nemesis.ts";
import { STILL, type SystemKnobs, TRASH_WEATHER } from "./system-knobs.ts";

interface PlantedBug {
  /** The weather that brings it out. */
  knobs: Partial<SystemKnobs>;
  /** The troubles that do, where those of the seed would take too many seeds. */
  plan?: readonly Trouble[];
  stormMs?: number;
  /** @returns how to take it out again */
  plant(): () => void;
}

/** Puts a method in the place of another. */
function replace<T extends object, K extends keyof T>(of: T, name: K, other: (before: T[K]) => T[K]): () => void {
  const before = of[name];
  of[name] = other(before);
  return () => {
    of[name] = before;
  };
}

const all =
  (...takeOuts: (() => void)[]): (() => void) =>
  () => {
    for (const takeOut of takeOuts) takeOut();
  };

const isSealed = (store: ChunkStore, chunkId: number): boolean => store.describe(chunkId)?.state === "sealed";
const isSealedFile = (store: ChunkStore, chunkId: number): boolean =>
  isSealed(store, chunkId) && existsSync(store.folders.file(chunkId, "sealed"));
const moveToTrash = (store: ChunkStore, chunkId: number): Promise<void> =>
  rename(store.folders.file(chunkId, "sealed"), store.folders.file(chunkId, "trash")).catch(() => {});

const BUGS = {
  // Either alone is covered by the other: bugs have to be planted in pairs.
  "strong reads are not confirmed, and a leader does not miss its majority": {
    knobs: { ...STILL, clients: 5, gateways: 2, pauseMs: 40 },
    // So long that clients whose changes get no answer from the minority give them up, and read.
    plan: [{ atMs: 7000, kind: "minorityLeads" as const, whom: 0.1, forMs: 40_000 }],
    stormMs: 40_000,
    plant() {
      const { guards, delays } = raftMachine.implementations;
      return all(
        replace(RaftMetadata.prototype, "confirmRead", () => async () => {}),
        replace(guards, "isQuorumActive", () => () => true),
        replace(delays, "quorumPatienceMs", () => () => 1000),
      );
    },
  },
  "a command that is sent again takes effect again": {
    knobs: { crashEveryMs: 1200, cutEveryMs: 2000, loss: 0.05, duplication: 0.3, clients: 5, pauseMs: 50 },
    plant: () =>
      replace(
        SqliteMetadata.prototype,
        "apply",
        (before) =>
          function (this: SqliteMetadata, entries) {
            return before.call(
              this,
              entries.map(({ proposal, env }) => ({
                proposal: { ...proposal, sessionId: 0, seq: 0, idempotencyKey: null },
                env,
              })),
            );
          },
      ),
  },
  "flushes of chunk files do not reach the disk": {
    knobs: { powerEveryMs: 1200, crashEveryMs: 0, cutEveryMs: 0, wipeEveryMs: 0, corruptEveryMs: 0, loss: 0 },
    plant: () => replace(SimulatedDisk.prototype, "flushed", () => () => {}),
  },
  // As it was: an order to trash moved all files before the first row, and the scrub took the same row again and again.
  "a check waits in microtasks for the row of a file that lies in the trash already": {
    knobs: TRASH_WEATHER,
    plant: () =>
      all(
        replace(
          ChunkStore.prototype,
          "trash",
          (before) =>
            async function (this: ChunkStore, chunkIds, decidedAt) {
              for (const chunkId of chunkIds) if (isSealedFile(this, chunkId)) await moveToTrash(this, chunkId);
              return before.call(this, chunkIds, decidedAt);
            },
        ),
        replace(
          ChunkStore.prototype,
          "verify",
          (before) =>
            async function (this: ChunkStore, chunkId, ...rest) {
              while (isSealed(this, chunkId) && existsSync(this.folders.file(chunkId, "trash"))) await Date.now();
              return before.call(this, chunkId, ...rest);
            },
        ),
      ),
  },
  "a sweep waits in a loop for files that only another turn removes": {
    knobs: { ...TRASH_WEATHER, crashEveryMs: 0, powerEveryMs: 0 },
    plant: () =>
      replace(
        ChunkStore.prototype,
        "sweep",
        (before) =>
          async function (this: ChunkStore, ...args) {
            const swept = before.apply(this, args);
            while (this.totals.trashBytes > 0) {}
            return swept;
          },
      ),
  },
  "an invariant breaks, and what it throws is caught": {
    knobs: STILL,
    plant() {
      const planted: Invariant = new Invariant("planted: chunks <= 3");
      return replace(
        ChunkStore.prototype,
        "sweep",
        (before) =>
          async function (this: ChunkStore, ...args) {
            const { chunkCount } = this.totals;
            try {
              planted.check(chunkCount <= 3, { chunkCount });
            } catch {}
            return before.apply(this, args);
          },
      );
    },
  },
};

export type SystemBug = keyof typeof BUGS;
export const SYSTEM_BUGS: Record<SystemBug, PlantedBug> = BUGS;
