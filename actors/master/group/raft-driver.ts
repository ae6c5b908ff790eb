/**
 * Runs one `raft` machine: carries its effects out in order, and feeds what came of them back as events.
 *
 * What a step wants made durable is collected and flushed together, one flush at a time, first in first out; messages
 * that must not leave before (P1, P2) wait for theirs. Clock, chance, network, disk and state machine are ports, so that
 * a simulation drives exactly the code that a real master runs.
 */

import { type Actor, createActor } from "xstate";
import type { LogWrite } from "../../../databases/master-log.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { RaftEntry, RaftMessage, RaftMessageOf } from "../../messages/raft.ts";
import type { Clock } from "../../node/clock.ts";
import { inspector } from "../../node/record/inspector.ts";
import { outsideRequest } from "../../node/trace/trace-context.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import { type Inadmissible, whyInadmissible } from "../../rules/raft/admission.ts";
import { slice } from "../../rules/raft/log-tail.ts";
import {
  checkTimings,
  type Effect,
  type RaftEvent,
  type RaftTimings,
  type RecoveredRaft,
  startingState,
} from "../../rules/raft/state.ts";
import { type RaftContext, raftMachine } from "./raft.machine.ts";

const stepping = declareWork("raft");
const applying = declareWork("apply");

export interface RaftDriverPorts {
  clock: Clock;
  /** Uniform in [0, 1). */
  random(): number;
  /** Its files are known to be whole: it may stand for election. */
  mayLead(): boolean;
  send(message: RaftMessage): void;
  /** Makes a write durable, then calls `done`, at once or later; or throws. Never called while another is under way. */
  flush(write: LogWrite, done: (error?: unknown) => void): void;
  /** Calls back soon, after what else this turn brings: the moment of group commit. */
  defer(callback: () => void): void;
  /** Applies committed entries in order. */
  apply(entries: readonly RaftEntry[]): void;
  /** Places of the proposals in the order they were made; null: not taken, this node does not lead. */
  proposed(firstIndex: number | null, count: number, term: number): void;
  /** The state at `index` or later answers the read; null: ask elsewhere. */
  readReady(id: number, index: number | null): void;
  leaderChanged(leaderId: NodeId | null, term: number): void;
  sendSnapshot(to: NodeId): void;
  installSnapshot(offer: RaftMessageOf<"rpc.snapshotOffer">): void;
  /** The machine stopped or broke: nothing more will come of it. */
  failed(cause: unknown): void;
}

export interface RaftDriverOptions {
  maxAppendEntries?: number;
  maxInflight?: number;
  /** Another make of the machine: simulations plant known bugs in it, to see that they are found. */
  machine?: typeof raftMachine;
}

interface Batch {
  write: LogWrite;
  last: RaftEntry | null;
  thenSend: RaftMessage[];
}

const newBatch = (): Batch => ({ write: { hard: null, changes: [] }, last: null, thenSend: [] });
const isEmpty = ({ write }: Batch): boolean => write.hard === null && write.changes.length === 0;

type Unstamped<E> = E extends unknown ? Omit<E, "at"> : never;

export class RaftDriver {
  readonly actor: Actor<typeof raftMachine>;
  readonly #ports: RaftDriverPorts;
  readonly #effects: Effect[] = [];
  #open = newBatch();
  #isFlushing = false;
  #isDeferred = false;
  #isDraining = false;
  #isStopped = false;
  #stuck: unknown;

  constructor(
    id: NodeId,
    recovered: RecoveredRaft,
    timings: RaftTimings,
    ports: RaftDriverPorts,
    { maxAppendEntries = 512, maxInflight = 64, machine = raftMachine }: RaftDriverOptions = {},
  ) {
    checkTimings(timings);
    this.#ports = ports;
    const context: RaftContext = {
      ...startingState({ id, timings, maxAppendEntries, maxInflight }, recovered),
      ports: {
        now: () => ports.clock.now(),
        random: () => ports.random(),
        mayLead: () => ports.mayLead(),
        effects: this.#effects,
      },
    };
    this.actor = createActor(machine, {
      id: `raft:${id}`,
      input: context,
      clock: ports.clock as never,
      inspect: inspector(),
    });
    this.actor.subscribe({ next: () => this.#drain(), error: (cause) => this.#fail(cause) });
  }

  start(): void {
    this.actor.start();
    this.#drain();
  }

  get state(): RaftContext {
    return this.actor.getSnapshot().context;
  }

  /** `follower`, `precandidate`, `candidate` or `leader`. */
  get role(): string {
    const { value } = this.actor.getSnapshot();
    return typeof value === "string" ? value : (Object.keys(value)[0] as string);
  }

  /** Leads, and everything committed before it led is applied. */
  get isReady(): boolean {
    return this.actor.getSnapshot().matches({ leader: { office: "ready" } });
  }

  /** Why the machine is not to hear of it; null: it may. */
  inadmissible(message: RaftMessage): Inadmissible | null {
    return whyInadmissible(this.state, message);
  }

  /** Drops a message that is not admissible or is for another master, as a network would. */
  receive(message: RaftMessage): void {
    if (message.to !== this.state.id || this.inadmissible(message) !== null) return;
    this.send({ type: message.type, message } as Unstamped<RaftEvent>);
  }

  send(event: Unstamped<RaftEvent>): void {
    stepping.begins();
    if (this.#isStopped) return;
    // What the group does serves many requests at once, and its timers outlive them.
    outsideRequest(() => {
      this.actor.send({ ...event, at: this.#ports.clock.now() } as RaftEvent);
      this.#drain();
    });
  }

  /** Nothing leaves any more, as if the power had gone. */
  stop(): void {
    this.#isStopped = true;
    this.actor.stop();
  }

  #fail(cause: unknown): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#ports.failed(cause);
  }

  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      for (let effect = this.#effects.shift(); effect && !this.#isStopped; effect = this.#effects.shift())
        this.#carryOut(effect);
    } catch (cause) {
      this.#fail(cause);
    } finally {
      this.#isDraining = false;
    }
  }

  #carryOut(effect: Effect): void {
    const ports = this.#ports;
    switch (effect.kind) {
      case "persist": {
        const { hard, truncateFrom, entries = [] } = effect;
        if (hard) this.#open.write.hard = hard;
        if (truncateFrom !== undefined || entries.length > 0)
          this.#open.write.changes.push({ truncateFrom: truncateFrom ?? null, entries });
        this.#open.last = entries.at(-1) ?? this.#open.last;
        this.#deferFlush();
        return;
      }
      case "send":
        if (effect.afterFlush && (this.#isFlushing || !isEmpty(this.#open))) this.#open.thenSend.push(effect.message);
        else ports.send(effect.message);
        return;
      case "apply":
        applying.begins();
        ports.apply(slice(this.state.log, effect.after + 1, effect.upTo));
        return;
      case "proposed":
        ports.proposed(effect.firstIndex, effect.count, this.state.term);
        return;
      case "readReady":
        ports.readReady(effect.id, effect.index);
        return;
      case "readFailed":
        ports.readReady(effect.id, null);
        return;
      case "leaderChanged":
        ports.leaderChanged(effect.leaderId, effect.term);
        return;
      case "sendSnapshot":
        ports.sendSnapshot(effect.to);
        return;
      case "installSnapshot":
        ports.installSnapshot(effect.offer);
        return;
    }
  }

  #deferFlush(): void {
    if (this.#isDeferred || this.#isFlushing) return;
    this.#isDeferred = true;
    this.#ports.defer(() => {
      this.#isDeferred = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#isStopped || this.#isFlushing) return;
    const batch = this.#open;
    if (isEmpty(batch)) {
      for (const message of this.#open.thenSend.splice(0)) this.#ports.send(message);
      return;
    }
    this.#open = newBatch();
    this.#isFlushing = true;
    const ended = (error?: unknown) => {
      if (this.#isStopped) return;
      this.#isFlushing = false;
      this.#ports.clock.clearTimeout(this.#stuck);
      // P9: a failed flush is never tried again.
      if (error !== undefined) return this.#fail(error);
      for (const message of batch.thenSend) this.#ports.send(message);
      if (batch.last) this.send({ type: "disk.flushed", lastIndex: batch.last.index, lastTerm: batch.last.term });
      if (!isEmpty(this.#open) || this.#open.thenSend.length > 0) this.#flush();
    };
    try {
      this.#ports.flush(batch.write, ended);
    } catch (cause) {
      this.#fail(cause);
      return;
    }
    // R8: a leader whose disk hangs would freeze the group with its beats. A master that waits for its disk cannot campaign.
    if (this.#isFlushing)
      this.#stuck = this.#ports.clock.setTimeout(() => this.send({ type: "host.late" }), this.state.timings.electionMs);
  }

  /** Flushes what waits for this turn's flush, now: before the log is changed from outside. */
  flushNow(): void {
    this.#flush();
  }
}
