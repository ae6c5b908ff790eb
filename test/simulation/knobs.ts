/** The weather of one simulated life: each seed draws its own, so that rare kinds get seeds of their own. */
import type { World } from "./world.ts";

export interface Knobs {
  masters: number;
  heartbeatMs: number;
  electionMs: number;
  /** Probabilities, per message. */
  loss: number;
  duplication: number;
  maxDelayMs: number;
  maxFlushMs: number;
  maxAppendEntries: number;
  maxInflight: number;
  /** Mean times between events of each kind; 0: never. */
  proposeEveryMs: number;
  readEveryMs: number;
  crashEveryMs: number;
  partitionEveryMs: number;
  pauseEveryMs: number;
  diskTroubleEveryMs: number;
  transferEveryMs: number;
  membershipEveryMs: number;
  /** Masters that wait to be added. */
  spares: number;
  /** Kills a new leader soon after its election with this probability. */
  newLeaderKiller: number;
  /** Compacts when twice so many applied entries are in the log; 0: never. */
  compactAfter: number;
  /** Clocks run faster or slower by up to this share. */
  clockDrift: number;
  /** A crash takes the applied state back to any point since its last flush. */
  lazyState: boolean;
  /** What one master sends another arrives in the order it was sent, as on one connection. */
  inOrder: boolean;
}

export const CALM: Knobs = {
  masters: 3,
  heartbeatMs: 100,
  electionMs: 1000,
  loss: 0,
  duplication: 0,
  maxDelayMs: 2,
  maxFlushMs: 1,
  maxAppendEntries: 64,
  maxInflight: 8,
  proposeEveryMs: 20,
  readEveryMs: 50,
  crashEveryMs: 0,
  partitionEveryMs: 0,
  pauseEveryMs: 0,
  diskTroubleEveryMs: 0,
  transferEveryMs: 0,
  membershipEveryMs: 0,
  spares: 0,
  newLeaderKiller: 0,
  compactAfter: 0,
  clockDrift: 0,
  lazyState: false,
  inOrder: false,
};

export function drawKnobs(world: World): Knobs {
  const random = world.random("knobs");
  const one = <T>(...of: T[]): T => of[Math.floor(random() * of.length)] as T;
  const knobs: Knobs = {
    masters: one(3, 3, 5),
    heartbeatMs: 100,
    electionMs: 1000,
    loss: one(0, 0.02, 0.1, 0.3),
    duplication: one(0, 0.05, 0.5),
    maxDelayMs: one(2, 20, 100, 400),
    maxFlushMs: one(0, 1, 10, 80),
    maxAppendEntries: one(1, 2, 4, 64),
    maxInflight: one(1, 4, 16),
    proposeEveryMs: one(5, 20, 100),
    readEveryMs: one(20, 100),
    crashEveryMs: one(0, 1500, 4000),
    partitionEveryMs: one(0, 2000, 5000),
    pauseEveryMs: one(0, 0, 3000, 8000),
    diskTroubleEveryMs: one(0, 0, 3000, 8000),
    transferEveryMs: one(0, 0, 1500, 6000),
    newLeaderKiller: one(0, 0, 0.3, 0.8),
    compactAfter: one(0, 5, 50),
    clockDrift: one(0, 0.05),
    lazyState: one(false, true),
    inOrder: one(true, true, false),
    membershipEveryMs: one(0, 0, 700, 3000),
    spares: 0,
  };
  return knobs.membershipEveryMs > 0 ? { ...knobs, spares: one(2, 4) } : knobs;
}
