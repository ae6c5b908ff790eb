/** Records that say the same again are counted, and come out as one with a number, once a second at most. */

import type { StepRecord } from "../../messages/records.ts";
import { recordId } from "../../rules/record-id.ts";
import type { Cause } from "../trace/trace-context.ts";
import type { RecordBody, RecordWriter } from "./record-writer.ts";

export const COALESCE_MS = 1000;
/** Kinds that are told apart at once. */
export const MOST_KINDS = 256;

/** A record that was emitted, and those like it since. As a cause, it stands for all of them. */
export interface Repeat extends Cause {
  emittedAt: number;
  count: number;
  /** ms: when the first and the last that are counted happened. */
  first: number;
  last: number;
  template: RecordBody & Pick<StepRecord, "n" | "b">;
}

export class Repeats {
  readonly #writer: RecordWriter;
  readonly #kinds = new Map<string, Repeat>();

  constructor(writer: RecordWriter) {
    this.#writer = writer;
  }

  get size(): number {
    return this.#kinds.size;
  }

  get(kind: string): Repeat | undefined {
    return this.#kinds.get(kind);
  }

  /** @returns the repeat that one more of this kind would be counted into; undefined: it is a record of its own */
  counting(kind: string): Repeat | undefined {
    const alike = this.#kinds.get(kind);
    return alike && (alike.count > 0 || this.isRecent(alike)) ? alike : undefined;
  }

  isRecent({ emittedAt }: Repeat): boolean {
    return this.#writer.now() - emittedAt < COALESCE_MS;
  }

  count(alike: Repeat): void {
    const now = this.#writer.now();
    if (alike.count++ === 0) alike.first = now;
    alike.last = now;
  }

  /** From here on, others of this kind are counted. */
  begin(kind: string, record: StepRecord): void {
    const { q: _q, h, t: _t, ...template } = record;
    const emittedAt = this.#writer.now();
    this.#kinds.set(kind, { id: recordId(record), h, emittedAt, count: 0, first: 0, last: 0, template });
  }

  /** Emits what was counted. @param all also what was counted for less than about a second */
  flush(all: boolean): void {
    const now = this.#writer.now();
    for (const [kind, one] of this.#kinds) {
      const isOld = now - one.emittedAt >= 0.9 * COALESCE_MS;
      if (one.count === 0 && isOld) this.#kinds.delete(kind);
      if (one.count === 0 || !(all || isOld)) continue;
      const { f: _f, tm: _tm, w: _w, ti: _ti, ...template } = one.template;
      const counted = { ...template, l: one.last, ...(one.count > 1 ? { r: one.count } : {}) };
      const record = this.#writer.emit(counted, null, false);
      record.t = one.first;
      Object.assign(one, { id: recordId(record), h: record.h, emittedAt: now, count: 0 });
    }
  }
}
