/**
 * Numbers records, collects them in memory and writes them in batches: those that change a state within `URGENT_MS`, the
 * others within `WATCHED_MS` while somebody waits for them, and with the recorder's next second otherwise. A killed process
 * loses that much.
 */
import type { StepRecord } from "../../messages/records.ts";
import { clock } from "./cause.ts";
import type { RecorderParts, RecorderTimers, RecordStore } from "./record-store.ts";

const URGENT_MS = 20;
const WATCHED_MS = 100;

/** A record's number and clock. */
export interface Place {
  q: number;
  h: string;
}

export type RecordBody = Omit<StepRecord, "n" | "b" | "q" | "h" | "t">;

export class RecordWriter {
  readonly nodeId: string;
  readonly now: () => number;
  readonly timers: RecorderTimers;
  readonly store: RecordStore;
  readonly #waiting = new Set<() => void>();
  #batch: StepRecord[] = [];
  #flushTimer: unknown = null;
  #flushAt = 0;
  #seq = 0;
  #dropped = 0;

  constructor({ nodeId, store, now = Date.now, timers = globalThis as RecorderTimers }: RecorderParts) {
    this.nodeId = nodeId;
    this.store = store;
    this.now = now;
    this.timers = timers;
  }

  get boot(): number {
    return this.store.boot;
  }
  /** The last number that was given out. */
  get seq(): number {
    return this.#seq;
  }

  reserve(): Place {
    return { q: ++this.#seq, h: clock.tick() };
  }

  /** @param reserved the record's place, if its consequences needed it before */
  emit(body: RecordBody, reserved: Place | null, urgent: boolean): StepRecord {
    const { q, h } = reserved ?? this.reserve();
    const record = { n: this.nodeId, b: this.boot, q, h, t: this.now(), ...body };
    this.#batch.push(record);
    if (urgent) this.#flushWithin(URGENT_MS);
    else if (this.#waiting.size > 0) this.#flushWithin(WATCHED_MS);
    return record;
  }

  /** What happened to the process itself. */
  emitProcess(e: string, v: string, d: RecordBody["d"], k: "proc" | "gap" = "proc"): void {
    this.emit({ m: "process", a: "process", s: this.nodeId, k, e, v, d }, null, k === "proc");
  }

  /** A record could not be made. */
  drop(): void {
    this.#dropped++;
  }

  /** @returns how many records could not be made or written since the last call */
  takeDropped(): number {
    const dropped = this.#dropped;
    this.#dropped = 0;
    return dropped;
  }

  #flushWithin(ms: number): void {
    const at = this.now() + ms;
    if (this.#flushTimer !== null) {
      if (this.#flushAt <= at) return;
      this.timers.clearTimeout(this.#flushTimer);
    }
    this.#flushAt = at;
    this.#flushTimer = this.timers.setTimeout(() => this.flush(), ms);
  }

  /** Writes what is waiting. Records reserved early come out in the order of their numbers. */
  flush(): void {
    if (this.#flushTimer !== null) this.timers.clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    if (this.#batch.length === 0) return;
    const batch = this.#batch.sort((a, b) => a.q - b.q);
    this.#batch = [];
    try {
      this.store.append(batch);
    } catch {
      // A full or failing disk: the node's own work comes first, and says so itself.
      this.#dropped += batch.length;
      return;
    }
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Resolves when records were written, and after `waitMs` at the latest. */
  written(waitMs: number): Promise<void> {
    return new Promise<void>((resolve) => {
      const timer = this.timers.setTimeout(() => {
        this.#waiting.delete(wake);
        resolve();
      }, waitMs);
      const wake = () => {
        this.timers.clearTimeout(timer);
        resolve();
      };
      this.#waiting.add(wake);
    });
  }
}
