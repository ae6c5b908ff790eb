/** The weather of one simulated life of a whole cluster. Each seed draws its own, so that rare kinds get seeds of their own. */
import { pick } from "../../support/random.ts";
import type { World } from "../world.ts";

export interface SystemKnobs {
  masters: number;
  workers: number;
  zones: number;
  gateways: number;
  clients: number;
  /** Mean pause of a client between two operations, ms. */
  pauseMs: number;
  loss: number;
  duplication: number;
  maxDelayMs: number;
  slowestFlushMs: number;
  clockDrift: number;
  /** Log entries kept behind what is applied. */
  keepEntries: number;
  /** Every chunk is read back so often. */
  scrubEveryMs: number;
  /** Mean times between troubles of each kind, ms; 0: never. */
  crashEveryMs: number;
  powerEveryMs: number;
  pauseEveryMs: number;
  cutEveryMs: number;
  diskEveryMs: number;
  wipeEveryMs: number;
  corruptEveryMs: number;
  membersEveryMs: number;
  transferEveryMs: number;
  modeEveryMs: number;
  clockEveryMs: number;
  litterEveryMs: number;
  /** Kills a master soon after it was elected, with this probability. */
  newLeaderKiller: number;
}

export const STILL: SystemKnobs = {
  masters: 3,
  workers: 5,
  zones: 5,
  gateways: 1,
  clients: 3,
  pauseMs: 150,
  loss: 0,
  duplication: 0,
  maxDelayMs: 5,
  slowestFlushMs: 1,
  clockDrift: 0,
  keepEntries: 10_000,
  scrubEveryMs: 20_000,
  crashEveryMs: 0,
  powerEveryMs: 0,
  pauseEveryMs: 0,
  cutEveryMs: 0,
  diskEveryMs: 0,
  wipeEveryMs: 0,
  corruptEveryMs: 0,
  membersEveryMs: 0,
  transferEveryMs: 0,
  modeEveryMs: 0,
  clockEveryMs: 0,
  litterEveryMs: 0,
  newLeaderKiller: 0,
};

export function drawSystemKnobs(world: World): SystemKnobs {
  const random = world.random("knobs");
  const one = <T>(...of: T[]): T => pick(random, of);
  return {
    masters: one(3, 3, 3, 5),
    workers: one(3, 4, 5, 5, 7),
    zones: one(2, 3, 5),
    gateways: one(1, 2),
    clients: one(2, 4, 5),
    pauseMs: one(100, 200, 400),
    loss: one(0, 0, 0.01, 0.05),
    duplication: one(0, 0.05, 0.3),
    maxDelayMs: one(2, 10, 40, 150),
    slowestFlushMs: one(0.5, 5, 60),
    clockDrift: one(0, 0.05),
    keepEntries: one(10, 40, 10_000),
    crashEveryMs: one(0, 1500, 5000),
    powerEveryMs: one(0, 0, 6000),
    pauseEveryMs: one(0, 0, 5000),
    cutEveryMs: one(0, 3000, 8000),
    diskEveryMs: one(0, 0, 5000),
    wipeEveryMs: one(0, 0, 8000),
    corruptEveryMs: one(0, 0, 2000),
    membersEveryMs: one(0, 0, 6000),
    transferEveryMs: one(0, 0, 4000),
    modeEveryMs: one(0, 0, 6000),
    clockEveryMs: one(0, 0, 6000),
    newLeaderKiller: one(0, 0, 0.5),
    scrubEveryMs: one(20_000, 20_000, 1000),
    litterEveryMs: one(0, 0, 5000),
  };
}

/**
 * Found files are adopted, garbage is trashed and chunks are read back, all at once: power cuts take the index's last rows,
 * and files stay.
 */
export const TRASH_WEATHER: SystemKnobs = {
  ...STILL,
  pauseMs: 400,
  scrubEveryMs: 1000,
  litterEveryMs: 2000,
  crashEveryMs: 6000,
  powerEveryMs: 2000,
};
