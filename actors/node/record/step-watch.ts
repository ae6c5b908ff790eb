/**
 * Watches machines through XState's inspection, which machines and hosts need not know: one record per step. Steps
 * that leave the state as it was (heartbeats, acknowledgements) are counted.
 */

import type { AnyActorRef, AnyMachineSnapshot, AnyStateMachine, InspectionEvent } from "xstate";
import type { ActorState, Chart, RecordKind } from "../../messages/records.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { recordId } from "../../rules/record-id.ts";
import { currentContext, type TraceContext } from "../trace/trace-context.ts";
import { clock, continueAs } from "./cause.ts";
import { chartOf, edgeIdOf, eventName, valueText } from "./chart.ts";
import { contextOf, watchedOf } from "./kept-context.ts";
import { metaOf } from "./machine-meta.ts";
import { payload } from "./payload.ts";
import type { Place, RecordWriter } from "./record-writer.ts";
import { COALESCE_MS, MOST_KINDS, Repeats } from "./repeats.ts";

/** A look at the present may want actors that have ended, for this long. */
const ENDED_KEPT_MS = 5000;
const MOST_EDGES = 16;
const MOST_TIMERS = 16;

interface Step {
  event: { type: string } & Record<string, unknown>;
  edges: string[];
  timers: { id: string; ms: number }[];
  /** Given out before the step is over, because its actions already have consequences. */
  reserved: Place | null;
  /** What it is a part of. */
  arrivedWith: TraceContext | undefined;
}

const stepOf = (event: Step["event"]): Step => ({
  event,
  edges: [],
  timers: [],
  reserved: null,
  arrivedWith: currentContext(),
});

/** One actor, as far as it is known here. */
interface Track {
  machine: string;
  actor: string;
  subject: string;
  state: ActorState;
  watched: string;
  steps: Step[];
  repeats: Repeats;
  /** When each change of state was last seen. */
  changes: Map<string, number>;
  endedAt: number;
}

export class StepWatch {
  readonly #writer: RecordWriter;
  readonly #tracks = new Map<AnyActorRef, Track>();
  readonly #charts = new Map<string, Chart>();

  constructor(writer: RecordWriter) {
    this.#writer = writer;
  }

  /** Draws these machines for those who ask, also before the first of them runs. */
  knows(...machines: AnyStateMachine[]): void {
    for (const machine of machines) this.#charts.set(machine.id, chartOf(machine));
  }

  get charts(): Chart[] {
    return [...this.#charts.values()];
  }

  /** Every actor that runs, or ended a moment ago. */
  get states(): ActorState[] {
    return [...this.#tracks.values()].map(({ state }) => state);
  }

  everySecond(): void {
    const now = this.#writer.now();
    for (const [actor, track] of this.#tracks) {
      track.repeats.flush(false);
      if (track.endedAt > 0 && now - track.endedAt > ENDED_KEPT_MS) this.#tracks.delete(actor);
    }
  }

  /** Emits all that was only counted so far. */
  end(): void {
    for (const { repeats } of this.#tracks.values()) repeats.flush(true);
  }

  inspect(event: InspectionEvent): void {
    const actor = event.actorRef as AnyActorRef & { logic?: AnyStateMachine };
    switch (event.type) {
      case "@xstate.event":
        this.#onEvent(actor, event.event as Step["event"]);
        return;
      case "@xstate.action":
        this.#onAction(actor, event.action);
        return;
      case "@xstate.microstep": {
        const track = this.#tracks.get(actor);
        const step = track?.steps[0];
        const taken = (event as { _transitions?: Parameters<typeof edgeIdOf>[0][] })._transitions ?? [];
        if (!track || !step || taken.length === 0) return;
        for (const transition of taken) step.edges.push(edgeIdOf(transition));
        // Observers of the actor are called before its snapshot is inspected here.
        this.#begin(track, step);
        return;
      }
      case "@xstate.snapshot":
        this.#onSnapshot(actor, event.snapshot as AnyMachineSnapshot, event.event.type);
    }
  }

  #onEvent(actor: AnyActorRef & { logic?: AnyStateMachine }, event: Step["event"]): void {
    const { logic: machine } = actor;
    if (!machine || !("root" in machine)) return;
    this.#trackOf(actor, machine).steps.push(stepOf(event));
  }

  #trackOf(actor: AnyActorRef, machine: AnyStateMachine): Track {
    const known = this.#tracks.get(actor);
    if (known) return known;
    if (!this.#charts.has(machine.id)) this.knows(machine);
    const { nodeId: n, boot: b } = this.#writer;
    const [, about] = /^[^:]+:(.+)$/.exec(actor.id) ?? [];
    const subject = about === undefined ? n : metaOf(machine).about === "chunk" ? formatChunkId(Number(about)) : about;
    const base = { n, b, q: 0, h: clock.peek(), t: this.#writer.now(), m: machine.id, a: actor.id, s: subject };
    const track: Track = {
      machine: machine.id,
      actor: actor.id,
      subject,
      state: { ...base, v: "" },
      watched: "",
      steps: [],
      repeats: new Repeats(this.#writer),
      changes: new Map(),
      endedAt: 0,
    };
    this.#tracks.set(actor, track);
    return track;
  }

  /** Actions run before their step's snapshot is inspected, and what they send must be able to name the step. */
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
    const kind = `${step.event.type} ${track.state.v}`;
    const alike = track.repeats.counting(kind);
    if (alike) {
      continueAs(alike);
      return;
    }
    if (track.repeats.size > 0 && !this.#isRhythm(track, kind)) track.repeats.flush(true);
    step.reserved = this.#writer.reserve();
    const { nodeId: n, boot: b } = this.#writer;
    continueAs({ id: recordId({ n, b, q: step.reserved.q }), h: step.reserved.h });
  }

  #onSnapshot(actor: AnyActorRef, snapshot: AnyMachineSnapshot, eventType: string): void {
    const track = this.#tracks.get(actor);
    if (!track) return;
    // A stop has no event before it.
    const step = track.steps.shift() ?? stepOf({ type: eventType });
    const context = (snapshot.context ?? {}) as Record<string, unknown>;
    const before = track.state.v;
    const value = valueText(snapshot.value);
    const watched = watchedOf(context);
    const ends = snapshot.status !== "active";
    const isNews = before === "" || value !== before || watched !== track.watched || ends;
    const kind = `${step.event.type} ${before}`;
    const alike = track.repeats.counting(kind);
    if (!isNews && step.reserved === null && alike) {
      track.repeats.count(alike);
      if (step.timers.length > 0) track.state.tm = step.timers;
      continueAs(alike);
      return;
    }
    if (isNews && !this.#isRhythm(track, `${kind} ${value}`)) track.repeats.flush(true);
    const record = this.#record(track, step, snapshot, { before, value, isNews, ends });
    const { q, h, t, c, tm, z } = record;
    track.state = { ...track.state, q, h, t, v: value, c, tm, ...(z ? { z } : {}) };
    track.watched = watched;
    if (!isNews) track.repeats.begin(kind, record);
    if (record.k !== "ignored") continueAs({ id: recordId(record), h });
    if (ends) track.endedAt = this.#writer.now();
  }

  #record(
    track: Track,
    step: Step,
    { status, error, context }: AnyMachineSnapshot,
    { before, value, isNews, ends }: { before: string; value: string; isNews: boolean; ends: boolean },
  ) {
    const isFirst = before === "";
    const { type, ...fields } = step.event;
    const failed = status === "error";
    const k: RecordKind = isFirst ? "init" : failed ? "fault" : step.edges.length === 0 && !ends ? "ignored" : "tr";
    return this.#writer.emit(
      {
        m: track.machine,
        a: track.actor,
        s: track.subject,
        k,
        e: eventName(type),
        d: isFirst ? undefined : payload(failed ? { error } : fields),
        x: step.edges.length > 0 ? step.edges.slice(0, MOST_EDGES) : undefined,
        f: value === before || isFirst ? undefined : before,
        v: value,
        c: contextOf((context ?? {}) as Record<string, unknown>),
        w: step.arrivedWith?.cause?.id,
        ti: step.arrivedWith?.span?.traceId,
        tm: step.timers.length > 0 ? step.timers.slice(0, MOST_TIMERS) : undefined,
        z: ends ? 1 : undefined,
      },
      step.reserved,
      isNews,
    );
  }

  /** A change that comes and goes all the time, like a pulse, is no reason to emit early what was counted. */
  #isRhythm(track: Track, change: string): boolean {
    const now = this.#writer.now();
    const last = track.changes.get(change) ?? 0;
    if (track.changes.size > MOST_KINDS) track.changes.clear();
    track.changes.set(change, now);
    return now - last < COALESCE_MS;
  }
}
