/**
 * Known mistakes, planted one at a time into the shipped classes. A simulation that does not find them proves nothing by
 * finding nothing.
 */
import { MetadataEngine } from "../../../actors/master/engine.ts";
import { raftMachine } from "../../../actors/master/raft.machine.ts";
import { Metadata } from "../../../databases/metadata.ts";
import { SimulatedDisk } from "./disk.ts";
import type { Trouble } from "./nemesis.ts";
import { STILL, type SystemKnobs } from "./system-knobs.ts";

interface PlantedBug {
  /** The weather that brings it out. */
  knobs: Partial<SystemKnobs>;
  /** The troubles that do, where those of the seed would take too many seeds. */
  plan?: readonly Trouble[];
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

const BUGS = {
  // Either alone is covered by the other: bugs have to be planted in pairs.
  "strong reads are not confirmed, and a leader does not miss its majority": {
    knobs: { ...STILL, clients: 5, gateways: 2, pauseMs: 40 },
    plan: [7000, 14_000, 21_000].map((atMs, n) => ({
      atMs,
      kind: "minorityLeads" as const,
      whom: n % 2 ? 0.9 : 0.1,
      forMs: 5000,
    })),
    plant() {
      const { guards, delays } = raftMachine.implementations;
      const takeOut = [
        replace(MetadataEngine.prototype, "confirmRead", () => async () => {}),
        replace(guards, "isQuorumActive", () => () => true),
        replace(delays, "quorumPatienceMs", () => () => 1000),
      ];
      return () => {
        for (const out of takeOut) out();
      };
    },
  },
  "a command that is sent again takes effect again": {
    knobs: { crashEveryMs: 1200, cutEveryMs: 2000, loss: 0.05, duplication: 0.3, clients: 5, pauseMs: 50 },
    plant: () =>
      replace(
        Metadata.prototype,
        "apply",
        (before) =>
          function (this: Metadata, entries) {
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
};

export type SystemBug = keyof typeof BUGS;
export const SYSTEM_BUGS: Record<SystemBug, PlantedBug> = BUGS;
