/**
 * A group of masters as far as Raft goes, in a simulated world: the shipped machine, rules and driver, on disks that lose
 * what was not flushed, over a network that loses, doubles, delays and cuts. After every event `RaftChecks` looks at the
 * master that moved. Scenarios steer it through `hold`, `cut`, `crash`, `pause` and `breakDisk`.
 */

import { RaftDriver, type RaftDriverOptions } from "../../actors/master/group/raft-driver.ts";
import type { Configuration, RaftEntry, RaftMessage, RaftMessageOf } from "../../actors/messages/raft.ts";
import type { Clock } from "../../actors/node/clock.ts";
import { decode, encode } from "../../actors/node/http/wire.ts";
import { append, compact, emptyLog, lastIndex, termAt, truncate } from "../../actors/rules/raft/log-tail.ts";
import {
  configurationAt,
  decodeConfiguration,
  encodeConfiguration,
  type MembershipChange,
  planChange,
} from "../../actors/rules/raft/membership.ts";
import { hasQuorum, membersOf } from "../../actors/rules/raft/quorum.ts";
import type { LogWrite } from "../../databases/master-log.ts";
import { CALM, type Knobs } from "./knobs.ts";
import { type AppliedState, type Disk, fold, RaftChecks, type Seen, Violation } from "./raft-checks.ts";
import { RaftNemesis } from "./raft-nemesis.ts";
import type { World } from "./world.ts";

const SNAPSHOT_OFFER_EVERY_MS = 500;
/** The applied state is flushed after so many entries, if nothing else asks for it. */
const STATE_FLUSH_EVERY = 64;

export interface GroupOptions extends RaftDriverOptions {
  /** A planted bug: the disk says "flushed" before it is. */
  lyingDisk?: boolean;
  /** What is on the disks at the start, by master id. */
  disks?: Record<string, Disk>;
}

/** Belongs to no group yet. */
const OUTSIDER: Configuration = { voters: [[]], learners: [] };

class DiskFailure extends Error {
  override name = "DiskFailure";
}

export const blankDisk = (): Disk => ({
  term: 0,
  vote: null,
  log: emptyLog(),
  base: null,
  state: { index: 0, term: 0, hash: 0 },
});

export type DiskTrouble = "slow" | "stuck" | "error";

export class Master {
  driver: RaftDriver | null = null;
  incarnation = 0;
  /** Proposals of this incarnation that wait for their entry to be applied. */
  readonly waiting = new Map<number, { term: number; id: number }>();
  seen: Seen = { role: "", term: 0, commit: 0, applied: 0, length: 0 };
  /** Did something since it was last checked. */
  hasMoved = false;
  /** While it does not run: what happens to it then, all at once and late. */
  late: { at: number; run: () => void }[] | null = null;
  diskTrouble: DiskTrouble | null = null;
  /** The write under way, and how to end it. */
  writing: { store: () => void; end: () => void; isDue: boolean } | null = null;
  /** Applied states since the state was last flushed, oldest first. */
  unflushed: AppliedState[] = [];
  snapshotsInstalled = 0;

  constructor(
    readonly id: string,
    readonly disk: Disk,
    readonly clockRate: number,
  ) {}

  /** @throws if it is down */
  get running(): RaftDriver {
    if (!this.driver) throw new Error(`${this.id} is down`);
    return this.driver;
  }
}

/** A message that a scenario holds back. */
export interface Held {
  message: RaftMessage;
  deliver: () => void;
}

/** Told of every event that reaches a machine, for recordings. */
export type Tap = (master: Master, run: () => void, cause: RaftMessage | null) => void;

export class RaftGroup {
  readonly world: World;
  readonly masters: readonly Master[];
  readonly knobs: Knobs;
  /** Of the founders. */
  readonly configuration: Configuration;
  readonly checks = new RaftChecks();
  readonly #network: () => number;
  readonly #disks: () => number;
  readonly #workload: () => number;
  /** Draws what goes wrong. */
  readonly chance: () => number;
  readonly #options: RaftDriverOptions;
  readonly #nemesis: RaftNemesis;
  readonly #byId: Map<string, Master>;
  /** `a→b`: messages from a to b are lost. */
  readonly cut = new Set<string>();
  /** By link: nothing sent from now on arrives before. */
  readonly #arrivedUntil = new Map<string, number>();
  faultsOn = true;
  /** Every message that was sent goes by here first; true: it is held until `release`. */
  hold: (message: RaftMessage) => boolean = () => false;
  readonly held: Held[] = [];
  onSend: (message: RaftMessage) => void = () => {};
  onStart: (master: Master) => void = () => {};
  tap: Tap | null = null;
  /** What arrived → what was sent. */
  readonly sentAs = new WeakMap<RaftMessage, RaftMessage>();
  readonly #reads = new Map<number, { floor: number; answer: (index: number | null) => void }>();
  #nextId = 1;
  #broken: unknown;
  readsDone = 0;
  snapshotOffers = 0;
  readonly lyingDisk: boolean;

  constructor(world: World, knobs: Knobs, { lyingDisk = false, disks = {}, ...options }: GroupOptions = {}) {
    this.world = world;
    this.knobs = { ...knobs };
    this.lyingDisk = lyingDisk;
    this.#options = { maxAppendEntries: knobs.maxAppendEntries, maxInflight: knobs.maxInflight, ...options };
    this.#network = world.random("network");
    this.#disks = world.random("disk");
    this.#workload = world.random("workload");
    this.chance = world.random("nemesis");
    const clocks = world.random("clocks");
    this.masters = Array.from({ length: knobs.masters + knobs.spares }, (_, n) => {
      const id = `m${n + 1}`;
      return new Master(id, disks[id] ?? blankDisk(), 1 + knobs.clockDrift * (2 * clocks() - 1));
    });
    this.#byId = new Map(this.masters.map((master) => [master.id, master]));
    this.configuration = { voters: [this.masters.slice(0, knobs.masters).map(({ id }) => id)], learners: [] };
    this.every("proposals", knobs.proposeEveryMs, () => this.#proposeSomewhere());
    this.every("reads", knobs.readEveryMs, () => this.#readSomewhere());
    this.#nemesis = new RaftNemesis(this);
    this.#nemesis.begin();
  }

  /** Starts everyone. Apart from the constructor, so that scenarios and recordings can set their hooks before. */
  boot(): this {
    for (const master of this.masters) this.start(master);
    return this;
  }

  /** Does something again and again, at moments drawn for this purpose alone, while faults are on. */
  every(purpose: string, meanMs: number, act: () => void): void {
    if (meanMs <= 0) return;
    const random = this.world.random(`when: ${purpose}`);
    const again = () =>
      this.world.schedule(meanMs * (0.5 + random()), () => {
        if (this.faultsOn) act();
        again();
      });
    again();
  }

  run(forMs: number): void {
    this.world.run(this.world.now + forMs, this.check);
  }

  /** Runs until it is so. @throws Violation if it is not, `withinMs` later */
  until(isSo: () => boolean, withinMs: number, what: string): void {
    const end = this.world.now + withinMs;
    while (!isSo()) {
      if (!this.world.step(end, this.check)) throw new Violation("liveness", `${what}: not within ${withinMs} ms`);
    }
  }

  // ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs `run` as something that happens on this node: late, if the node does not run now. */
  #happens(master: Master, incarnation: number, run: () => void, cause: RaftMessage | null = null): void {
    if (master.incarnation !== incarnation || master.driver === null) return;
    if (master.late) {
      master.late.push({ at: this.world.now, run: () => this.#happens(master, incarnation, run, cause) });
      return;
    }
    master.hasMoved = true;
    if (this.tap) this.tap(master, run, cause);
    else run();
  }

  start(master: Master): void {
    const incarnation = ++master.incarnation;
    const { disk, clockRate } = master;
    const clock: Clock = {
      now: () => this.world.now * clockRate,
      wallTime: () => this.world.now,
      setTimeout: (callback, ms) => {
        const timer = { isCancelled: false, scheduled: null as unknown };
        timer.scheduled = this.world.schedule(ms / clockRate, () =>
          this.#happens(master, incarnation, () => {
            if (!timer.isCancelled) callback();
          }),
        );
        return timer;
      },
      clearTimeout: (handle) => {
        const timer = handle as { isCancelled: boolean; scheduled: never } | undefined;
        if (!timer) return;
        timer.isCancelled = true;
        this.world.cancel(timer.scheduled);
      },
    };
    master.driver = new RaftDriver(
      master.id,
      {
        term: disk.term,
        vote: disk.vote,
        log: { ...disk.log, entries: disk.log.entries.slice(0, disk.log.length) },
        appliedIndex: disk.state.index,
        ...this.#configurationsOf(master),
      },
      { heartbeatMs: this.knobs.heartbeatMs, electionMs: this.knobs.electionMs },
      {
        clock,
        ...{ random: this.world.random(`${master.id}/${incarnation}`), mayLead: () => true },
        send: (message) => this.#send(master, message),
        flush: (write, done) => this.#flush(master, incarnation, write, done),
        defer: (callback) => void this.world.schedule(0, () => this.#happens(master, incarnation, callback)),
        apply: (entries) => this.#apply(master, entries),
        proposed: (firstIndex, count, term) => {
          if (firstIndex !== null && count === 1) master.waiting.set(firstIndex, { term, id: this.#nextId - 1 });
        },
        readReady: (id, index) => this.#readReady(master, id, index),
        leaderChanged: () => {},
        sendSnapshot: (to) => this.#offerSnapshot(master, incarnation, to),
        installSnapshot: (offer) => this.#installSnapshot(master, incarnation, offer),
        failed: (cause) => this.#failed(master, cause),
      },
      this.#options,
    );
    master.waiting.clear();
    master.late = null;
    master.writing = null;
    master.diskTrouble = null;
    master.seen = { role: "", term: disk.term, commit: disk.state.index, applied: disk.state.index, length: 0 };
    master.hasMoved = true;
    this.onStart(master);
    master.driver.start();
  }

  /** What a restart finds of who belongs to the group: at the log's base, and in the log. */
  #configurationsOf({ id, disk }: Master) {
    const isFounder = this.configuration.voters[0]?.includes(id);
    disk.base ??= { index: 0, configuration: isFounder ? this.configuration : OUTSIDER };
    let { index: configurationIndex, configuration } = disk.base;
    const earlierConfigurations: { index: number; configuration: Configuration }[] = [];
    for (const { index, kind, data } of disk.log.entries.slice(0, disk.log.length)) {
      if (kind !== "configuration") continue;
      earlierConfigurations.push({ index: configurationIndex, configuration });
      configuration = decodeConfiguration(data);
      configurationIndex = index;
    }
    return { configuration, configurationIndex, earlierConfigurations };
  }

  #failed(master: Master, cause: unknown): void {
    // P9: the process ends; whoever looks after it starts it again later.
    if (cause instanceof DiskFailure) this.crash(master);
    else this.#broken ??= cause;
  }

  /**
   * As if the power had gone: what was not flushed is lost.
   * @param keepsWrite what becomes of a write under way; by default chance decides
   */
  crash(master: Master, keepsWrite = this.#disks() < 0.5): void {
    if (keepsWrite && master.writing) master.writing.store();
    master.writing = null;
    master.driver?.stop();
    master.driver = null;
    master.incarnation++;
    master.waiting.clear();
    if (this.knobs.lazyState && master.unflushed.length > 0) {
      const kept = Math.floor(this.#disks() * master.unflushed.length);
      master.disk.state = master.unflushed[kept] as AppliedState;
    }
    master.unflushed = [];
  }

  /** The process stands still: timers and messages reach it afterwards, all at once. */
  pause(master: Master): void {
    if (master.driver) master.late ??= [];
  }

  resume(master: Master): void {
    const late = master.late;
    master.late = null;
    const { incarnation } = master;
    const pausedAt = late?.[0]?.at ?? this.world.now;
    // The host looks at the clock now and then; it finds out among the first things that happen.
    if (this.world.now - pausedAt > this.knobs.electionMs)
      late?.splice(Math.min(late.length, Math.floor(this.chance() * 4)), 0, {
        at: this.world.now,
        run: () => this.#happens(master, incarnation, () => master.driver?.send({ type: "host.late" })),
      });
    for (const { run } of late ?? []) this.world.schedule(0, run);
  }

  leader(): Master | undefined {
    let found: Master | undefined;
    for (const master of this.masters)
      if (master.driver?.role === "leader" && (!found || master.driver.state.term > found.running.state.term))
        found = master;
    return found;
  }

  master(id: string): Master {
    const master = this.#byId.get(id);
    if (!master) throw new Error(`there is no ${id}`);
    return master;
  }

  /** Makes this master campaign, as if its leader had asked for it, until it leads and its first entry is applied. */
  elect(id: string): Master {
    const master = this.master(id);
    for (let tries = 0; tries < 20; tries++) {
      this.campaign(master);
      this.run(60);
      if (master.driver?.isReady) return master;
    }
    throw new Violation("liveness", `${id} is not elected`);
  }

  campaign(master: Master): void {
    const { term } = master.running.state;
    master.hasMoved = true;
    master.running.receive({ type: "rpc.timeoutNow", from: "nobody", to: master.id, term });
  }

  // ── network ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #send(from: Master, message: RaftMessage): void {
    if (!this.lyingDisk) this.checks.sent(from.id, from.disk, message);
    this.onSend(message);
    const bytes = encode(message);
    const copies = this.faultsOn && this.#network() < this.knobs.duplication ? 2 : 1;
    // One decoding serves all copies: nobody changes what they were sent.
    let decoded: RaftMessage | null = null;
    const deliver = () => {
      if (decoded === null) {
        decoded = decode(bytes) as RaftMessage;
        this.sentAs.set(decoded, message);
      }
      this.deliver(decoded);
    };
    if (this.hold(message)) {
      this.held.push({ message, deliver });
      return;
    }
    for (let n = 0; n < copies; n++) {
      if (this.faultsOn && this.#network() < this.knobs.loss) continue;
      const slow = this.faultsOn && this.#network() < 0.02 ? 10 : 1;
      this.world.schedule(this.#delay(message, this.#network() * this.knobs.maxDelayMs * slow), deliver);
    }
  }

  #delay({ from, to }: RaftMessage, drawnMs: number): number {
    if (!this.knobs.inOrder) return drawnMs;
    const link = `${from}→${to}`;
    const at = Math.max(this.world.now + drawnMs, this.#arrivedUntil.get(link) ?? 0);
    this.#arrivedUntil.set(link, at);
    return at - this.world.now;
  }

  /** Brings a message to where it goes, now, if the network lets it through. */
  deliver(message: RaftMessage): void {
    const to = this.master(message.to);
    if (this.cut.has(`${message.from}→${message.to}`) || to.driver === null) {
      this.#tellUnreachable(message);
      return;
    }
    this.#happens(to, to.incarnation, () => to.driver?.receive(message), message);
  }

  /** The sender's transport may notice that nobody took it. */
  #tellUnreachable({ from, to }: RaftMessage): void {
    const sender = this.#byId.get(from);
    if (!sender || !this.faultsOn || this.#network() > 0.2) return;
    const { incarnation } = sender;
    this.world.schedule(this.#network() * this.knobs.maxDelayMs, () =>
      this.#happens(sender, incarnation, () => sender.driver?.send({ type: "peer.unreachable", id: to })),
    );
  }

  /** Lets the held messages go that fit, in the order they were sent. */
  release(fits: (message: RaftMessage) => boolean = () => true): void {
    for (const { message, deliver } of this.held.splice(0)) {
      if (fits(message)) this.world.schedule(0, deliver);
      else this.held.push({ message, deliver });
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

  // ── what an operator asks for ────────────────────────────────────────────────────────────────────────────────────

  /** @returns why not, or null: it is in the leader's log */
  change(leader: Master, change: MembershipChange): string | null {
    const plan = planChange(leader.running.state, change, this.world.now * leader.clockRate);
    if ("refused" in plan) return plan.refused;
    this.configure(leader, plan.configuration);
    return null;
  }

  /** Puts a configuration into the leader's log, allowed or not. @returns a number that is acknowledged with it */
  configure(leader: Master, configuration: Configuration): number {
    return this.#propose(leader, "configuration", encodeConfiguration(configuration));
  }

  transfer(leader: Master, to: string): void {
    this.#happens(leader, leader.incarnation, () => leader.driver?.send({ type: "admin.transfer", to }));
  }

  /** Lets go of a removed master that knows it. */
  forget(leader: Master, id: string): void {
    this.#happens(leader, leader.incarnation, () => leader.driver?.send({ type: "admin.forget", id }));
  }

  // ── disk and state machine ───────────────────────────────────────────────────────────────────────────────────────

  #flush(master: Master, incarnation: number, write: LogWrite, done: (error?: unknown) => void): void {
    const store = () => {
      const { disk } = master;
      if (write.hard) {
        this.checks.hardState(master.id, disk, write.hard);
        disk.term = write.hard.term;
        disk.vote = write.hard.vote;
      }
      for (const { truncateFrom, entries } of write.changes) {
        if (truncateFrom !== null) disk.log = truncate(disk.log, truncateFrom);
        const [first] = entries;
        if (first && first.index !== lastIndex(disk.log) + 1)
          throw new Violation("P7", `${master.id} stores ${first.index} behind ${lastIndex(disk.log)}`);
        disk.log = append({ ...disk.log, entries: disk.log.entries.slice(0, disk.log.length) }, entries);
      }
    };
    const end = () => {
      if (master.incarnation !== incarnation || master.writing !== writing) return;
      if (master.diskTrouble === "stuck") {
        writing.isDue = true;
        return;
      }
      master.writing = null;
      if (master.diskTrouble === "error") {
        // Nobody knows whether a failed flush reached the disk.
        if (this.#disks() < 0.5) store();
        done(new DiskFailure("no space left on device"));
        return;
      }
      store();
      if (!this.lyingDisk) done();
    };
    const writing = { store, end: () => this.#happens(master, incarnation, end), isDue: false };
    const slow = master.diskTrouble === "slow" ? 300 + this.#disks() * 1200 : 0;
    const delay = slow + this.#disks() * this.knobs.maxFlushMs;
    if (this.lyingDisk) {
      // Several writes may be under way; they end in order, for each takes as long as the one before or longer.
      this.#lieAbout(master, incarnation, store, delay);
      done();
      return;
    }
    master.writing = writing;
    this.world.schedule(delay, writing.end);
  }

  #lieAbout(master: Master, incarnation: number, store: () => void, delayMs: number): void {
    const behind = Math.max(this.world.now + delayMs, this.#lies.get(master) ?? 0);
    this.#lies.set(master, behind);
    this.world.schedule(behind - this.world.now, () => {
      if (master.incarnation === incarnation) store();
    });
  }
  readonly #lies = new Map<Master, number>();

  breakDisk(master: Master, trouble: DiskTrouble): void {
    master.diskTrouble = trouble;
  }

  mendDisk(master: Master): void {
    master.diskTrouble = null;
    if (master.writing?.isDue) master.writing.end();
  }

  #apply(master: Master, entries: readonly RaftEntry[]): void {
    const { disk } = master;
    for (const entry of entries) {
      if (entry.index !== disk.state.index + 1)
        throw new Violation("I6", `${master.id} applies ${entry.index} after ${disk.state.index}`);
      if (this.knobs.lazyState) master.unflushed.push(disk.state);
      disk.state = { index: entry.index, term: entry.term, hash: fold(disk.state.hash, entry) };
      if (!this.lyingDisk) this.checks.applied(master.id, disk, entry);
      const waiting = master.waiting.get(entry.index);
      if (waiting) {
        master.waiting.delete(entry.index);
        if (waiting.term === entry.term) this.checks.acknowledged(waiting.id, entry);
      }
    }
    if (master.unflushed.length > STATE_FLUSH_EVERY) master.unflushed = [];
    this.#maybeCompact(master);
  }

  #maybeCompact(master: Master): void {
    const { disk, driver } = master;
    const keep = this.knobs.compactAfter;
    if (keep === 0 || !driver || disk.state.index - disk.log.baseIndex < 2 * keep) return;
    const upTo = disk.state.index - keep;
    const { incarnation } = master;
    this.world.schedule(0, () =>
      this.#happens(master, incarnation, () => {
        if (disk.log.baseIndex >= upTo || lastIndex(disk.log) < upTo) return;
        // Nothing is deleted from the log that the state on disk does not hold.
        master.unflushed = [];
        const { configuration: last, configurationIndex, earlierConfigurations } = this.#configurationsOf(master);
        const known = [...earlierConfigurations, { index: configurationIndex, configuration: last }];
        disk.base = known.findLast(({ index }) => index <= upTo) ?? disk.base;
        disk.log = compact(disk.log, upTo);
        driver.send({ type: "log.compacted", index: upTo });
      }),
    );
  }

  // ── snapshots ────────────────────────────────────────────────────────────────────────────────────────────────────

  #offerSnapshot(leader: Master, incarnation: number, to: string): void {
    const { driver, disk } = leader;
    if (!driver || leader.incarnation !== incarnation) return;
    if (driver.role !== "leader" || driver.state.progress[to]?.mode !== "snapshot") return;
    this.snapshotOffers++;
    this.#send(leader, {
      type: "rpc.snapshotOffer",
      from: leader.id,
      to,
      term: driver.state.term,
      snapshotIndex: disk.state.index,
      snapshotTerm: disk.state.term,
      configuration: configurationAt(driver.state, disk.state.index),
      url: String(disk.state.hash),
      sizeBytes: 0,
      sha256: "0".repeat(64),
    });
    this.world.schedule(SNAPSHOT_OFFER_EVERY_MS, () =>
      this.#happens(leader, incarnation, () => this.#offerSnapshot(leader, incarnation, to)),
    );
  }

  #installSnapshot(master: Master, incarnation: number, offer: RaftMessageOf<"rpc.snapshotOffer">): void {
    const adopt = () => {
      const { disk, driver } = master;
      if (!driver) return;
      // As the host does: what waits is flushed first, then the pointer to the new state is committed.
      driver.flushNow();
      if (master.writing) {
        this.world.schedule(1, () => this.#happens(master, incarnation, adopt));
        return;
      }
      const { snapshotIndex: index, snapshotTerm: term } = offer;
      if (index <= disk.state.index) return;
      disk.log = termAt(disk.log, index) === term ? compact(disk.log, index) : emptyLog(index, term);
      disk.base = { index, configuration: offer.configuration };
      disk.state = { index, term, hash: Number(offer.url) };
      master.unflushed = [];
      master.snapshotsInstalled++;
      driver.send({ type: "snapshot.installed", index, term, configuration: offer.configuration, success: true });
    };
    this.world.schedule(this.#disks() * this.knobs.maxFlushMs * 5, () => this.#happens(master, incarnation, adopt));
  }

  // ── workload ─────────────────────────────────────────────────────────────────────────────────────────────────────

  propose(master: Master): number {
    return this.#propose(master, "command", encode(this.#nextId));
  }

  #propose(master: Master, kind: RaftEntry["kind"], data: Uint8Array): number {
    const id = this.#nextId++;
    master.hasMoved = true;
    master.driver?.send({ type: "client.propose", entries: [{ kind, data }] });
    return id;
  }

  #proposeSomewhere(): void {
    const leaders = this.masters.filter(({ driver, late }) => driver?.role === "leader" && late === null);
    const chosen = leaders[Math.floor(this.#workload() * leaders.length)];
    if (chosen) this.propose(chosen);
  }

  /** @param answer the index that the read is good for, or null: ask elsewhere */
  read(master: Master, answer: (index: number | null) => void = () => {}): void {
    const id = this.#nextId++;
    this.#reads.set(id, { floor: this.checks.highestAcknowledged, answer });
    this.#happens(master, master.incarnation, () => master.driver?.send({ type: "client.read", id }));
  }

  #readSomewhere(): void {
    const leaders = this.masters.filter(({ driver }) => driver?.role === "leader");
    const chosen = leaders[Math.floor(this.#workload() * leaders.length)];
    if (chosen) this.read(chosen);
  }

  #readReady(master: Master, id: number, index: number | null): void {
    const asked = this.#reads.get(id);
    this.#reads.delete(id);
    asked?.answer(index);
    if (!asked || index === null) return;
    this.readsDone++;
    this.checks.readAnswered(master.id, index, asked.floor);
  }

  // ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────

  readonly check = (): void => {
    if (this.#broken) throw this.#broken;
    for (const master of this.masters) {
      if (!master.hasMoved) continue;
      master.hasMoved = false;
      if (!master.driver || !this.checks.check(master.id, master.driver, master.seen)) continue;
      if (!this.faultsOn || this.chance() >= this.knobs.newLeaderKiller) continue;
      const { incarnation } = master;
      this.world.schedule(this.chance() * 80, () => {
        if (master.incarnation === incarnation) this.#nemesis.crashFor(master, this.chance() * 2500);
      });
    }
  };

  /** Faults end; within bounded time there is a leader, everyone agrees, and new commands succeed. */
  settle(forMs = 15_000): void {
    this.faultsOn = false;
    Object.assign(this.knobs, { maxDelayMs: CALM.maxDelayMs, maxFlushMs: CALM.maxFlushMs });
    this.heal();
    this.hold = () => false;
    this.release();
    for (const master of this.masters) {
      if (!master.driver) this.start(master);
      if (master.late) this.resume(master);
      this.mendDisk(master);
    }
    this.run(forMs);
    const leader = this.leader();
    if (!leader?.driver?.isReady) throw new Violation("liveness", `no leader within ${forMs} ms of calm`);
    const id = this.propose(leader);
    this.run(3000);
    if (!this.checks.isAcknowledged(id))
      throw new Violation("liveness", "a command in calm weather was not acknowledged");
    this.checks.checkAcknowledged();
    const { commitIndex, configuration } = leader.running.state;
    for (const other of membersOf(configuration)) {
      const { state } = this.master(other).disk;
      if (state.index < commitIndex)
        throw new Violation("liveness", `${other} applied ${state.index} of ${commitIndex}`);
    }
    if (!hasQuorum(configuration, (other) => this.master(other).disk.state.hash === leader.disk.state.hash))
      throw new Violation("I5", "no quorum has the leader's state");
  }
}
