/** Records of what is no machine: refusals, marks in the margin, things that have a state, and figures. */
import type { StepRecord } from "../../messages/records.ts";
import { currentContext } from "../trace/trace-context.ts";
import { payload } from "./payload.ts";
import type { RecordWriter } from "./record-writer.ts";
import { MOST_KINDS, Repeats } from "./repeats.ts";

/** Refusals and the like, per second; the rest is counted into the next. */
const MOST_NOTES_PER_S = 50;

/** What brought it about: a record, a trace. */
function origin(): Pick<StepRecord, "w" | "ti"> {
  const { cause, span } = currentContext() ?? {};
  return { w: cause?.id, ti: span?.traceId };
}

export class Notes {
  readonly #writer: RecordWriter;
  readonly #repeats: Repeats;
  readonly #values = new Map<string, string>();
  #left = MOST_NOTES_PER_S;

  constructor(writer: RecordWriter) {
    this.#writer = writer;
    this.#repeats = new Repeats(writer);
  }

  /** A request was refused, or failed; recorded at most once a second per request and code. */
  refused(request: string, code: string, reason: string, fields: Record<string, unknown>, failed: boolean): void {
    this.#note("requests", `${request} ${code}`, {
      m: "requests",
      a: "requests",
      s: this.#writer.nodeId,
      k: "refused",
      e: code,
      v: failed ? "failed" : "refused",
      d: payload({ request, reason, ...fields }),
    });
  }

  /** Something that is no machine of ours has a state too: `reach:worker-3` is unknown. */
  became(machine: string, subject: string, value: string, event: string, fields: Record<string, unknown>): void {
    const actor = `${machine}:${subject}`;
    const before = this.#values.get(actor);
    if (before === value) return;
    this.#values.set(actor, value);
    const k = before === undefined ? "init" : "tr";
    this.#writer.emit(
      { m: machine, a: actor, s: subject, k, e: event, f: before, v: value, d: payload(fields), ...origin() },
      null,
      true,
    );
  }

  /** A note in the margin: a drill began, a person set a bookmark. */
  mark(event: string, subject: string, fields: Record<string, unknown>): void {
    this.#note("marks", `${event} ${subject} ${this.#writer.seq}`, {
      m: "mark",
      a: "mark",
      s: subject,
      k: "mark",
      e: event,
      v: "",
      d: payload(fields),
    });
  }

  /** Figures of a second or so. */
  sum(machine: string, seen: Record<string, unknown>): void {
    this.#writer.emit(
      { m: machine, a: machine, s: this.#writer.nodeId, k: "sum", e: "counted", v: "", d: payload(seen) },
      null,
      false,
    );
  }

  #note(topic: string, signature: string, body: Pick<StepRecord, "m" | "a" | "s" | "k" | "e" | "v" | "d">): void {
    const kind = `${topic} ${signature}`;
    const alike = this.#repeats.get(kind);
    if (alike && (this.#repeats.isRecent(alike) || this.#left <= 0)) {
      this.#repeats.count(alike);
      alike.template.d = body.d;
      return;
    }
    if (this.#left-- <= 0) return;
    const record = this.#writer.emit({ ...body, ...origin() }, null, false);
    if (this.#repeats.size < MOST_KINDS) this.#repeats.begin(kind, record);
  }

  everySecond(): void {
    this.#left = MOST_NOTES_PER_S;
    this.#repeats.flush(false);
  }

  /** Emits all that was only counted so far. */
  end(): void {
    this.#repeats.flush(true);
  }
}
