/**
 * The metadata engine: puts commands into one durable order, applies them, and answers with what they did.
 *
 * All commands that arrive in one turn of the event loop share one flush (group commit). A command is answered after
 * its entry is on disk and applied. This engine is a log with a single voter, whose term grows at each start.
 */

import { LogDamaged, type MasterLog } from "../../databases/master-log.ts";
import type { Metadata } from "../../databases/metadata.ts";
import type { Command, CommandResult, ValueOf } from "../messages/commands.ts";
import { type ErrorCode, Refusal } from "../messages/errors.ts";
import { decode, encode } from "../node/wire.ts";
import type { Proposal } from "../rules/decide/once.ts";
import type { Environment } from "../rules/decide/state.ts";

/** Commands that may wait for a flush; more are refused. */
const MAX_PENDING = 20_000;
/** Entries of one flush: more would hold up the event loop. */
const MAX_BATCH = 512;
const MAX_BATCH_BYTES = 4 << 20;
const REPLAYED_AT_ONCE = 256;
/** The log keeps this many applied entries, and is cut back when it has twice as many. */
const KEPT_ENTRIES = 10_000;

export interface Outcome {
  result: CommandResult;
  index: number;
}

interface Pending {
  data: Uint8Array;
  proposal: Proposal;
  logTime: number;
  wallTime: number;
  settle: (outcome: Outcome) => void;
}

/** One log entry's data, as encoded: `[command, sessionId, seq, lowestUnacked, key, logTime, wallTime]`. */
type EntryData = [Command, number, number, number, string | null, number, number];

export class MetadataEngine {
  readonly term: number;
  readonly #log: MasterLog;
  readonly #metadata: Metadata;
  readonly #monotonicMs: () => number;
  readonly #logTimeAtStart: number;
  readonly #startedAt: number;
  readonly #pending: Pending[] = [];
  #flushScheduled = false;
  #lastWallTime: number;
  #logTime: number;
  #closed = false;
  readonly onFailure: (cause: unknown) => never;

  /**
   * Recovers: replays what the log holds beyond the applied state, then opens a new term.
   *
   * @param onFailure called when a flush or an apply fails; must end the process, for a failed flush is never retried
   */
  constructor(
    log: MasterLog,
    metadata: Metadata,
    onFailure: (cause: unknown) => never,
    monotonicMs = () => performance.now(),
  ) {
    this.#log = log;
    this.#metadata = metadata;
    this.#monotonicMs = monotonicMs;
    this.onFailure = onFailure;
    this.#replay();
    this.term = log.advanceTerm();
    const applied = metadata.applied();
    this.#logTimeAtStart = applied.logTime;
    this.#logTime = applied.logTime;
    this.#lastWallTime = applied.wallTime;
    this.#startedAt = monotonicMs();
  }

  #replay(): void {
    const applied = this.#metadata.applied();
    if (applied.index > this.#log.lastIndex)
      throw new LogDamaged(
        `the applied state is at ${applied.index}, beyond the log's end ${this.#log.lastIndex}: these files are not of one master`,
      );
    if (applied.index < this.#log.baseIndex)
      throw new LogDamaged(
        `the applied state is at ${applied.index}, but the log starts behind ${this.#log.baseIndex}: restore dfs_metadata.db from a backup`,
      );
    let batch: { proposal: Proposal; env: Environment }[] = [];
    for (const { index, term, data } of this.#log.entriesAfter(applied.index)) {
      const [command, sessionId, seq, lowestUnacked, idempotencyKey, logTime, wallTime] = decode(data) as EntryData;
      batch.push({
        proposal: { command, sessionId, seq, lowestUnacked, idempotencyKey },
        env: { index, term, logTime, wallTime },
      });
      if (batch.length === REPLAYED_AT_ONCE) {
        this.#metadata.apply(batch);
        batch = [];
      }
    }
    if (batch.length > 0) this.#metadata.apply(batch);
  }

  /** Log time now: stands still while there is no leader, never runs faster than a clock. */
  get logTime(): number {
    this.#logTime = Math.max(this.#logTime, this.#logTimeAtStart + (this.#monotonicMs() - this.#startedAt));
    return this.#logTime;
  }

  get appliedIndex(): number {
    return this.#log.lastIndex;
  }

  /** Puts a command into the log. Resolves when it is durable and applied; a refusal is a result, not an exception. */
  execute(proposal: Proposal): Promise<Outcome> {
    if (this.#closed) throw new Refusal("NOT_READY", "This master is stopping");
    if (this.#pending.length >= MAX_PENDING)
      throw new Refusal("OVERLOADED", `${MAX_PENDING} commands are waiting already`);
    const wallTime = Math.max(this.#lastWallTime, Date.now());
    this.#lastWallTime = wallTime;
    const { command, sessionId, seq, lowestUnacked, idempotencyKey } = proposal;
    const { logTime } = this;
    const data = encode([
      command,
      sessionId,
      seq,
      lowestUnacked,
      idempotencyKey,
      logTime,
      wallTime,
    ] satisfies EntryData);
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    this.#pending.push({ data, proposal, logTime, wallTime, settle: resolve });
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      setImmediate(() => this.#flush());
    }
    return promise;
  }

  /** The leader's own commands. @throws Refusal with the code of a refused one */
  async propose<C extends Command>(command: C): Promise<ValueOf<C["type"]>> {
    const { result } = await this.execute({ command, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null });
    if (!result.ok) throw new Refusal(result.code as ErrorCode, result.message, result.details ?? {});
    return result.value as ValueOf<C["type"]>;
  }

  #flush(): void {
    this.#flushScheduled = false;
    let bytes = 0;
    let count = 0;
    while (count < this.#pending.length && count < MAX_BATCH && bytes < MAX_BATCH_BYTES)
      bytes += (this.#pending[count++] as Pending).data.length;
    const batch = this.#pending.splice(0, count);
    if (batch.length === 0) return;
    try {
      const first = this.#log.lastIndex + 1;
      this.#log.append(batch.map(({ data }, n) => ({ index: first + n, term: this.term, data })));
      const entries = batch.map(({ proposal, logTime, wallTime }, n) => ({
        proposal,
        env: { index: first + n, term: this.term, logTime, wallTime },
      }));
      const results = this.#metadata.apply(entries);
      for (const [n, { settle }] of batch.entries()) settle({ result: results[n] as CommandResult, index: first + n });
    } catch (cause) {
      this.onFailure(cause);
    }
    if (this.#pending.length > 0) {
      this.#flushScheduled = true;
      setImmediate(() => this.#flush());
    }
  }

  /**
   * Cuts back the log once the state that it built is on disk.
   * @returns true if there is more to cut; call again later
   */
  compact(): boolean {
    const excess = this.#log.lastIndex - this.#log.baseIndex - 2 * KEPT_ENTRIES;
    if (excess <= 0) return false;
    const { index } = this.#metadata.makeDurable();
    return this.#log.compact(index - KEPT_ENTRIES, 5_000) > 0;
  }

  close(): void {
    this.#closed = true;
    while (this.#pending.length > 0) this.#flush();
    this.#metadata.makeDurable();
    this.#metadata.close();
    this.#log.close();
  }
}
