/** One seed's life: a stormy time of its own kind, then calm. */
import { whenBroken } from "../../actors/rules/invariant.ts";
import { drawKnobs, type Knobs } from "./knobs.ts";
import { Violation } from "./raft-checks.ts";
import { type GroupOptions, RaftGroup } from "./raft-group.ts";
import { TooManyEvents, World } from "./world.ts";

export interface RunOptions extends GroupOptions {
  knobs?: Partial<Knobs>;
  stormMs?: number;
  /** Called before anything happens. */
  prepare?: (group: RaftGroup) => void;
  /** Told what would be needed to live this life again, should it never end. */
  begins?: (life: BegunRun) => void;
}

export interface Run {
  seed: number;
  events: number;
  committed: number;
  elections: number;
  reads: number;
  /** Given up undecided: in rare weathers retransmissions multiply, and one life would last for minutes. */
  cutShort: boolean;
}

/** A life that broke a rule, with what is needed to live it again. */
export interface Failure {
  seed: number;
  rule: string;
  message: string;
  knobs: Knobs;
  stormMs: number;
  atMs: number;
}

export type BegunRun = Pick<Failure, "seed" | "knobs" | "stormMs">;

export const STORM_MS = 20_000;
/** Most lives take a tenth of this. */
const MOST_EVENTS = 600_000;

const ruleOf = (cause: unknown): string =>
  cause instanceof Violation ? cause.rule : cause instanceof Error ? cause.message : String(cause);

export function simulateRaft(seed: number, options: RunOptions = {}): Run | Failure {
  const { knobs: fixed, stormMs = STORM_MS, prepare, begins, ...groupOptions } = options;
  const world = new World(seed);
  const knobs = { ...drawKnobs(world), ...fixed };
  world.mostEvents = MOST_EVENTS;
  begins?.({ seed, knobs, stormMs });
  const group = new RaftGroup(world, knobs, groupOptions);
  prepare?.(group);
  let cutShort = false;
  let broken: Violation | undefined;
  // What it throws may be caught on its way up.
  const forget = whenBroken(({ message }) => {
    const node = group.masters.find(({ hasMoved }) => hasMoved)?.id ?? "no master";
    broken ??= new Violation("invariant", `${node}: ${message}`);
  });
  try {
    group.boot();
    group.run(stormMs);
    group.settle();
  } catch (cause) {
    cutShort = cause instanceof TooManyEvents;
    if (!cutShort) return failureOf(broken ?? cause);
  } finally {
    forget();
  }
  if (broken) return failureOf(broken);
  const { checks, readsDone } = group;
  const { events } = world;
  return { seed, events, committed: checks.maxCommitted, elections: checks.elections, reads: readsDone, cutShort };

  function failureOf(cause: unknown): Failure {
    const message = cause instanceof Error ? cause.message : String(cause);
    return { seed, rule: ruleOf(cause), message, knobs, stormMs, atMs: world.now };
  }
}

export const isFailure = (life: Run | Failure): life is Failure => "rule" in life;
