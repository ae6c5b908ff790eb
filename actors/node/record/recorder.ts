/**
 * A node's flight recorder: one record per step of each of its state machines, and of what happens to the process. Nothing
 * on the way of bytes makes records one by one.
 */
import type { AnyStateMachine, InspectionEvent } from "xstate";
import type { MachineStatesAnswer, MachinesAnswer, RecordsAfter, RecordsAnswer } from "../../messages/records.ts";
import { clock } from "./cause.ts";
import { Crowd } from "./crowd.ts";
import { Notes } from "./notes.ts";
import { payload } from "./payload.ts";
import type { RecorderParts } from "./record-store.ts";
import { RecordWriter } from "./record-writer.ts";
import { COALESCE_MS } from "./repeats.ts";
import { StepWatch } from "./step-watch.ts";

export class Recorder {
  readonly #writer: RecordWriter;
  readonly #steps: StepWatch;
  readonly #notes: Notes;
  readonly #crowd: Crowd;
  readonly #intervals: unknown[] = [];
  #closed = false;

  constructor(parts: RecorderParts) {
    const writer = new RecordWriter(parts);
    this.#writer = writer;
    this.#steps = new StepWatch(writer);
    this.#notes = new Notes(writer);
    this.#crowd = new Crowd(writer);
    const { previous } = parts.store;
    if (previous && !(previous.m === "process" && previous.e === "stopped"))
      writer.emitProcess("crashed", "down", payload({ boot: previous.b, lastRecordAt: previous.l ?? previous.t }));
    writer.emitProcess("started", "running", payload({ pid: process.pid }));
    this.#intervals.push(writer.timers.setInterval(() => this.#everySecond(), COALESCE_MS));
  }

  get boot(): number {
    return this.#writer.boot;
  }

  /** Goes into `createActor(machine, { inspect })`. */
  readonly inspect = (event: InspectionEvent): void => {
    if (this.#closed) return;
    try {
      this.#steps.inspect(event);
    } catch {
      // An observer never harms what it observes.
      this.#writer.drop();
    }
  };

  /** Draws these machines for those who ask, also before the first of them runs. */
  knows(...machines: AnyStateMachine[]): void {
    this.#steps.knows(...machines);
  }

  /** @see Crowd.takesOneMore */
  takesOneMore(machine: string): boolean {
    return !this.#closed && this.#crowd.takesOneMore(machine);
  }

  /** One that is only counted has come to its good end. */
  passedBy(machine: string): void {
    this.#crowd.done(machine);
  }

  /** @see Notes.refused */
  refused(request: string, code: string, reason: string, fields: Record<string, unknown> = {}, failed = false): void {
    if (!this.#closed) this.#notes.refused(request, code, reason, fields, failed);
  }

  /** @see Notes.became */
  became(machine: string, subject: string, value: string, event: string, fields: Record<string, unknown> = {}): void {
    if (!this.#closed) this.#notes.became(machine, subject, value, event, fields);
  }

  /** @see Notes.mark */
  mark(event: string, subject: string, fields: Record<string, unknown> = {}): void {
    if (!this.#closed) this.#notes.mark(event, subject, fields);
  }

  /** Looks every `everyMs`, and records figures that differ from the last ones. @returns ends it */
  sample(machine: string, everyMs: number, read: () => Record<string, unknown>): () => void {
    let last = "";
    const look = (): void => {
      if (this.#closed) return;
      let seen: Record<string, unknown>;
      try {
        seen = read();
      } catch {
        return;
      }
      const text = JSON.stringify(seen);
      if (text === last) return;
      last = text;
      this.#notes.sum(machine, seen);
    };
    const { timers } = this.#writer;
    const timer = timers.setInterval(look, everyMs);
    this.#intervals.push(timer);
    return () => timers.clearInterval(timer);
  }

  #everySecond(): void {
    this.#steps.everySecond();
    this.#notes.everySecond();
    this.#crowd.tally();
    const lost = this.#writer.takeDropped();
    if (lost > 0) this.#writer.emitProcess("lost", "running", { lost }, "gap");
  }

  flush(): void {
    this.#writer.flush();
  }

  /** The last record says that this end was wanted. */
  close(): void {
    if (this.#closed) return;
    for (const timer of this.#intervals) this.#writer.timers.clearInterval(timer);
    this.#steps.end();
    this.#notes.end();
    this.#crowd.tally();
    this.#writer.emitProcess("stopped", "stopped", payload({}));
    this.flush();
    this.#closed = true;
    this.#writer.store.close();
  }

  // ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async after({ after, limit, waitMs }: Pick<RecordsAfter, "after" | "limit" | "waitMs">): Promise<RecordsAnswer> {
    const answer = this.#read(after, limit);
    if (answer.records.length > 0 || waitMs <= 0 || this.#closed) return answer;
    await this.#writer.written(waitMs);
    return this.#read(after, limit);
  }

  #read(after: RecordsAfter["after"], limit: number): RecordsAnswer {
    if (this.#closed) return { ...NO_RECORDS, boot: this.boot, next: after };
    this.flush();
    const reading = clock.peek();
    const { records, oldest, lost } = this.#writer.store.after(after, limit);
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
    const { boot, seq } = this.#writer;
    return { actors: this.#steps.states, cursor: { boot, seq }, clock: clock.peek() };
  }

  machines(): MachinesAnswer {
    return { charts: this.#steps.charts };
  }
}

/** The answer of a node that does not record. */
export const NO_RECORDS: RecordsAnswer = {
  records: [],
  next: { boot: 0, seq: 0 },
  more: false,
  clock: "0".repeat(16),
  boot: 0,
  oldest: { boot: 0, seq: 0 },
  lost: 0,
};
