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
import type { AppliedEntry, MetadataStore, Queries } from "../../../databases/metadata/store.ts";
import { isDamage } from "../../../databases/sqlite.ts";
import type { Command, CommandResult, ValueOf } from "../../messages/commands.ts";
import { type ErrorCode, Refusal } from "../../messages/errors.ts";
import { MAX_TERM, type NodeId } from "../../messages/primitives.ts";
import type { Configuration, RaftEntry, RaftMessage, RaftMessageOf } from "../../messages/raft.ts";
import { type Clock, systemClock } from "../../node/clock.ts";
import type { Deciding } from "../../rules/decide/decision.ts";
import { type Proposal, RULES, type Rules } from "../../rules/decide/exactly-once.ts";
import type { Reads } from "../../rules/decide/state.ts";
import { entriesToKeep } from "../../rules/raft/log-tail.ts";
import { encodeConfiguration } from "../../rules/raft/membership.ts";
import { membersOf } from "../../rules/raft/quorum.ts";
import type { RaftTimings } from "../../rules/raft/state.ts";
import type { MetadataPort, Outcome, TouchedSets } from "../metadata-port.ts";
import { decodeCommand, encodeCommand, NOOP } from "./entry-data.ts";
import { LogTime } from "./log-time.ts";
import { Proposals } from "./proposals.ts";
import { RaftDriver } from "./raft-driver.ts";
import { ReadConfirmations } from "./read-confirmations.ts";
import { Soundness } from "./soundness.ts";
import { dropOtherGenerations, openState, stateBytes, statePath } from "./state-files.ts";

const APPLIED_AT_ONCE = 256;
/** What is applied is committed by then, if not with what comes after it. */
const COMMIT_AFTER_MS = 250;
/** Of the log, whatever `keepEntries` says: all of it lies in memory too. */
const KEPT_BYTES = 32 << 20;
const COMPACTED_AT_ONCE = 5_000;
/** Entries held at most for masters that fetch a snapshot. */
const MAX_HELD = 1_000_000;

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
  /** Entries behind this index are held: a snapshot that ends there is on its way to a master. Infinity: none is. */
  neededFrom(): number;
  /** What commands do; of this program, unless a test plants another. */
  rules?: Rules;
  /** Memory for pages of the applied state; see `config.ts`. */
  cacheBytes?: number;
  /** A larger state that was not closed in order is checked beside its use. */
  checkedAtOnceBytes?: number;
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
  #store: MetadataStore;
  readonly #proposals: Proposals;
  readonly #reads: ReadConfirmations;
  readonly #logTime: LogTime;
  readonly #soundness: Soundness;
  readonly #setWatchers = new Set<(touched: TouchedSets) => void>();
  #appliedIndex = 0;
  readonly #clock: Clock;
  #committing: unknown = null;
  #closed = false;
  /** The end of the log when it was last found too short to be cut back. */
  #shortAt = -1;

  /** Recovers from the files alone, as a follower. @throws LogDamaged if they cannot be trusted */
  constructor(options: EngineOptions) {
    this.#options = options;
    this.rules = options.rules ?? RULES;
    this.#clock = options.clock ?? systemClock;
    const { dataDirectory, genesis, cacheBytes, checkedAtOnceBytes } = options;
    const clock = this.#clock;
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
    const file = this.#log.stateFile;
    this.#log.noteStateOpened();
    const found = { dataDirectory, rules: this.rules, cacheBytes, file, checkedAtOnceBytes };
    const { store, isWhole } = openState(found, recovered, () => this.#log.close());
    this.#store = store;
    this.#soundness = new Soundness(
      {
        ...{ log: this.#log, clock },
        readThrough: () => this.#store.damage(),
        onDamaged: (cause) => options.onFailure(cause),
      },
      statePath(dataDirectory, recovered.stateGeneration),
      isWhole,
    );
    this.#store.onSetsTouched = (touched) => this.#setsTouched(touched);
    dropOtherGenerations(dataDirectory, recovered.stateGeneration);
    const applied = this.#store.applied();
    this.#appliedIndex = applied.index;
    this.#logTime = new LogTime(clock);
    this.#logTime.reset(applied);
    this.#proposals = new Proposals({
      clock,
      propose: (entries) => this.raft.send({ type: "client.propose", entries }),
      notLeader: (notTaken) => this.notLeader(notTaken),
    });
    this.#reads = new ReadConfirmations({
      ask: (id) => this.raft.send({ type: "client.read", id }),
      appliedIndex: () => this.#appliedIndex,
      notLeader: () => this.notLeader(),
    });
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
        mayLead: () => this.#soundness.isWhole,
        send: options.send,
        flush: (write, done) => {
          this.#log.write(write);
          done();
        },
        defer: (callback) => void setImmediate(callback),
        apply: (entries) => this.#apply(entries),
        proposed: (firstIndex, count, term) => this.#proposals.proposed(firstIndex, count, term),
        readReady: (id, index) => this.#reads.ready(id, index),
        leaderChanged: (leaderId, term) => this.#leaderChanged(leaderId, term),
        sendSnapshot: options.sendSnapshot,
        installSnapshot: options.installSnapshot,
        failed: options.onFailure,
      },
    );
  }

  start(): void {
    this.raft.start();
    this.#soundness.start();
  }

  /** Whether the applied state is known to be whole. Until then this master follows and votes, and does not lead. */
  get soundness(): Pick<Soundness, "isWhole" | "untilWhole"> {
    return this.#soundness;
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

  watchSets(listener: (touched: TouchedSets) => void): () => void {
    this.#setWatchers.add(listener);
    return () => this.#setWatchers.delete(listener);
  }

  #setsTouched(touched: TouchedSets): void {
    for (const listener of this.#setWatchers) listener(touched);
  }

  members(): NodeId[] {
    return membersOf(this.raft.state.configuration);
  }

  voters(): NodeId[] {
    const [smallest = []] = this.raft.state.configuration.voters.toSorted((a, b) => a.length - b.length);
    return smallest;
  }

  get version(): number {
    return this.#store.version;
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
      commands: this.#proposals.size,
      bytes: this.#proposals.bytes,
      reads: this.#reads.size,
    };
  }

  get logTime(): number {
    return this.#logTime.now;
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
  execute(proposal: Proposal): Promise<Outcome> {
    const { command } = proposal;
    if (this.#closed) throw stopping();
    if (this.raft.role !== "leader") throw this.notLeader();
    const since = this.rules.knownSince(command.type);
    if (since > this.#store.version)
      throw new Refusal(
        "VERSION_TOO_LOW",
        `${command.type} needs cluster version ${since}; it is ${this.#store.version}`,
      );
    this.#proposals.checkRoom();
    return this.#proposals.add(proposal.command.type, encodeCommand(proposal, this.#logTime.stamp()));
  }

  async propose<C extends Command>(command: C): Promise<ValueOf<C["type"]>> {
    const { result } = await this.execute({ command, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null });
    if (!result.ok) throw new Refusal(result.code as ErrorCode, result.message, result.details ?? {});
    return result.value as ValueOf<C["type"]>;
  }

  /** Puts a new configuration into the log at once. @returns its index, once it is committed. @throws NOT_LEADER */
  async proposeConfiguration(configuration: Configuration): Promise<number> {
    return (await this.#proposals.addAtOnce("configuration", encodeConfiguration(configuration))).index;
  }

  #apply(entries: readonly RaftEntry[]): void {
    for (let at = 0; at < entries.length; at += APPLIED_AT_ONCE) {
      const slice = entries.slice(at, at + APPLIED_AT_ONCE);
      for (const { index } of slice) this.#proposals.committed(index);
      const results = this.#applySlice(slice);
      for (const [n, { index, term }] of slice.entries())
        this.#proposals.applied(index, term, results[n] as CommandResult);
      this.#appliedIndex = (slice.at(-1) as RaftEntry).index;
    }
    this.#reads.applied();
    this.#committing ??= this.#clock.setTimeout(() => {
      this.#committing = null;
      this.#commit();
    }, COMMIT_AFTER_MS);
  }

  /** So that who looks into the file from outside sees what was applied, and a start after a kill applies little again. */
  #commit(): void {
    try {
      this.#store.commit();
    } catch (cause) {
      this.#options.onFailure(cause);
    }
  }

  #applySlice(slice: readonly RaftEntry[]): CommandResult[] {
    try {
      return this.#store.apply(slice.map((entry) => this.#applicable(entry)));
    } catch (cause) {
      if (isDamage(cause)) this.#soundness.damaged((cause as Error).message);
      throw cause;
    }
  }

  #applicable(entry: RaftEntry): AppliedEntry {
    const { index, term } = entry;
    if (entry.kind !== "command") return { proposal: NOOP, env: { index, term, ...this.#logTime.lastStamp } };
    const { proposal, stamp } = decodeCommand(entry);
    this.#logTime.applied(stamp);
    return { proposal, env: { index, term, ...stamp } };
  }

  // ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────────

  confirmRead(): Promise<void> {
    return this.#reads.confirm();
  }

  // ── leadership ───────────────────────────────────────────────────────────────────────────────────────────────────

  #leaderChanged(leaderId: NodeId | null, term: number): void {
    if (leaderId === this.raft.state.id) this.#logTime.takeOffice(this.raft.state);
    else this.#proposals.deposed();
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
    const { neededFrom } = this.#options;
    const { lastIndex } = this.#log;
    if (lastIndex === this.#shortAt) return false;
    const keepEntries = entriesToKeep(this.raft.state.log, this.#options.keepEntries, KEPT_BYTES);
    if (keepEntries === null) {
      this.#shortAt = lastIndex;
      return false;
    }
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
    const path = statePath(this.#options.dataDirectory, generation);
    // Its checksum was that of the leader's copy, which was written row by row: there is nothing more to look for.
    const fresh = new SqliteMetadata(path, this.rules, this.#options.cacheBytes);
    const applied = fresh.applied();
    if (applied.index !== index || applied.term !== term) {
      fresh.close();
      throw new LogDamaged(`the snapshot is not the one that was offered: it is at ${applied.index}`);
    }
    this.raft.flushNow();
    const old = this.#store;
    try {
      this.#log.adoptSnapshot({ index, term, configuration, generation });
    } catch (cause) {
      // P9: which state the log points to now is not known; the next start reads it.
      this.#options.onFailure(cause);
      throw cause;
    }
    this.#store = fresh;
    fresh.onSetsTouched = (touched) => this.#setsTouched(touched);
    this.#soundness.replaced(path);
    this.#setsTouched("all");
    this.#appliedIndex = applied.index;
    this.#logTime.reset(applied);
    old.close();
    dropOtherGenerations(this.#options.dataDirectory, generation);
    this.raft.send({ type: "snapshot.installed", index, term, configuration, success: true });
  }

  close(): void {
    this.#closed = true;
    this.#proposals.close(stopping());
    this.#reads.close(stopping());
    this.raft.stop();
    this.#clock.clearTimeout(this.#committing);
    const { isWhole } = this.#soundness;
    this.#soundness.close();
    const { index } = this.#store.makeDurable();
    const isFlushed = index === this.#store.applied().index;
    this.#store.close();
    const generation = this.#log.stateGeneration;
    const bytes = stateBytes(statePath(this.#options.dataDirectory, generation));
    if (isWhole && isFlushed) this.#log.noteStateClosed({ generation, index, bytes });
    this.#log.close();
  }
}

const stopping = (): Refusal => new Refusal("NOT_READY", "This master is stopping");
