/**
 * Work that begins and ends by the thousand in a second. Of each kind a few are recorded step by step; the others are
 * counted. Hosts ask before they make an actor: what is only counted needs none.
 */
import type { RecordWriter } from "./record-writer.ts";

const RECORDED_PER_S = 5;

interface Kind {
  /** How many more are recorded in this second. */
  left: number;
  /** Ended well in this second without being recorded. */
  done: number;
}

export class Crowd {
  readonly #writer: RecordWriter;
  readonly #kinds = new Map<string, Kind>();

  constructor(writer: RecordWriter) {
    this.#writer = writer;
  }

  #of(machine: string): Kind {
    let kind = this.#kinds.get(machine);
    if (!kind) {
      kind = { left: RECORDED_PER_S, done: 0 };
      this.#kinds.set(machine, kind);
    }
    return kind;
  }

  /** @returns whether the next one is recorded from its beginning */
  takesOneMore(machine: string): boolean {
    const kind = this.#of(machine);
    if (kind.left === 0) return false;
    kind.left--;
    return true;
  }

  done(machine: string): void {
    this.#of(machine).done++;
  }

  /** Says how many were counted, and lets a few be recorded again: every second, and at the end. */
  tally(): void {
    const s = this.#writer.nodeId;
    for (const [m, { done }] of this.#kinds)
      if (done > 0) this.#writer.emit({ m, a: `${m}s`, s, k: "sum", e: "counted", v: "", d: { done } }, null, false);
    this.#kinds.clear();
  }
}
