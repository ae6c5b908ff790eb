/**
 * A group of masters as far as Raft goes, in a simulated world: the shipped machine, rules and driver, on disks that lose
 * what was not flushed, over a network that loses, doubles, delays and cuts. After every event the invariants are checked.
 */

import { type Clock, type LogWrite, RaftDriver, type RaftDriverOptions } from "../../actors/master/raft-driver.ts";
import type { Configuration, RaftEntry, RaftMessage, RaftMessageOf } from "../../actors/messages/raft.ts";
import { decode, encode } from "../../actors/node/wire.ts";
import {
  append,
  compact,
  emptyLog,
  entryAt,
  type LogTail,
  lastIndex,
  termAt,
  truncate,
} from "../../actors/rules/raft/log-tail.ts";
import { hasQuorum } from "../../actors/rules/raft/quorum.ts";
import { World } from "./world.ts";

export interface Knobs {
  masters: number;
  heartbeatMs: number;
  electionMs: number;
  loss: number;
  duplication: number;
  maxDelayMs: number;
  maxFlushMs: number;
  maxAppendEntries: number;
  maxInflight: number;
  proposeEveryMs: number;
  readEveryMs: number;
  crashEveryMs: number;
  partitionEveryMs: number;
  /** Kills a new leader soon after its election with this probability. */
  newLeaderKiller: number;
  /** Compacts when so many applied entries are in the log; 0: never. */
  compactAfter: number;
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
  newLeaderKiller: 0,
  compactAfter: 0,
};

/** Each seed draws a weather of its own. */
export function drawKnobs(world: World): Knobs {
  const random = world.random("knobs");
  const one = <T>(...of: T[]): T => of[Math.floor(random() * of.length)] as T;
  return {
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
    newLeaderKiller: one(0, 0, 0.3, 0.8),
    compactAfter: one(0, 5, 50),
  };
}

/** What is on a node's disk: survives a crash, changes only when a flush ends. */
interface Disk {
  term: number;
  vote: string | null;
  log: LogTail;
  /** The state machine: what was applied, in order. Survives, as a state that lags behind would be replayed. */
  state: AppliedState;
}
interface AppliedState {
  index: number;
  term: number;
  /** Rolling hash over everything applied. */
  hash: number;
}

export class Violation extends Error {
  override name = "Violation";
  constructor(
    readonly rule: string,
    message: string,
  ) {
    super(`${rule}: ${message}`);
  }
}

const fold = (hash: number, entry: RaftEntry): number =>
  Bun.hash.crc32(entry.data, Bun.hash.crc32(new Uint8Array(new Float64Array([hash, entry.index, entry.term]).buffer)));

class Master {
  driver: RaftDriver | null = null;
  incarnation = 0;
  disk: Disk = { term: 0, vote: null, log: emptyLog(), state: { index: 0, term: 0, hash: 0 } };
  /** Proposals of this incarnation that wait for their entry to be applied. */
  waiting = new Map<number, { term: number; id: number }>();
  seen = { role: "", term: 0, commit: 0, applied: 0, length: 0 };
  constructor(readonly id: string) {}
}

export class RaftGroup {
  readonly world: World;
  readonly masters: Master[];
  readonly knobs: Knobs;
  readonly configuration: Configuration;
  readonly #network: () => number;
  readonly #disks: () => number;
  readonly #workload: () => number;
  readonly #nemesis: () => number;
  readonly #options: RaftDriverOptions;
  /** `a→b`: messages from a to b are lost. */
  readonly cut = new Set<string>();
  faultsOn = true;

  // what the checkers know
  readonly #leaderOfTerm = new Map<number, string>();
  readonly #entryHash = new Map<string, number>();
  readonly #committed = new Map<number, { term: number; hash: number }>();
  readonly #stateAt = new Map<number, number>();
  maxCommitted = 0;
  readonly acknowledged = new Map<number, { index: number; at: number }>();
  #highestAcknowledged = 0;
  readonly #reads = new Map<string, { startedAt: number; floor: number }>();
  #nextId = 1;
  #broken: unknown;
  readsDone = 0;
  elections = 0;
  /** A planted bug: the disk says "flushed" before it is. */
  readonly lyingDisk: boolean;

  constructor(world: World, knobs: Knobs, options: RaftDriverOptions & { lyingDisk?: boolean } = {}) {
    this.world = world;
    this.knobs = knobs;
    this.lyingDisk = options.lyingDisk ?? false;
    this.#options = { maxAppendEntries: knobs.maxAppendEntries, maxInflight: knobs.maxInflight, ...options };
    this.#network = world.random("network");
    this.#disks = world.random("disk");
    this.#workload = world.random("workload");
    this.#nemesis = world.random("nemesis");
    this.masters = Array.from({ length: knobs.masters }, (_, n) => new Master(`m${n + 1}`));
    this.configuration = { voters: [this.masters.map(({ id }) => id)], learners: [] };
    for (const master of this.masters) this.start(master);
    this.#every(knobs.proposeEveryMs, this.#workload, () => this.#proposeSomewhere());
    this.#every(knobs.readEveryMs, this.#workload, () => this.#readSomewhere());
    this.#every(knobs.crashEveryMs, this.#nemesis, () => this.#crashSomeone());
    this.#every(knobs.partitionEveryMs, this.#nemesis, () => this.#partition());
  }

  #every(meanMs: number, random: () => number, act: () => void): void {
    if (meanMs <= 0) return;
    const again = () =>
      this.world.schedule(meanMs * (0.5 + random()), () => {
        act();
        again();
      });
    again();
  }

  run(forMs: number): void {
    this.world.run(this.world.now + forMs, () => this.check());
  }

  // ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────

  start(master: Master): void {
    const incarnation = ++master.incarnation;
    const alive = () => master.incarnation === incarnation && master.driver !== null;
    const guarded = (run: () => void) => () => {
      if (alive()) run();
    };
    const clock: Clock = {
      now: () => this.world.now,
      setTimeout: (callback, ms) =>
        this.world.schedule(
          ms,
          guarded(() => callback()),
        ),
      clearTimeout: (handle) => {
        if (handle) this.world.cancel(handle as never);
      },
    };
    const chance = this.world.random(`${master.id}/${incarnation}`);
    const { disk } = master;
    // The state machine may have been ahead of what was flushed of the log only in a broken world; here it never is.
    const driver = new RaftDriver(
      master.id,
      {
        term: disk.term,
        vote: disk.vote,
        log: { ...disk.log, entries: disk.log.entries.slice(0, disk.log.length) },
        appliedIndex: disk.state.index,
        configuration: this.configuration,
        configurationIndex: 0,
        earlierConfigurations: [],
      },
      { heartbeatMs: this.knobs.heartbeatMs, electionMs: this.knobs.electionMs },
      {
        clock,
        random: chance,
        send: (message) => this.#send(master, message),
        flush: (write, done) => this.#flush(master, incarnation, write, done),
        defer: (callback) => void this.world.schedule(0, guarded(callback)),
        apply: (entries) => this.#apply(master, entries),
        proposed: (firstIndex, count, term) => {
          const id = this.#nextId - 1;
          if (firstIndex !== null && count === 1) master.waiting.set(firstIndex, { term, id });
        },
        readReady: (id, index) => this.#readReady(master, id, index),
        leaderChanged: () => {},
        sendSnapshot: (to) => this.#offerSnapshot(master, incarnation, to),
        installSnapshot: (offer) => this.#installSnapshot(master, incarnation, offer),
        failed: (cause) => {
          this.#broken ??= cause;
        },
      },
      this.#options,
    );
    master.driver = driver;
    master.waiting.clear();
    master.seen = { role: "", term: disk.term, commit: disk.state.index, applied: disk.state.index, length: 0 };
    driver.start();
  }

  /** As if the power had gone: what was not flushed is lost. */
  crash(master: Master): void {
    master.driver?.stop();
    master.driver = null;
    master.incarnation++;
    master.waiting.clear();
  }

  leader(): Master | undefined {
    return this.masters
      .filter((master) => master.driver?.role === "leader")
      .sort((a, b) => (b.driver as RaftDriver).state.term - (a.driver as RaftDriver).state.term)[0];
  }

  master(id: string): Master {
    return this.masters.find((master) => master.id === id) as Master;
  }

  // ── network ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #send(from: Master, message: RaftMessage): void {
    this.#checkDurableBefore(from, message);
    const bytes = encode(message);
    const copies = this.faultsOn && this.#network() < this.knobs.duplication ? 2 : 1;
    for (let n = 0; n < copies; n++) {
      if (this.faultsOn && this.#network() < this.knobs.loss) continue;
      const slow = this.faultsOn && this.#network() < 0.02 ? 10 : 1;
      this.world.schedule(this.#network() * this.knobs.maxDelayMs * slow, () => {
        if (this.cut.has(`${from.id}→${message.to}`)) return;
        this.master(message.to).driver?.receive(decode(bytes) as RaftMessage);
      });
    }
  }

  isolate(id: string): void {
    for (const { id: other } of this.masters)
      if (other !== id) {
        this.cut.add(`${id}→${other}`);
        this.cut.add(`${other}→${id}`);
      }
  }

  heal(): void {
    this.cut.clear();
  }

  #partition(): void {
    if (!this.faultsOn) return;
    this.heal();
    const random = this.#nemesis;
    const dice = random();
    if (dice < 0.3) return;
    const some = () => this.masters[Math.floor(random() * this.masters.length)]?.id as string;
    if (dice < 0.55) this.isolate(some());
    else if (dice < 0.75) this.isolate(this.leader()?.id ?? some());
    else {
      // Asymmetric and partial cuts: each direction for itself.
      for (const a of this.masters)
        for (const b of this.masters) if (a !== b && random() < 0.3) this.cut.add(`${a.id}→${b.id}`);
    }
  }

  #crashSomeone(): void {
    if (!this.faultsOn) return;
    const random = this.#nemesis;
    const leader = this.leader();
    const victim =
      random() < 0.5 && leader ? leader : (this.masters[Math.floor(random() * this.masters.length)] as Master);
    this.#crashFor(victim, random() * 3000);
  }

  #crashFor(victim: Master, ms: number): void {
    if (!victim.driver) return;
    this.crash(victim);
    const { incarnation } = victim;
    this.world.schedule(ms, () => {
      if (victim.driver === null && victim.incarnation === incarnation) this.start(victim);
    });
  }

  // ── disk and state machine ───────────────────────────────────────────────────────────────────────────────────────

  #flush(master: Master, incarnation: number, write: LogWrite, done: (error?: unknown) => void): void {
    const store = () => {
      const { disk } = master;
      if (write.hard) {
        if (write.hard.term < disk.term) throw new Violation("I7", `${master.id} lowers its term on disk`);
        if (write.hard.term === disk.term && disk.vote !== null && write.hard.vote !== disk.vote)
          throw new Violation("I7", `${master.id} changes its vote in term ${disk.term}`);
        disk.term = write.hard.term;
        disk.vote = write.hard.vote;
      }
      for (const { truncateFrom, entries } of write.changes) {
        if (truncateFrom !== null) disk.log = truncate(disk.log, truncateFrom);
        const added = entries.filter((entry) => entry.index > lastIndex(disk.log));
        disk.log = append({ ...disk.log, entries: disk.log.entries.slice(0, disk.log.length) }, added);
      }
    };
    const end = () => {
      if (master.incarnation !== incarnation) return;
      store();
      if (!this.lyingDisk) done();
    };
    this.world.schedule(this.#disks() * this.knobs.maxFlushMs, end);
    if (this.lyingDisk) done();
  }

  /** I9: nothing leaves before what it promises is on disk. */
  #checkDurableBefore(from: Master, message: RaftMessage): void {
    if (this.lyingDisk) return;
    const { disk, id } = from;
    const promises = ["rpc.vote", "rpc.voteReply", "rpc.preVoteReply", "rpc.appendReply", "rpc.beatReply"];
    if (promises.includes(message.type) && disk.term < message.term)
      throw new Violation("I9", `${id} sends ${message.type} of term ${message.term} with ${disk.term} on disk`);
    if (message.type === "rpc.voteReply" && message.granted && disk.vote !== message.to)
      throw new Violation("I9", `${id} grants a vote that is not on its disk`);
    if (message.type === "rpc.vote" && disk.vote !== id)
      throw new Violation("I9", `${id} campaigns before its own vote is on disk`);
    if (message.type === "rpc.appendReply" && message.success && lastIndex(disk.log) < message.match)
      throw new Violation("I9", `${id} confirms ${message.match} with ${lastIndex(disk.log)} on disk`);
  }

  #apply(master: Master, entries: readonly RaftEntry[]): void {
    const { disk } = master;
    for (const entry of entries) {
      if (entry.index !== disk.state.index + 1)
        throw new Violation("I6", `${master.id} applies ${entry.index} after ${disk.state.index}`);
      if (!this.lyingDisk && lastIndex(disk.log) < entry.index)
        throw new Violation("I6", `${master.id} applies ${entry.index}, which is not on its disk`);
      disk.state = { index: entry.index, term: entry.term, hash: fold(disk.state.hash, entry) };
      const known = this.#stateAt.get(entry.index);
      if (known !== undefined && known !== disk.state.hash)
        throw new Violation("I5", `${master.id} applies another entry at ${entry.index}`);
      this.#stateAt.set(entry.index, disk.state.hash);
      const waiting = master.waiting.get(entry.index);
      if (waiting) {
        master.waiting.delete(entry.index);
        if (waiting.term === entry.term) {
          this.acknowledged.set(waiting.id, { index: entry.index, at: this.world.now });
          this.#highestAcknowledged = Math.max(this.#highestAcknowledged, entry.index);
        }
      }
    }
    this.#maybeCompact(master);
  }

  #maybeCompact(master: Master): void {
    const { disk, driver } = master;
    const keep = this.knobs.compactAfter;
    if (keep === 0 || !driver || disk.state.index - disk.log.baseIndex < 2 * keep) return;
    const upTo = disk.state.index - keep;
    this.world.schedule(0, () => {
      if (master.driver !== driver || disk.log.baseIndex >= upTo || lastIndex(disk.log) < upTo) return;
      disk.log = compact(disk.log, upTo);
      driver.send({ type: "log.compacted", index: upTo });
    });
  }

  // ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────────────

  #offerSnapshot(leader: Master, incarnation: number, to: string): void {
    const { driver, disk } = leader;
    if (
      !driver ||
      leader.incarnation !== incarnation ||
      driver.role !== "leader" ||
      driver.state.progress[to]?.mode !== "snapshot"
    )
      return;
    this.#send(leader, {
      type: "rpc.snapshotOffer",
      from: leader.id,
      to,
      term: driver.state.term,
      snapshotIndex: disk.state.index,
      snapshotTerm: disk.state.term,
      configuration: this.configuration,
      url: String(disk.state.hash),
      sizeBytes: 0,
      sha256: "0".repeat(64),
    });
    this.world.schedule(500, () => this.#offerSnapshot(leader, incarnation, to));
  }

  #installSnapshot(master: Master, incarnation: number, offer: RaftMessageOf<"rpc.snapshotOffer">): void {
    this.world.schedule(this.#disks() * this.knobs.maxFlushMs * 5, () => {
      if (master.incarnation !== incarnation || !master.driver) return;
      const { disk, driver } = master;
      if (offer.snapshotIndex > disk.state.index) {
        const { snapshotIndex: index, snapshotTerm: term } = offer;
        const keeps = termAt(disk.log, index) === term;
        disk.log = keeps ? compact(disk.log, index) : emptyLog(index, term);
        disk.state = { index, term, hash: Number(offer.url) };
      }
      driver.send({
        type: "snapshot.installed",
        index: offer.snapshotIndex,
        term: offer.snapshotTerm,
        configuration: offer.configuration,
        success: true,
      });
      master.seen.applied = Math.max(master.seen.applied, driver.state.appliedIndex);
    });
  }

  // ── workload ─────────────────────────────────────────────────────────────────────────────────────────────────────

  propose(master: Master): number {
    const id = this.#nextId++;
    master.driver?.send({ type: "client.propose", entries: [{ kind: "command", data: encode(id) }] });
    return id;
  }

  #proposeSomewhere(): void {
    if (!this.faultsOn) return;
    const leaders = this.masters.filter((master) => master.driver?.role === "leader");
    const chosen = leaders[Math.floor(this.#workload() * leaders.length)];
    if (chosen) this.propose(chosen);
  }

  read(master: Master): number {
    const id = this.#nextId++;
    this.#reads.set(`${master.id}/${id}`, { startedAt: this.world.now, floor: this.#highestAcknowledged });
    master.driver?.send({ type: "client.read", id });
    return id;
  }

  #readSomewhere(): void {
    const ready = this.masters.filter((master) => master.driver?.role === "leader");
    const chosen = ready[Math.floor(this.#workload() * ready.length)];
    if (chosen) this.read(chosen);
  }

  /** I10: a read that was confirmed sees every change that was acknowledged before it was asked. */
  #readReady(master: Master, id: number, index: number | null): void {
    const key = `${master.id}/${id}`;
    const asked = this.#reads.get(key);
    this.#reads.delete(key);
    if (!asked || index === null) return;
    this.readsDone++;
    if (index < asked.floor)
      throw new Violation("I10", `${master.id} answers a read at ${index}; ${asked.floor} was acknowledged before`);
  }

  // ── invariants ───────────────────────────────────────────────────────────────────────────────────────────────────

  check(): void {
    if (this.#broken) throw this.#broken;
    for (const master of this.masters) if (master.driver) this.#checkMaster(master, master.driver);
  }

  #checkMaster(master: Master, driver: RaftDriver): void {
    const { state, role } = driver;
    const { seen } = master;
    if (state.commitIndex < seen.commit) throw new Violation("I6", `${master.id}'s commit index falls`);
    if (state.appliedIndex < seen.applied) throw new Violation("I6", `${master.id}'s applied index falls`);
    if (state.appliedIndex > Math.min(state.commitIndex, lastIndex(state.log)))
      throw new Violation("I6", `${master.id} applied ${state.appliedIndex}, committed ${state.commitIndex}`);
    if (state.term < seen.term) throw new Violation("I7", `${master.id}'s term falls`);
    const isNewLeader = role === "leader" && (seen.role !== "leader" || seen.term !== state.term);
    if (isNewLeader) this.#checkNewLeader(master, driver);
    if (role === "leader" && !isNewLeader && lastIndex(state.log) < seen.length)
      throw new Violation("I2", `${master.id} shortens its own log while it leads`);
    if (state.commitIndex > seen.commit || isNewLeader) this.#checkCommitted(master, driver, seen.commit);
    for (let index = Math.max(seen.length, state.log.baseIndex) + 1; index <= lastIndex(state.log); index++)
      this.#checkEntry(master, driver, index);
    seen.role = role;
    seen.term = state.term;
    seen.commit = state.commitIndex;
    seen.applied = state.appliedIndex;
    seen.length = lastIndex(state.log);
    if (isNewLeader && this.faultsOn && this.#nemesis() < this.knobs.newLeaderKiller)
      this.world.schedule(this.#nemesis() * 80, () => this.#crashFor(master, this.#nemesis() * 2500));
  }

  #checkNewLeader(master: Master, driver: RaftDriver): void {
    const { term, log } = driver.state;
    this.elections++;
    const other = this.#leaderOfTerm.get(term);
    if (other !== undefined && other !== master.id)
      throw new Violation("I1", `${other} and ${master.id} lead term ${term}`);
    this.#leaderOfTerm.set(term, master.id);
    for (let index = Math.max(1, log.baseIndex); index <= this.maxCommitted; index++) {
      const committed = this.#committed.get(index);
      if (committed && termAt(log, index) !== committed.term)
        throw new Violation("I4", `${master.id} leads term ${term} without committed entry ${index}`);
    }
  }

  /** I3: entries with the same index and term are the same, and so is everything before them. */
  #checkEntry(_: Master, driver: RaftDriver, index: number): void {
    const entry = entryAt(driver.state.log, index) as RaftEntry;
    const before = termAt(driver.state.log, index - 1) ?? 0;
    const key = `${index}/${entry.term}`;
    const hash = Bun.hash.crc32(entry.data, before);
    const known = this.#entryHash.get(key);
    if (known !== undefined && known !== hash) throw new Violation("I3", `two entries ${key}`);
    this.#entryHash.set(key, hash);
  }

  #checkCommitted(master: Master, driver: RaftDriver, from: number): void {
    const { log, commitIndex } = driver.state;
    for (let index = Math.max(from, log.baseIndex) + 1; index <= commitIndex; index++) {
      const entry = entryAt(log, index);
      if (!entry) throw new Violation("I6", `${master.id} commits ${index}, which it does not hold`);
      const hash = Bun.hash.crc32(entry.data);
      const known = this.#committed.get(index);
      if (known && (known.term !== entry.term || known.hash !== hash))
        throw new Violation("I5", `${master.id} commits another entry at ${index} than was committed before`);
      this.#committed.set(index, { term: entry.term, hash });
    }
    this.maxCommitted = Math.max(this.maxCommitted, commitIndex);
  }

  // ── phases ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Faults end; within bounded time there is a leader, everyone agrees, and new commands succeed. */
  settle(forMs = 15_000): void {
    this.faultsOn = false;
    Object.assign(this.knobs, { maxDelayMs: CALM.maxDelayMs, maxFlushMs: CALM.maxFlushMs });
    this.heal();
    for (const master of this.masters) if (!master.driver) this.start(master);
    this.run(forMs);
    const leader = this.leader();
    if (!leader?.driver?.isReady) throw new Violation("liveness", `no leader within ${forMs} ms of calm`);
    const id = this.propose(leader);
    this.run(3000);
    if (!this.acknowledged.has(id)) throw new Violation("liveness", "a command in calm weather was not acknowledged");
    for (const { index } of this.acknowledged.values())
      if (index > this.maxCommitted) throw new Violation("I8", `acknowledged ${index} is not committed`);
    const ahead = Math.max(...this.masters.map(({ disk }) => disk.state.index));
    for (const { id: masterId, disk } of this.masters)
      if (disk.state.index < ahead - 200)
        throw new Violation("liveness", `${masterId} applied ${disk.state.index} of ${ahead}`);
    if (!hasQuorum(this.configuration, (masterId) => this.master(masterId).disk.state.index >= leaderCommit(leader)))
      throw new Violation("liveness", "no quorum applied what the leader committed");
  }
}

const leaderCommit = (leader: Master): number => (leader.driver as RaftDriver).state.commitIndex - 50;

/** One seed: a stormy time of its own kind, then calm. @returns how many events it took */
export function simulateRaft(
  seed: number,
  options: RaftDriverOptions & { lyingDisk?: boolean; knobs?: Partial<Knobs>; stormMs?: number } = {},
) {
  const world = new World(seed);
  const group = new RaftGroup(world, { ...drawKnobs(world), ...options.knobs }, options);
  group.run(options.stormMs ?? 20_000);
  group.settle();
  return { events: world.events, committed: group.maxCommitted, elections: group.elections, reads: group.readsDone };
}
