/**
 * Commands on their way into the log and to their answers. All that arrive in one turn of the event loop, or while others are
 * on their way, are proposed together and share one flush; each is answered once it is committed and applied here.
 */
import type { Command, CommandResult } from "../../messages/commands.ts";
import { Refusal } from "../../messages/errors.ts";
import type { Clock } from "../../node/clock.ts";
import { type Span, startSpan } from "../../node/trace/span.ts";
import { fitting } from "../../rules/fitting.ts";
import type { Outcome } from "../metadata-port.ts";

/** Commands that may wait for their commit, and their length as encoded; more are refused. */
const MAX_PENDING = 20_000;
const MAX_PENDING_BYTES = 64 << 20;
/** Entries proposed at once, and their length: more would hold up the event loop. */
const MAX_BATCH = 512;
const MAX_BATCH_BYTES = 1 << 20;

/**
 * Commands that come while others are on their way to their commit wait for these, so long at most: each round of messages
 * and flushes then serves more of them.
 */
const GATHER_MS = 4;

type Kind = "command" | "configuration";

interface Pending {
  data: Uint8Array;
  /** From the proposal to the answer; null: it is not traced. */
  span: Span | null;
  settle: (outcome: Outcome) => void;
  refuse: (refusal: Refusal) => void;
}

interface Ports {
  clock: Clock;
  /** Hands entries to the machine, which calls `proposed` before it returns if it takes any. */
  propose(entries: { kind: Kind; data: Uint8Array }[]): void;
  /** @param notTaken it is certain that what was asked for will never happen, unless it is asked for again */
  notLeader(notTaken?: boolean): Refusal;
}

export class Proposals {
  readonly #ports: Ports;
  readonly #queue: Pending[] = [];
  #bytes = 0;
  #isScheduled = false;
  /** The timer of those that wait until what is on its way is committed. */
  #gathering: unknown = null;
  #handedAt = Number.NEGATIVE_INFINITY;
  /** Those being handed to the machine right now. */
  #handing: Pending[] = [];
  /** By their place in the log. */
  readonly #waiting = new Map<number, Pending & { term: number }>();

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** Commands that wait for their commit. */
  get size(): number {
    return this.#queue.length + this.#waiting.size;
  }

  /** Their length as encoded. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @throws OVERLOADED if no more may wait */
  checkRoom(): void {
    if (this.size >= MAX_PENDING) throw new Refusal("OVERLOADED", `${MAX_PENDING} commands are waiting already`);
  }

  /** @param type of the command. @throws OVERLOADED */
  add(type: Command["type"], data: Uint8Array): Promise<Outcome> {
    if (this.#bytes + data.length > MAX_PENDING_BYTES)
      throw new Refusal("OVERLOADED", `${this.#bytes} bytes of commands are waiting already`);
    this.#bytes += data.length;
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const span = startSpan(`commit ${type}`);
    const end = (refusal?: Refusal): void => {
      this.#bytes -= data.length;
      span?.end(refusal);
    };
    this.#queue.push({
      data,
      span,
      settle: (outcome) => {
        end();
        resolve(outcome);
      },
      refuse: (refusal) => {
        end(refusal);
        reject(refusal);
      },
    });
    this.#schedule();
    return promise;
  }

  /** Proposed by itself, before what waits. @throws NOT_LEADER */
  addAtOnce(kind: Kind, data: Uint8Array): Promise<Outcome> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    this.#hand([{ data, span: null, settle: resolve, refuse: reject }], kind);
    return promise;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      const leftMs = this.#handedAt + GATHER_MS - this.#ports.clock.now();
      if (this.#waiting.size === 0 || leftMs <= 0) this.#handNext();
      else this.#gathering = this.#ports.clock.setTimeout(() => this.#handNext(), leftMs);
    });
  }

  #handNext(): void {
    this.#gathering = null;
    this.#isScheduled = false;
    this.#handedAt = this.#ports.clock.now();
    const count = fitting(this.#queue, ({ data }) => data.length, MAX_BATCH_BYTES, MAX_BATCH);
    this.#hand(this.#queue.splice(0, count), "command");
    if (this.#queue.length > 0) this.#schedule();
  }

  /** Nothing is on its way any more that others could wait for. */
  #endGathering(): void {
    if (this.#gathering === null || this.#waiting.size > 0) return;
    this.#ports.clock.clearTimeout(this.#gathering);
    this.#gathering = null;
    setImmediate(() => this.#handNext());
  }

  #hand(pending: Pending[], kind: Kind): void {
    this.#handing = pending;
    if (pending.length > 0) this.#ports.propose(pending.map(({ data }) => ({ kind, data })));
    for (const { refuse } of this.#handing.splice(0)) refuse(this.#ports.notLeader());
  }

  /** The machine took the first `count` of what it is being handed. */
  proposed(firstIndex: number | null, count: number, term: number): void {
    if (firstIndex === null) return;
    for (const [n, pending] of this.#handing.splice(0, count).entries()) {
      this.#waiting.set(firstIndex + n, { ...pending, term });
      pending.span?.set({ "dfs.raft.index": firstIndex + n, "dfs.raft.term": term });
      pending.span?.event("proposed");
    }
  }

  /** The entry at `index` is on the disks of a majority. */
  committed(index: number): void {
    this.#waiting.get(index)?.span?.event("committed");
  }

  /** The entry at `index`, of `term`, is applied. */
  applied(index: number, term: number, result: CommandResult): void {
    const waiting = this.#waiting.get(index);
    if (!waiting) return;
    this.#waiting.delete(index);
    if (waiting.term === term) waiting.settle({ result, index });
    else waiting.refuse(this.#ports.notLeader());
    this.#endGathering();
  }

  /** Another master leads. The commands in the log may still commit: the next leader decides. */
  deposed(): void {
    for (const [index, { refuse }] of this.#waiting) {
      this.#waiting.delete(index);
      refuse(this.#ports.notLeader(false));
    }
    this.#endGathering();
  }

  close(because: Refusal): void {
    for (const { refuse } of [...this.#queue.splice(0), ...this.#waiting.values()]) refuse(because);
    this.#waiting.clear();
    this.#endGathering();
  }
}
