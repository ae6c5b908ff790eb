/** What a recorder needs from outside: where its records go, and what wakes it. */
import type { RecordCursor, StepRecord } from "../../messages/records.ts";

/** `databases/records.ts` is one. */
export interface RecordStore {
  /** Grows at each opening. */
  readonly boot: number;
  /** The last record of the boot before; null: there was none. */
  readonly previous: StepRecord | null;
  append(records: readonly StepRecord[]): void;
  after(cursor: RecordCursor, limit: number): { records: StepRecord[]; oldest: RecordCursor; lost: number };
  close(): void;
}

/** A simulation has timers that add nothing to what it simulates. */
export interface RecorderTimers {
  setTimeout(code: () => void, ms: number): unknown;
  clearTimeout(handle: unknown): void;
  setInterval(code: () => void, ms: number): unknown;
  clearInterval(handle: unknown): void;
}

export interface RecorderParts {
  nodeId: string;
  store: RecordStore;
  now?: () => number;
  timers?: RecorderTimers;
}
