/** One seed's life of a whole cluster: a stormy time of its own kind, then calm, in which everything must come right. */
import { longWork } from "../../../actors/node/watchdog/current-work.ts";
import { inWords } from "../../linearizability/check.ts";
import { judgeCalls } from "../../support/judge-calls.ts";
import type { RecordedCall } from "../../support/recorded-load.ts";
import { Violation } from "../raft-checks.ts";
import { World } from "../world.ts";
import { Nemesis, planTroubles, type Trouble } from "./nemesis.ts";
import { type Node, System } from "./system.ts";
import { SystemChecks } from "./system-checks.ts";
import { drawSystemKnobs, type SystemKnobs } from "./system-knobs.ts";
import { checkLimits, whatIsHeld } from "./system-limits.ts";

export interface SystemLifeOptions {
  knobs?: Partial<SystemKnobs>;
  stormMs?: number;
  /** Instead of what the seed plans. */
  plan?: readonly Trouble[];
  /** Called before anything happens. */
  prepare?: (system: System, checks: SystemChecks) => void;
  /** Told what would be needed to live this life again, should it never end. */
  begins?: (life: Pick<SystemFailure, "seed" | "knobs" | "stormMs" | "plan">) => void;
}

export interface SystemLife {
  seed: number;
  events: number;
  requests: number;
  operations: number;
  committed: number;
  elections: number;
  undecided: number;
  parts: number;
}

/** A life that broke a rule, with what is needed to live it again. */
export interface SystemFailure {
  seed: number;
  rule: string;
  message: string;
  knobs: SystemKnobs;
  stormMs: number;
  plan: readonly Trouble[];
  atMs: number;
}

export const SYSTEM_STORM_MS = 20_000;
const BOOT_MS = 6000;
/** In calm everything must be as it should within this time. */
const CALM_MS = 90_000;
const LOOK_EVERY_MS = 1000;
/** Without an event. */
const JUDGING_MS = 300_000;

export const isSystemFailure = (life: SystemLife | SystemFailure): life is SystemFailure => "rule" in life;

export function simulateSystem(seed: number, options: SystemLifeOptions = {}): SystemLife | SystemFailure {
  const { stormMs = SYSTEM_STORM_MS } = options;
  const world = new World(seed);
  const knobs = { ...drawSystemKnobs(world), ...options.knobs };
  const plan = options.plan ?? planTroubles(world, knobs, BOOT_MS, BOOT_MS + stormMs);
  options.begins?.({ seed, knobs, stormMs, plan });
  const system = new System(world, knobs);
  const checks = new SystemChecks(system);
  try {
    options.prepare?.(system, checks);
    const nemesis = new Nemesis(system, checks, plan);
    system.onEvent = () => {
      const newLeader = checks.check();
      if (newLeader) nemesis.newLeader(newLeader);
    };
    system.boot();
    system.run(BOOT_MS);
    system.start(system.node("clients"));
    for (let at = BOOT_MS; at < BOOT_MS + stormMs; ) {
      at += LOOK_EVERY_MS;
      system.run(at);
      checks.checkNothingLost();
      checks.checkIds();
      checkLimits(system);
    }
    nemesis.stop();
    const dead = chooseDead(system, checks);
    settleDown(system, checks, dead);
    const { parts, undecided } = longWork("judge the history", JUDGING_MS, () => judge(system, checks));
    checks.check();
    return {
      seed,
      events: world.events,
      requests: system.network.requests,
      operations: system.load.history.length,
      committed: checks.raft.maxCommitted,
      elections: checks.raft.elections,
      parts,
      undecided,
    };
  } catch (thrown) {
    const cause = system.violation ?? thrown;
    const message = cause instanceof Error ? cause.message : String(cause);
    if (Bun.env.LOUD && !(cause instanceof Violation)) console.log(cause);
    const rule = cause instanceof Violation ? cause.rule : message;
    return { seed, rule, message, knobs, stormMs, plan, atMs: world.now };
  } finally {
    checks.stop();
    system.close();
  }
}

/** Some stay dead for ever: a minority of the masters, and workers whose chunks have copies elsewhere. */
function chooseDead(system: System, checks: SystemChecks): Node[] {
  const random = system.world.random("the dead");
  const dead: Node[] = [];
  const masters = system.of("master");
  // A group in the middle of a change may need everybody.
  const isWhole = masters.every(({ joins }) => !joins);
  for (const master of masters)
    if (isWhole && random() < 0.4 && dead.length < Math.ceil(masters.length / 2) - 1) dead.push(master);
  const workers = system.of("worker");
  const chunks = checks.committed();
  const enough = system.config.replicationFactor;
  for (const worker of workers) {
    const left = workers.filter((one) => one !== worker && !dead.includes(one));
    if (!chunks || random() > 0.3 || left.length < enough) continue;
    const isKept = chunks.every((chunk) => checks.copiesOf(chunk).some((copy) => left.includes(copy)));
    if (isKept && !holdsAlone(system, checks, left)) dead.push(worker);
  }
  return dead;
}

/** Is there a chunk, perhaps one that is going to be committed, of which several have a copy but none of these? */
function holdsAlone(system: System, checks: SystemChecks, left: readonly Node[]): boolean {
  const holders = new Map<number, Node[]>();
  for (const worker of system.of("worker"))
    for (const chunkId of checks.sealedOn(worker)) holders.set(chunkId, [...(holders.get(chunkId) ?? []), worker]);
  return [...holders.values()].some((workers) => workers.length > 1 && !workers.some((one) => left.includes(one)));
}

/** Heals what may be healed, and waits until all is as it should be. @throws Violation if it never is */
function settleDown(system: System, checks: SystemChecks, dead: readonly Node[]): void {
  const { network, world } = system;
  Object.assign(network.weather, { loss: 0, duplication: 0 });
  network.heal();
  for (const node of system.nodes.values()) {
    node.computer.disk.failure = null;
    node.computer.disk.slowestMs = 1;
    node.computer.pausedUntil = 0;
    if (dead.includes(node)) system.kill(node);
    else system.start(node);
  }
  let missing: string[] = ["a look"];
  const until = world.now + CALM_MS;
  let isStopping = false;
  let isStopped = false;
  let wrong: Violation | undefined;
  while (missing.length > 0) {
    if (world.now >= until) throw new Violation("liveness", `after ${CALM_MS / 1000} s of calm: ${missing.join("; ")}`);
    system.run(world.now + LOOK_EVERY_MS);
    // What trouble has planned for later still comes: restarts of its victims.
    for (const node of dead) if (system.isUp(node)) system.kill(node);
    for (const node of system.nodes.values()) {
      if (dead.includes(node) || system.isUp(node) || node.kind === "client") continue;
      if (node.ended?.startsWith("exit") || node.ended === null || /killed|power/.test(node.ended)) system.start(node);
    }
    if (world.now < until - CALM_MS + 5000) continue;
    if (!isStopping)
      system.node("clients").computer.program?.within(async () => {
        try {
          await system.load.stop();
        } catch (error) {
          // A client checks the bytes that it gets against the checksum that came with them.
          wrong = new Violation("bytes", (error as Error).message);
        }
        isStopped = true;
      });
    if (wrong) throw wrong;
    isStopping = true;
    missing = isStopped ? whatIsMissing(system, checks, dead) : ["clients still wait for answers"];
  }
  checks.checkNothingLost();
  checks.checkIds();
  checkLimits(system);
  checks.checkSameState(dead);
}

function whatIsMissing(system: System, checks: SystemChecks, dead: readonly Node[]): string[] {
  const leader = system.leader()?.master;
  if (!leader) return ["no master leads"];
  const missing: string[] = [];
  const { commitIndex } = leader.metadata.raft.state;
  for (const node of system.of("master")) {
    if (dead.includes(node)) continue;
    const applied = node.master?.metadata.appliedIndex ?? -1;
    if (applied < commitIndex)
      missing.push(`${node.id} has applied ${applied} of ${commitIndex}${node.ended ? `, ${node.ended}` : ""}`);
  }
  const alive = system.of("worker").filter((worker) => !dead.includes(worker));
  const short = (checks.committed() ?? []).filter(
    (chunk) =>
      checks.copiesOf(chunk).filter((worker) => alive.includes(worker)).length < Math.min(chunk.target, alive.length),
  );
  if (short.length > 0)
    missing.push(`${short.length} chunks have too few copies, the first ${short[0]?.id} of ${short[0]?.workers}`);
  missing.push(...checks.placesToMend(alive), ...whatIsHeld(system));
  return missing;
}

/** The answers that the clients got, against the model of files. */
function judge(system: System, checks: SystemChecks): { parts: number; undecided: number } {
  const { history, surprises } = system.load;
  if (surprises.length > 0) throw new Violation("surprise", surprises[0] as string);
  const calls: RecordedCall[] = history.map((one) => ({
    ...one,
    index: one.key === null ? null : (checks.indexOfKey.get(one.key) ?? null),
  }));
  const broken = calls.find(({ withoutEffect, key, index }) => withoutEffect && key !== null && index !== null);
  if (broken) throw new Violation("I8", `what was told to have had no effect is in the log at ${broken.index}`);
  const { blackBox, witness } = judgeCalls(calls);
  const violation = blackBox.violations[0] ?? witness.violations[0];
  if (violation) throw new Violation("I10", `${inWords(blackBox)}\n${violation}`);
  return { parts: blackBox.parts, undecided: blackBox.undecided.length };
}
