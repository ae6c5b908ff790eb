/**
 * The metadata engine: puts commands into one durable order that a majority of the masters agrees on, applies them, and
 * answers with what they did.
 *
 * All commands that arrive in one turn of the event loop share one flush (group commit). A command is answered after it
 * is committed and applied here. Reads are confirmed by a quorum before they look at the state (ReadIndex).
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Genesis, LogDamaged, type MasterIdentity, MasterLog } from "../../../databases/master-log.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import type { MetadataStore, Queries } from "../../../databases/metadata/store.ts";
import type { Command, CommandResult, ValueOf } from "../../messages/commands.ts";
import { type ErrorCode, Refusal } from "../../messages/errors.ts";
import { MAX_TERM, type NodeId } from "../../messages/primitives.ts";
import type { Configuration, RaftEntry, RaftMessage, RaftMessageOf } from "../../messages/raft.ts";
import { type Clock, systemClock } from "../../node/clock.ts";
import { decode, encode } from "../../node/http/wire.ts";
import type { Deciding } from "../../rules/decide/decision.ts";
import { type Proposal, RULES, type Rules } from "../../rules/decide/exactly-once.ts";
import type { Reads } from "../../rules/decide/state.ts";
import { entryAt, lastIndex } from "../../rules/raft/log-tail.ts";
import { encodeConfiguration } from "../../rules/raft/membership.ts";
import { membersOf } from "../../rules/raft/quorum.ts";
import type { RaftTimings } from "../../rules/raft/state.ts";
import type { MetadataPort, Outcome } from "../metadata-port.ts";
import { RaftDriver } from "./raft-driver.ts";
import { dropOtherGenerations, openState, statePath } from "./state-files.ts";

/** Commands that may wait for their commit, and their length as encoded; more are refused. */
const MAX_PENDING = 20_000;
const MAX_PENDING_BYTES = 64 << 20;
/** Entries proposed at once: more would hold up the event loop. */
const MAX_BATCH = 512;
const APPLIED_AT_ONCE = 256;
const COMPACTED_AT_ONCE = 5_000;
/** Entries held at most for somebody who fetches a snapshot. */
const MAX_HELD = 1_000_000;

interface Pending {
  data: Uint8Array;
  settle: (outcome: Outcome) => void;
  refuse: (refusal: Refusal) => void;
}

/** One log entry's data, as encoded: `[command, sessionId, seq, lowestUnacked, key, logTime, wallTime]`. */
type EntryData = [Command, number, number, number, string | null, number, number];

export interface EngineOptions {
  dataDirectory: string;
  genesis: Genesis;
  timings: RaftTimings;
  /** The log keeps this many applied entries, and is cut back when it has twice as many. */
  keepEntries: number;
  send(message: RaftMessage): void;
  /** Where the others reach the leader of that id. */
  urlOf(id: NodeId): string | null;
  leaderChanged(leaderId: NodeId | null, term: number): void;
  sendSnapshot(to: NodeId): void;
  installSnapshot(offer: RaftMessageOf<"rpc.snapshotOffer">): void;
  /** Entries behind this index are held: a snapshot that ends there is on its way to somebody. Infinity: none is. */
  neededFrom(): number;
  /** What commands do; of this program, unless a test plants another. */
  rules?: Rules;
  /** A flush, an apply or an invariant failed: must end the process, for a failed flush is never retried (P9). */
  onFailure(cause: unknown): void;
  /** Left out: this machine's own. */
  clock?: Clock;
}

export class RaftMetadata implements MetadataPort {
  readonly identity: MasterIdentity;
  /** Of this data directory; see `MasterLog`. */
  readonly incarnation: string;
  readonly raft: RaftDriver;
  readonly #log: MasterLog;
  readonly #options: EngineOptions;
  readonly rules: Rules;
  readonly #clock: Clock;
  #store: MetadataStore;
  readonly #queue: Pending[] = [];
  #pendingBytes = 0;
  #proposeScheduled = false;
  /** The proposals being handed to the machine right now. */
  #handing: Pending[] = [];
  readonly #waiting = new Map<number, Pending & { term: number }>();
  readonly #reads = new Map<number, { resolve: () => void; refuse: (refusal: Refusal) => void }>();
  /** Confirmed, but committed entries before them wait for our own disk. */
  #readsWaiting: { index: number; resolve: () => void }[] = [];
  #nextRead = 1;
  /** What the next question to the machine will say. */
  #confirming: Promise<void> | null = null;
  #appliedIndex = 0;
  #logTimeBase = 0;
  #inOfficeSince = 0;
  #lastWallTime = 0;
  #appliedLogTime = 0;
  #closed = false;

  /** Recovers from the files alone, as a follower. @throws LogDamaged if they cannot be trusted */
  constructor(options: EngineOptions) {
    this.#options = options;
    this.rules = options.rules ?? RULES;
    const { dataDirectory, genesis, clock = systemClock } = options;
    this.#clock = clock;
    this.#log = new MasterLog(join(dataDirectory, "master_metadata.db"), genesis);
    this.identity = this.#log.identity;
    this.incarnation = this.#log.incarnation;
    const recovered = this.#log.recover();
    if (recovered.term > MAX_TERM) {
      this.#log.close();
      throw new LogDamaged(
        `the stored term, ${recovered.term}, is one that no election reaches. Stop all masters, and start each of them once with --reset-term`,
      );
    }
    const path = statePath(dataDirectory, recovered.stateGeneration);
    this.#store = openState(path, this.rules, recovered, () => this.#log.close());
    dropOtherGenerations(dataDirectory, recovered.stateGeneration);
    const applied = this.#store.applied();
    this.#appliedIndex = applied.index;
    this.#appliedLogTime = applied.logTime;
    this.#lastWallTime = applied.wallTime;
    this.raft = new RaftDriver(
      genesis.nodeId,
      {
        ...recovered,
        log: {
          baseIndex: recovered.baseIndex,
          baseTerm: recovered.baseTerm,
          entries: recovered.entries,
          length: recovered.entries.length,
        },
        appliedIndex: applied.index,
      },
      options.timings,
      {
        clock,
        random: Math.random,
        send: options.send,
        flush: (write, done) => {
          this.#log.write(write);
          done();
        },
        defer: (callback) => void setImmediate(callback),
        apply: (entries) => this.#apply(entries),
        proposed: (firstIndex, count, term) => this.#proposed(firstIndex, count, term),
        readReady: (id, index) => this.#readReady(id, index),
        leaderChanged: (leaderId, term) => this.#leaderChanged(leaderId, term),
        sendSnapshot: options.sendSnapshot,
        installSnapshot: options.installSnapshot,
        failed: options.onFailure,
      },
    );
  }

  start(): void {
    this.raft.start();
  }

  /** The applied state. */
  get store(): MetadataStore {
    return this.#store;
  }

  get queries(): Queries {
    return this.#store.queries;
  }

  rows<K extends keyof Reads>(name: K, where: Reads[K][0]): Reads[K][1][] {
    return this.#store.rows(name, where);
  }

  row<K extends keyof Reads>(name: K, where: Reads[K][0]): Reads[K][1] | undefined {
    return this.#store.row(name, where);
  }

  ask<T>(question: Deciding<T>): T {
    return this.#store.ask(question);
  }

  members(): NodeId[] {
    return membersOf(this.raft.state.configuration);
  }

  get term(): number {
    return this.raft.state.term;
  }

  get appliedIndex(): number {
    return this.#appliedIndex;
  }

  /** What waits here: commands for their commit, their length as encoded, and reads for their confirmation. */
  get load(): { commands: number; bytes: number; reads: number } {
    return {
      commands: this.#queue.length + this.#waiting.size,
      bytes: this.#pendingBytes,
      reads: this.#reads.size + this.#readsWaiting.length,
    };
  }

  /** Log time now: stands still while there is no leader, never runs faster than a clock. */
  get logTime(): number {
    return Math.max(this.#appliedLogTime, this.#logTimeBase + (this.#clock.now() - this.#inOfficeSince));
  }

  /** @param notTaken it is certain that what was asked for will never happen, unless it is asked for again */
  notLeader(notTaken = true, details: { ageMs?: number } = {}): Refusal {
    const { leaderId, id } = this.raft.state;
    const leaderUrl = leaderId === null || leaderId === id ? null : this.#options.urlOf(leaderId);
    const message = leaderUrl ? `${leaderId} leads` : "No leader is known here yet";
    return new Refusal("NOT_LEADER", message, { leaderUrl, notTaken, ...details });
  }

  // ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * @throws NOT_LEADER if it was not taken (`details.notTaken`), or may not have been: send it again under the same session
   *   and number
   */
  execute({ command, sessionId, seq, lowestUnacked, idempotencyKey }: Proposal): Promise<Outcome> {
    if (this.#closed) throw stopping();
    if (this.raft.role !== "leader") throw this.notLeader();
    const since = this.rules.knownSince(command.type);
    if (since > this.#store.version)
      throw new Refusal(
        "VERSION_TOO_LOW",
        `${command.type} needs cluster version ${since}; it is ${this.#store.version}`,
      );
    if (this.#queue.length + this.#waiting.size >= MAX_PENDING)
      throw new Refusal("OVERLOADED", `${MAX_PENDING} commands are waiting already`);
    const wallTime = Math.max(this.#lastWallTime, Date.now());
    this.#lastWallTime = wallTime;
    const entry: EntryData = [command, sessionId, seq, lowestUnacked, idempotencyKey, this.logTime, wallTime];
    const data = encode(entry);
    if (this.#pendingBytes + data.length > MAX_PENDING_BYTES)
      throw new Refusal("OVERLOADED", `${this.#pendingBytes} bytes of commands are waiting already`);
    this.#pendingBytes += data.length;
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const endsBy =
      <T>(end: (how: T) => void) =>
      (how: T) => {
        this.#pendingBytes -= data.length;
        end(how);
      };
    this.#queue.push({ data, settle: endsBy(resolve), refuse: endsBy(reject) });
    this.#schedulePropose();
    return promise;
  }

  async propose<C extends Command>(command: C): Promise<ValueOf<C["type"]>> {
    const { result } = await this.execute({ command, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null });
    if (!result.ok) throw new Refusal(result.code as ErrorCode, result.message, result.details ?? {});
    return result.value as ValueOf<C["type"]>;
  }

  /** Puts a new configuration into the log at once. @returns its index, once it is committed. @throws NOT_LEADER */
  async proposeConfiguration(configuration: Configuration): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const data = encodeConfiguration(configuration);
    this.#handing = [{ data, settle: resolve, refuse: reject }];
    this.raft.send({ type: "client.propose", entries: [{ kind: "configuration", data }] });
    for (const { refuse } of this.#handing.splice(0)) refuse(this.notLeader());
    return (await promise).index;
  }

  #schedulePropose(): void {
    if (this.#proposeScheduled) return;
    this.#proposeScheduled = true;
    setImmediate(() => {
      this.#proposeScheduled = false;
      this.#handing = this.#queue.splice(0, MAX_BATCH);
      const entries = this.#handing.map(({ data }) => ({ kind: "command" as const, data }));
      if (entries.length > 0) this.raft.send({ type: "client.propose", entries });
      for (const { refuse } of this.#handing.splice(0)) refuse(this.notLeader());
      if (this.#queue.length > 0) this.#schedulePropose();
    });
  }

  #proposed(firstIndex: number | null, count: number, term: number): void {
    if (firstIndex === null) return;
    for (const [n, pending] of this.#handing.splice(0, count).entries())
      this.#waiting.set(firstIndex + n, { ...pending, term });
  }

  #apply(entries: readonly RaftEntry[]): void {
    for (let at = 0; at < entries.length; at += APPLIED_AT_ONCE) {
      const slice = entries.slice(at, at + APPLIED_AT_ONCE);
      const results = this.#store.apply(slice.map((entry) => this.#applicable(entry)));
      for (const [n, { index, term }] of slice.entries()) {
        const waiting = this.#waiting.get(index);
        if (!waiting) continue;
        this.#waiting.delete(index);
        if (waiting.term === term) waiting.settle({ result: results[n] as CommandResult, index });
        else waiting.refuse(this.notLeader());
      }
      this.#appliedIndex = (slice.at(-1) as RaftEntry).index;
    }
    if (this.#readsWaiting.length === 0) return;
    const ready = this.#readsWaiting.filter(({ index }) => index <= this.#appliedIndex);
    this.#readsWaiting = this.#readsWaiting.filter(({ index }) => index > this.#appliedIndex);
    for (const { resolve } of ready) resolve();
  }

  #applicable({ index, term, kind, data }: RaftEntry) {
    if (kind !== "command") {
      const proposal: Proposal = {
        command: { type: "NOOP" },
        sessionId: 0,
        seq: 0,
        lowestUnacked: 0,
        idempotencyKey: null,
      };
      return { proposal, env: { index, term, logTime: this.#appliedLogTime, wallTime: this.#lastWallTime } };
    }
    const [command, sessionId, seq, lowestUnacked, idempotencyKey, logTime, wallTime] = decode(data) as EntryData;
    this.#appliedLogTime = logTime;
    this.#lastWallTime = Math.max(this.#lastWallTime, wallTime);
    return {
      proposal: { command, sessionId, seq, lowestUnacked, idempotencyKey },
      env: { index, term, logTime, wallTime },
    };
  }

  // ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

  confirmRead(): Promise<void> {
    // Asked once for all calls of this turn: the index is confirmed after all of them, so it covers them.
    this.#confirming ??= new Promise((resolve, refuse) => {
      setImmediate(() => {
        this.#confirming = null;
        if (this.#closed) return refuse(stopping());
        const id = this.#nextRead++;
        this.#reads.set(id, { resolve, refuse });
        this.raft.send({ type: "client.read", id });
      });
    });
    return this.#confirming;
  }

  #readReady(id: number, index: number | null): void {
    const read = this.#reads.get(id);
    this.#reads.delete(id);
    if (index === null) read?.refuse(this.notLeader());
    else if (this.#appliedIndex >= index) read?.resolve();
    else if (read) this.#readsWaiting.push({ index, resolve: read.resolve });
  }

  // ── leadership ───────────────────────────────────────────────────────────────────────────────────────────────────

  #leaderChanged(leaderId: NodeId | null, term: number): void {
    const { id, log } = this.raft.state;
    if (leaderId === id) {
      // Log time goes on from the last stamp in the log, whoever wrote it.
      let base = this.#appliedLogTime;
      for (let index = lastIndex(log); index > this.appliedIndex; index--) {
        const entry = entryAt(log, index);
        if (entry?.kind !== "command") continue;
        base = Math.max(base, (decode(entry.data) as EntryData)[5]);
        break;
      }
      this.#logTimeBase = base;
      this.#inOfficeSince = this.#clock.now();
    } else {
      for (const [index, { refuse }] of this.#waiting) {
        this.#waiting.delete(index);
        // Whether they are committed all the same is decided by those that have them already.
        refuse(this.notLeader(false));
      }
    }
    this.#options.leaderChanged(leaderId, term);
  }

  // ── compaction and snapshots ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Cuts back the log once the state that it built is on disk.
   * @returns true if there is more to cut; call again later
   */
  compact(): boolean {
    try {
      return this.#compact();
    } catch (cause) {
      this.#options.onFailure(cause);
      return false;
    }
  }

  #compact(): boolean {
    const { keepEntries, neededFrom } = this.#options;
    if (this.#log.lastIndex - this.#log.baseIndex <= 2 * keepEntries) return false;
    const { index } = this.#store.makeDurable();
    const before = this.#log.baseIndex;
    const held = Math.max(neededFrom(), this.#log.lastIndex - MAX_HELD);
    const base = this.#log.compact(Math.min(index - keepEntries, held), COMPACTED_AT_ONCE);
    if (base > before) this.raft.send({ type: "log.compacted", index: base });
    return base > before;
  }

  /** Where the next generation of the state is put together before it is adopted. */
  get nextStatePath(): string {
    const path = statePath(this.#options.dataDirectory, this.#log.stateGeneration + 1);
    mkdirSync(join(path, ".."), { recursive: true });
    return path;
  }

  /** The state file at `nextStatePath` is whole and flushed: from here on it is ours. @throws LogDamaged if it is not */
  adoptSnapshot(offer: RaftMessageOf<"rpc.snapshotOffer">): void {
    const { snapshotIndex: index, snapshotTerm: term, configuration } = offer;
    const generation = this.#log.stateGeneration + 1;
    const fresh = new SqliteMetadata(statePath(this.#options.dataDirectory, generation), this.rules);
    const applied = fresh.applied();
    const damage = fresh.damage();
    if (damage || applied.index !== index || applied.term !== term) {
      fresh.close();
      throw new LogDamaged(`the snapshot is not the one that was offered: ${damage ?? `at ${applied.index}`}`);
    }
    this.raft.flushNow();
    const old = this.#store;
    try {
      this.#log.adoptSnapshot({ index, term, configuration, generation });
    } catch (cause) {
      // P9: nobody knows which state the log points to now; the next start does.
      this.#options.onFailure(cause);
      throw cause;
    }
    this.#store = fresh;
    this.#appliedIndex = applied.index;
    this.#appliedLogTime = applied.logTime;
    this.#lastWallTime = applied.wallTime;
    old.close();
    dropOtherGenerations(this.#options.dataDirectory, generation);
    this.raft.send({ type: "snapshot.installed", index, term, configuration, success: true });
  }

  close(): void {
    this.#closed = true;
    for (const { refuse } of [...this.#queue.splice(0), ...this.#waiting.values(), ...this.#reads.values()])
      refuse(stopping());
    this.#waiting.clear();
    this.#reads.clear();
    this.raft.stop();
    this.#store.makeDurable();
    this.#store.close();
    this.#log.close();
  }
}

const stopping = (): Refusal => new Refusal("NOT_READY", "This master is stopping");
