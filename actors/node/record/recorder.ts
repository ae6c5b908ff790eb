/**
 * A node's flight recorder: one record per step of each of its state machines, and of what happens to the process. It
 * sits on XState's inspection, so machines and hosts know nothing of it. Records are collected in memory and written in
 * batches: those that change a state within `URGENT_MS`, the others within `BATCH_MS`. What a kill takes is that much.
 *
 * Steps that leave the state as it was (heartbeats, acknowledgements) are counted, and told once a second. Nothing on the
 * way of bytes makes records one by one.
 */
import type { AnyActorRef, AnyMachineSnapshot, AnyStateMachine, InspectionEvent } from "xstate";
import type {
  ActorState,
  Chart,
  MachineStatesAnswer,
  MachinesAnswer,
  RecordCursor,
  RecordKind,
  RecordsAfter,
  RecordsAnswer,
  StepRecord,
} from "../../messages/records.ts";
import { recordId } from "../../messages/records.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { type Cause, clock, continueAs, currentCause } from "./cause.ts";
import { chartOf, edgeIdOf, eventName, valueText } from "./chart.ts";
import { payload } from "./payload.ts";

/** Where the records go. `databases/records.ts` is one. */
export interface RecordStore {
  /** Grows at each opening. */
  readonly boot: number;
  /** The last record of the boot before; null: there was none. */
  readonly previous: StepRecord | null;
  append(records: readonly StepRecord[]): void;
  after(cursor: RecordCursor, limit: number): { records: StepRecord[]; oldest: RecordCursor; lost: number };
  close(): void;
}

/** What wakes a recorder. A simulation has one that adds nothing to what it simulates. */
export interface RecorderTimers {
  setTimeout(code: () => void, ms: number): unknown;
  clearTimeout(handle: unknown): void;
  setInterval(code: () => void, ms: number): unknown;
  clearInterval(handle: unknown): void;
}

const URGENT_MS = 20;
const BATCH_MS = 100;
const COALESCE_MS = 1000;
/** Refusals and the like, per second; the rest is counted into the next. */
const MOST_NOTES_PER_S = 50;
/** The machine of which thousands may come and go in a second: so many new ones are told, the others counted. */
const MANY = "upload";
const MOST_TOLD_PER_S = 5;
/** One that lasts longer is told from then on. */
const BRIEF_MS = 1000;
/** Ended actors are remembered for as long as a look at the present may want them. */
const ENDED_KEPT_MS = 5000;
const MOST_KINDS_PENDING = 256;

/** What of a machine's context is worth keeping, if it has it. */
const CONTEXT_KEYS = [
  "term",
  "leader",
  "leaderId",
  "votedFor",
  "commitIndex",
  "appliedIndex",
  "mode",
  "deaths",
  "refusedBecause",
  "chunkId",
  "purpose",
  "goodCopies",
  "sourceIds",
  "targetId",
  "reason",
  "attempts",
  "failure",
  "path",
  "by",
  "chunkIndex",
  "lengthBytes",
  "bytes",
  "workers",
  "lost",
] as const;
/** A change of these is a change of state, though the state's name stays. */
const WATCHED_KEYS = ["term", "leader", "leaderId", "mode"] as const;

/** A record's number and clock. */
interface Place {
  q: number;
  h: string;
}

interface Step {
  event: { type: string } & Record<string, unknown>;
  edges: string[];
  timers: { id: string; ms: number }[];
  /** Given out before the step is over, because its actions already have consequences. */
  reserved: Place | null;
  arrivedWith: Cause | undefined;
}

interface Repeats {
  id: string;
  h: string;
  emittedAt: number;
  count: number;
  first: number;
  last: number;
  template: Omit<StepRecord, "q" | "h" | "t">;
}

interface Track {
  machine: string;
  actor: string;
  subject: string;
  state: ActorState;
  watched: string;
  steps: Step[];
  repeats: Map<string, Repeats>;
  /** When each change of state was last seen. */
  changes: Map<string, number>;
  endedAt: number;
}

type Sample = { machine: string; read: () => Record<string, unknown>; last: string };

interface RecorderParts {
  nodeId: string;
  store: RecordStore;
  now?: () => number;
  timers?: RecorderTimers;
}

export class Recorder {
  readonly #node: string;
  readonly #store: RecordStore;
  readonly #now: () => number;
  readonly #tracks = new Map<AnyActorRef, Track>();
  readonly #charts = new Map<string, Chart>();
  readonly #values = new Map<string, string>();
  readonly #notes = new Map<string, Repeats>();
  readonly #timers: RecorderTimers;
  readonly #intervals: unknown[] = [];
  readonly #waiting = new Set<() => void>();
  #batch: StepRecord[] = [];
  #flushTimer: unknown = null;
  #flushAt = 0;
  #seq = 0;
  /** Actors of the kind that comes by the thousand, which are counted unless they last or fail; since when. */
  readonly #untold = new WeakMap<AnyActorRef, number>();
  #untoldCount = 0;
  #tellLeft = MOST_TOLD_PER_S;
  /** Records that could not be made or written. */
  #dropped = 0;
  #notesLeft = MOST_NOTES_PER_S;
  #closed = false;

  constructor({ nodeId, store, now = Date.now, timers = globalThis as RecorderTimers }: RecorderParts) {
    this.#node = nodeId;
    this.#store = store;
    this.#now = now;
    this.#timers = timers;
    const { previous } = store;
    if (previous && !(previous.m === "process" && previous.e === "stopped"))
      this.#emitProcess("crashed", "down", { boot: previous.b, lastRecordAt: previous.l ?? previous.t });
    this.#emitProcess("started", "running", { pid: process.pid });
    this.#intervals.push(timers.setInterval(() => this.#everySecond(), COALESCE_MS));
  }

  get boot(): number {
    return this.#store.boot;
  }

  // ── machines ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Goes into `createActor(machine, { inspect })`. */
  readonly inspect = (event: InspectionEvent): void => {
    if (this.#closed) return;
    try {
      this.#inspect(event);
    } catch {
      // An observer never harms what it observes.
      this.#dropped++;
    }
  };

  #inspect(event: InspectionEvent): void {
    const actor = event.actorRef as AnyActorRef & { logic?: AnyStateMachine };
    switch (event.type) {
      case "@xstate.event": {
        if (!actor.logic || !("root" in actor.logic) || this.#isUntold(actor, actor.logic.id)) return;
        this.#trackOf(actor, actor.logic).steps.push({
          event: event.event as Step["event"],
          edges: [],
          timers: [],
          reserved: null,
          arrivedWith: currentCause(),
        });
        return;
      }
      case "@xstate.action":
        this.#onAction(actor, event.action);
        return;
      case "@xstate.microstep": {
        const track = this.#tracks.get(actor);
        const step = track?.steps[0];
        const taken = (event as { _transitions?: Parameters<typeof edgeIdOf>[0][] })._transitions ?? [];
        if (!track || !step || taken.length === 0) return;
        for (const transition of taken) step.edges.push(edgeIdOf(transition));
        // Those who observe the actor hear of the step before the snapshot is told here.
        this.#begin(track, step);
        return;
      }
      case "@xstate.snapshot":
        this.#onSnapshot(actor, event.snapshot as AnyMachineSnapshot, event.event.type);
    }
  }

  #trackOf(actor: AnyActorRef, machine: AnyStateMachine): Track {
    const known = this.#tracks.get(actor);
    if (known) return known;
    if (!this.#charts.has(machine.id)) this.knows(machine);
    const [, about] = /^[^:]+:(.+)$/.exec(actor.id) ?? [];
    const subject = about === undefined ? this.#node : machine.id === "repair" ? formatChunkId(Number(about)) : about;
    const track: Track = {
      machine: machine.id,
      actor: actor.id,
      subject,
      state: { ...this.#stateBase(machine.id, actor.id, subject), v: "" },
      watched: "",
      steps: [],
      repeats: new Map(),
      changes: new Map(),
      endedAt: 0,
    };
    this.#tracks.set(actor, track);
    return track;
  }

  #stateBase(m: string, a: string, s: string): Omit<ActorState, "v"> {
    return { n: this.#node, b: this.boot, q: 0, h: clock.peek(), t: this.#now(), m, a, s };
  }

  /** Actions run before their step is told, and what they send must be able to name it. */
  #onAction(actor: AnyActorRef, action: { type: string; params: unknown }): void {
    const track = this.#tracks.get(actor);
    const step = track?.steps[0];
    if (!track || !step) return;
    if (action.type === "xstate.raise") {
      const { delay, event } = action.params as { delay?: number; event?: { type: string } };
      if (typeof delay === "number" && event) step.timers.push({ id: eventName(event.type), ms: delay });
    }
    this.#begin(track, step);
  }

  /** From here on the step has consequences. */
  #begin(track: Track, step: Step): void {
    if (step.reserved !== null) return;
    const alike = track.repeats.get(`${step.event.type} ${track.state.v}`);
    if (alike && (alike.count > 0 || this.#now() - alike.emittedAt < COALESCE_MS)) continueAs(alike);
    else {
      if (track.repeats.size > 0 && !this.#isRhythm(track, `${step.event.type} ${track.state.v}`, this.#now()))
        this.#flushRepeats(track.repeats, this.#now(), true);
      step.reserved = this.#reserve();
      continueAs({ id: `${this.#node}/${this.boot}/${step.reserved.q}`, h: step.reserved.h });
    }
  }

  #reserve(): Place {
    return { q: ++this.#seq, h: clock.tick() };
  }

  #onSnapshot(actor: AnyActorRef, snapshot: AnyMachineSnapshot, eventType: string): void {
    const track = this.#tracks.get(actor);
    if (!track) {
      if (this.#untold.has(actor) && snapshot.status !== "active") this.#countUntold(actor, snapshot);
      return;
    }
    // A stop is told without an event before it.
    const step = track.steps.shift() ?? {
      event: { type: eventType },
      edges: [],
      timers: [],
      reserved: null,
      arrivedWith: currentCause(),
    };
    const context = (snapshot.context ?? {}) as Record<string, unknown>;
    const before = track.state.v;
    const value = valueText(snapshot.value);
    const isFirst = before === "";
    const watched = WATCHED_KEYS.map((key) => context[key] ?? "").join();
    const ends = snapshot.status !== "active";
    const isNews = isFirst || value !== before || watched !== track.watched || ends;
    const { type } = step.event;
    const signature = `${type} ${before}`;
    const now = this.#now();
    const alike = track.repeats.get(signature);
    if (!isNews && step.reserved === null && alike && (alike.count > 0 || now - alike.emittedAt < COALESCE_MS)) {
      if (alike.count++ === 0) alike.first = now;
      alike.last = now;
      if (step.timers.length > 0) track.state.tm = step.timers;
      continueAs(alike);
      return;
    }
    if (isNews && !this.#isRhythm(track, `${signature} ${value}`, now)) this.#flushRepeats(track.repeats, now, true);
    const kind: RecordKind = isFirst
      ? "init"
      : snapshot.status === "error"
        ? "fault"
        : step.edges.length === 0 && !ends
          ? "ignored"
          : "tr";
    const { type: _, ...fields } = step.event;
    const record = this.#emit(
      {
        m: track.machine,
        a: track.actor,
        s: track.subject,
        k: kind,
        e: eventName(type),
        d: isFirst ? undefined : payload(snapshot.status === "error" ? { error: snapshot.error } : fields),
        x: step.edges.length > 0 ? step.edges.slice(0, 16) : undefined,
        f: value === before || isFirst ? undefined : before,
        v: value,
        c: contextOf(context),
        w: step.arrivedWith?.id,
        tm: step.timers.length > 0 ? step.timers.slice(0, 16) : undefined,
        z: ends ? 1 : undefined,
      },
      step.reserved,
      isNews,
    );
    const { q, h, t, c, tm, z } = record;
    track.state = { ...track.state, q, h, t, v: value, c, tm, ...(z ? { z } : {}) };
    track.watched = watched;
    if (!isNews) {
      const { q: _q, h: _h, t: _t, ...template } = record;
      track.repeats.set(signature, { id: recordId(record), h, emittedAt: now, count: 0, first: 0, last: 0, template });
    }
    if (kind !== "ignored") continueAs({ id: recordId(record), h });
    if (ends) track.endedAt = now;
  }

  /** Small files come by the thousand: some of their uploads are told, the others are as long as they are brief. */
  #isUntold(actor: AnyActorRef, machine: string): boolean {
    if (machine !== MANY || this.#tracks.has(actor)) return false;
    const since = this.#untold.get(actor);
    if (since !== undefined) return this.#now() - since < BRIEF_MS;
    if (this.#tellLeft-- > 0) return false;
    this.#untold.set(actor, this.#now());
    return true;
  }

  #countUntold(actor: AnyActorRef, snapshot: AnyMachineSnapshot): void {
    this.#untold.delete(actor);
    const v = valueText(snapshot.value);
    if (v === "done") this.#untoldCount++;
    if (v !== "failed") return;
    const [, s = this.#node] = /^[^:]+:(.+)$/.exec(actor.id) ?? [];
    const c = contextOf(snapshot.context as Record<string, unknown>);
    this.#emit({ m: MANY, a: actor.id, s, k: "init", e: "FAILED", v, c, z: 1 }, null, true);
  }

  /** A change that comes and goes all the time, like a pulse, is no reason to tell early what was counted. */
  #isRhythm(track: Track, change: string, now: number): boolean {
    const last = track.changes.get(change) ?? 0;
    if (track.changes.size > MOST_KINDS_PENDING) track.changes.clear();
    track.changes.set(change, now);
    return now - last < COALESCE_MS;
  }

  /** Draws these machines for whoever asks, also before the first of them runs. */
  knows(...machines: AnyStateMachine[]): void {
    for (const machine of machines) this.#charts.set(machine.id, chartOf(machine));
  }

  // ── everything else ──────────────────────────────────────────────────────────────────────────────────────────────

  /** A request was refused, or failed: with the reason, told at most once a second per request and code. */
  refused(request: string, code: string, reason: string, fields: Record<string, unknown> = {}, failed = false): void {
    this.#note("requests", `${request} ${code}`, {
      m: "requests",
      a: "requests",
      s: this.#node,
      k: "refused",
      e: code,
      v: failed ? "failed" : "refused",
      d: payload({ request, reason, ...fields }),
    });
  }

  /** Something that is no machine of ours has a state too: `reach:worker-3` is unknown. */
  became(machine: string, subject: string, value: string, event: string, fields: Record<string, unknown> = {}): void {
    if (this.#closed) return;
    const actor = `${machine}:${subject}`;
    const before = this.#values.get(actor);
    if (before === value) return;
    this.#values.set(actor, value);
    const k = before === undefined ? "init" : "tr";
    const w = currentCause()?.id;
    this.#emit(
      { m: machine, a: actor, s: subject, k, e: event, f: before, v: value, d: payload(fields), w },
      null,
      true,
    );
  }

  /** A note in the margin: a drill began, somebody set a bookmark. */
  mark(event: string, subject: string, fields: Record<string, unknown> = {}): void {
    this.#note("marks", `${event} ${subject} ${this.#seq}`, {
      m: "mark",
      a: "mark",
      s: subject,
      k: "mark",
      e: event,
      v: "",
      d: payload(fields),
    });
  }

  /** Looks every `everyMs`, and records what it sees when it is not what it saw last. @returns ends it */
  sample(machine: string, everyMs: number, read: () => Record<string, unknown>): () => void {
    const sample: Sample = { machine, read, last: "" };
    const timer = this.#timers.setInterval(() => this.#look(sample), everyMs);
    this.#intervals.push(timer);
    return () => this.#timers.clearInterval(timer);
  }

  #look(sample: Sample): void {
    if (this.#closed) return;
    let seen: Record<string, unknown>;
    try {
      seen = sample.read();
    } catch {
      return;
    }
    const text = JSON.stringify(seen);
    if (text === sample.last) return;
    sample.last = text;
    const { machine } = sample;
    this.#emit({ m: machine, a: machine, s: this.#node, k: "sum", e: "counted", v: "", d: payload(seen) }, null, false);
  }

  #note(topic: string, signature: string, body: Pick<StepRecord, "m" | "a" | "s" | "k" | "e" | "v" | "d">): void {
    if (this.#closed) return;
    const now = this.#now();
    const key = `${topic} ${signature}`;
    const alike = this.#notes.get(key);
    if (alike && (now - alike.emittedAt < COALESCE_MS || this.#notesLeft <= 0)) {
      if (alike.count++ === 0) alike.first = now;
      alike.last = now;
      alike.template.d = body.d;
      return;
    }
    if (this.#notesLeft-- <= 0) return;
    const record = this.#emit({ ...body, w: currentCause()?.id }, null, false);
    const { q: _q, h, t: _t, ...template } = record;
    if (this.#notes.size < MOST_KINDS_PENDING)
      this.#notes.set(key, { id: recordId(record), h, emittedAt: now, count: 0, first: 0, last: 0, template });
  }

  #emitProcess(e: string, v: string, d: Record<string, unknown>): void {
    this.#emit({ m: "process", a: "process", s: this.#node, k: "proc", e, v, d: payload(d) }, null, true);
  }

  // ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #emit(body: Omit<StepRecord, "n" | "b" | "q" | "h" | "t">, reserved: Place | null, urgent: boolean): StepRecord {
    const { q, h } = reserved ?? this.#reserve();
    const record = { n: this.#node, b: this.boot, q, h, t: this.#now(), ...body };
    this.#batch.push(record);
    this.#flushWithin(urgent ? URGENT_MS : BATCH_MS);
    return record;
  }

  #flushRepeats(repeats: Map<string, Repeats>, now: number, all: boolean): void {
    for (const [signature, one] of repeats) {
      const isOld = now - one.emittedAt >= 0.9 * COALESCE_MS;
      if (one.count === 0 && isOld) repeats.delete(signature);
      if (one.count === 0 || !(all || isOld)) continue;
      const { f: _f, tm: _tm, w: _w, ...template } = one.template;
      const record = this.#emit({ ...template, l: one.last, ...(one.count > 1 ? { r: one.count } : {}) }, null, false);
      record.t = one.first;
      Object.assign(one, { id: recordId(record), h: record.h, emittedAt: now, count: 0 });
    }
  }

  #everySecond(): void {
    const now = this.#now();
    this.#notesLeft = MOST_NOTES_PER_S;
    this.#tellLeft = MOST_TOLD_PER_S;
    if (this.#untoldCount > 0) {
      const d = { done: this.#untoldCount };
      this.#untoldCount = 0;
      this.#emit({ m: MANY, a: `${MANY}s`, s: this.#node, k: "sum", e: "counted", v: "", d }, null, false);
    }
    for (const [actor, track] of this.#tracks) {
      this.#flushRepeats(track.repeats, now, false);
      if (track.endedAt > 0 && now - track.endedAt > ENDED_KEPT_MS) this.#tracks.delete(actor);
    }
    this.#flushRepeats(this.#notes, now, false);
    if (this.#dropped > 0) {
      const d = { lost: this.#dropped };
      this.#dropped = 0;
      this.#emit({ m: "process", a: "process", s: this.#node, k: "gap", e: "lost", v: "running", d }, null, false);
    }
  }

  #flushWithin(ms: number): void {
    const at = this.#now() + ms;
    if (this.#flushTimer !== null) {
      if (this.#flushAt <= at) return;
      this.#timers.clearTimeout(this.#flushTimer);
    }
    this.#flushAt = at;
    this.#flushTimer = this.#timers.setTimeout(() => this.flush(), ms);
  }

  /** Writes what is waiting. Records reserved early come out in the order of their numbers. */
  flush(): void {
    if (this.#flushTimer !== null) this.#timers.clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    if (this.#batch.length === 0) return;
    const batch = this.#batch.sort((a, b) => a.q - b.q);
    this.#batch = [];
    try {
      this.#store.append(batch);
    } catch {
      // A full or failing disk: the node's own work comes first, and says so itself.
      this.#dropped += batch.length;
      return;
    }
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** The last record says that this end was wanted. */
  close(): void {
    if (this.#closed) return;
    for (const timer of this.#intervals) this.#timers.clearInterval(timer);
    const now = this.#now();
    for (const { repeats } of this.#tracks.values()) this.#flushRepeats(repeats, now, true);
    this.#flushRepeats(this.#notes, now, true);
    this.#emitProcess("stopped", "stopped", {});
    this.flush();
    this.#closed = true;
    this.#store.close();
  }

  // ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async after({ after, limit, waitMs }: Pick<RecordsAfter, "after" | "limit" | "waitMs">): Promise<RecordsAnswer> {
    let answer = this.#read(after, limit);
    if (answer.records.length === 0 && waitMs > 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        const timer = this.#timers.setTimeout(() => {
          this.#waiting.delete(wake);
          resolve();
        }, waitMs);
        const wake = () => {
          this.#timers.clearTimeout(timer);
          resolve();
        };
        this.#waiting.add(wake);
      });
      answer = this.#read(after, limit);
    }
    return answer;
  }

  #read(after: RecordCursor, limit: number): RecordsAnswer {
    if (this.#closed) return { ...NOTHING, boot: this.boot, next: after };
    this.flush();
    const reading = clock.peek();
    const { records, oldest, lost } = this.#store.after(after, limit);
    const last = records.at(-1);
    const more = records.length === limit;
    return {
      records,
      next: last ? { boot: last.b, seq: last.q } : after,
      more,
      clock: more && last ? last.h : reading,
      boot: this.boot,
      oldest,
      lost,
    };
  }

  states(): MachineStatesAnswer {
    this.flush();
    return {
      actors: [...this.#tracks.values()].map(({ state }) => state),
      cursor: { boot: this.boot, seq: this.#seq },
      clock: clock.peek(),
    };
  }

  machines(): MachinesAnswer {
    return { charts: [...this.#charts.values()] };
  }
}

const NOTHING: RecordsAnswer = {
  records: [],
  next: { boot: 0, seq: 0 },
  more: false,
  clock: "0".repeat(16),
  boot: 0,
  oldest: { boot: 0, seq: 0 },
  lost: 0,
};

function contextOf(context: Record<string, unknown>): Record<string, unknown> | undefined {
  const kept: Record<string, unknown> = {};
  for (const key of CONTEXT_KEYS) if (context[key] !== undefined && context[key] !== null) kept[key] = context[key];
  return payload(kept);
}

// ── the recorder of this process ───────────────────────────────────────────────────────────────────────────────────

let running: Recorder | null = null;
let recorderHere = (): Recorder | null => running;
const known = new Map<string, AnyStateMachine>();

/** From now on this process records. Called once, before its machines start. */
export function startRecording(nodeId: string, store: RecordStore): Recorder {
  running = new Recorder({ nodeId, store });
  running.knows(...known.values());
  return running;
}

export function stopRecording(): void {
  running?.close();
  running = null;
}

/** Where many nodes share a process, each has a recorder of its own: `lookUp` says which is the running code's. */
export function lookUpRecorder(lookUp: () => Recorder | null): void {
  recorderHere = lookUp;
}

export const recorder = (): Recorder | null => recorderHere();

/** Machines that this node runs sooner or later; they are drawn whether recording is on or not. */
export function registerMachines(...machines: AnyStateMachine[]): void {
  for (const machine of machines) known.set(machine.id, machine);
  running?.knows(...machines);
}

/** What every node's mailbox answers; a node that does not record has nothing to tell but its machines. */
export const recordsHandlers = {
  RECORDS_AFTER: (message: RecordsAfter): Promise<RecordsAnswer> | RecordsAnswer =>
    recorder()?.after(message) ?? { ...NOTHING, next: message.after },
  MACHINE_STATES: (): MachineStatesAnswer =>
    recorder()?.states() ?? { actors: [], cursor: { boot: 0, seq: 0 }, clock: NOTHING.clock },
  MACHINES: (): MachinesAnswer => recorder()?.machines() ?? { charts: [...known.values()].map(chartOf) },
};
