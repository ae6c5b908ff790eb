/**
 * What a thread does at this moment, in memory that another thread reads while the event loop stands still: the watchdog
 * of a node, and the simulator that watches a life.
 */

const MOST_NAMES = 128;
const NAME_BYTES = 48;
const STACK_BYTES = 2048;

/** Places in the header, which is of Int32. */
const At = { turns: 0, latest: 1, names: 2, allowedMs: 3, wantsStack: 4, stackBytes: 5 } as const;
const HEADER_BYTES = 4 * 8;
const TIMES_BYTES = 4 * MOST_NAMES;
const SHARED_BYTES = HEADER_BYTES + TIMES_BYTES + MOST_NAMES * NAME_BYTES + STACK_BYTES;

/** A kind of work that a thread has. */
export interface Work {
  /** To be called at each beginning, and at each round of a loop. */
  begins(): void;
}

/** What ran since the last turn. */
export interface Ran {
  /** What began last. */
  latest: string | null;
  /** How often each kind began, the most frequent first. */
  times: Record<string, number>;
}

/** Kinds that a report names at most. */
const MOST_TOLD = 8;
const OTHER = "other";

export class CurrentWork {
  readonly #header: Int32Array;
  readonly #times: Int32Array;
  readonly #names: Uint8Array;
  readonly #stack: Uint8Array;
  readonly #works = new Map<string, Work>();
  readonly #allowances = new Set<{ limitMs: number }>();

  /** @param shared of another thread, to read it */
  constructor(readonly shared = new SharedArrayBuffer(SHARED_BYTES)) {
    this.#header = new Int32Array(shared, 0, HEADER_BYTES / 4);
    this.#times = new Int32Array(shared, HEADER_BYTES, MOST_NAMES);
    this.#names = new Uint8Array(shared, HEADER_BYTES + TIMES_BYTES, MOST_NAMES * NAME_BYTES);
    this.#stack = new Uint8Array(shared, HEADER_BYTES + TIMES_BYTES + MOST_NAMES * NAME_BYTES, STACK_BYTES);
  }

  // ── the thread that works ──────────────────────────────────────────────────────────────────────────────────────

  /** The same name is the same work. Names beyond the room for them are reported as "other". */
  declare(name: string): Work {
    const known = this.#works.get(name);
    if (known) return known;
    const count = this.#header[At.names] as number;
    if (count >= MOST_NAMES - 1 && name !== OTHER) return this.declare(OTHER);
    new TextEncoder().encodeInto(name, this.#names.subarray(count * NAME_BYTES, (count + 1) * NAME_BYTES));
    this.#header[At.names] = count + 1;
    const work = { begins: () => this.#begins(count) };
    this.#works.set(name, work);
    return work;
  }

  #begins(slot: number): void {
    this.#header[At.latest] = slot + 1;
    this.#times[slot] = (this.#times[slot] as number) + 1;
    if (this.#header[At.wantsStack] === 1) this.#leaveStack();
  }

  #leaveStack(): void {
    this.#header[At.wantsStack] = 0;
    const stack = new Error("").stack?.split("\n").slice(3).join("\n") ?? "";
    this.#header[At.stackBytes] = new TextEncoder().encodeInto(stack, this.#stack).written;
  }

  /** The event loop came round. */
  turn(): void {
    Atomics.add(this.#header, At.turns, 1);
  }

  /** Until the end that is returned, a turn may take this long. */
  allow(limitMs: number): () => void {
    const allowance = { limitMs };
    this.#allowances.add(allowance);
    this.#tellAllowance();
    return () => {
      this.#allowances.delete(allowance);
      this.#tellAllowance();
    };
  }

  #tellAllowance(): void {
    this.turn();
    Atomics.store(this.#header, At.allowedMs, Math.max(0, ...[...this.#allowances].map(({ limitMs }) => limitMs)));
  }

  // ── the thread that watches ────────────────────────────────────────────────────────────────────────────────────

  get turns(): number {
    return Atomics.load(this.#header, At.turns);
  }

  /** ms that declared long work may take; 0: no long work is declared. */
  get allowedMs(): number {
    return Atomics.load(this.#header, At.allowedMs);
  }

  /** Asks for the stack of the next work that begins. Work that never begins another leaves none. */
  askForStack(): void {
    this.#header[At.stackBytes] = 0;
    Atomics.store(this.#header, At.wantsStack, 1);
  }

  forgetStack(): void {
    Atomics.store(this.#header, At.wantsStack, 0);
    this.#header[At.stackBytes] = 0;
  }

  get stack(): string | null {
    const bytes = this.#header[At.stackBytes] as number;
    return bytes === 0 ? null : new TextDecoder().decode(this.#stack.slice(0, bytes));
  }

  /** How often each work began so far, to be compared with later. */
  counts(): Int32Array {
    return this.#times.slice();
  }

  ranSince(counts: Int32Array): Ran {
    const latest = this.#header[At.latest] as number;
    const told = [...this.#times]
      .map((count, slot) => ({ slot, times: count - (counts[slot] as number) }))
      .filter(({ times }) => times > 0)
      .sort((a, b) => b.times - a.times)
      .slice(0, MOST_TOLD);
    return {
      latest: latest === 0 ? null : this.#nameOf(latest - 1),
      times: Object.fromEntries(told.map(({ slot, times }) => [this.#nameOf(slot), times])),
    };
  }

  #nameOf(slot: number): string {
    const bytes = this.#names.slice(slot * NAME_BYTES, (slot + 1) * NAME_BYTES);
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
}

/** Of this thread. */
export const currentWork = new CurrentWork();

export const declareWork = (name: string): Work => currentWork.declare(name);

/** Recovery may read a large database from a slow disk. */
export const RECOVERY_LIMIT_MS = 600_000;

/**
 * Does work that may keep the event loop from its turns for long, such as opening a large database.
 *
 * @param limitMs how long a turn may take meanwhile
 */
export function longWork<T>(name: string, limitMs: number, act: () => T): T {
  declareWork(name).begins();
  const end = currentWork.allow(limitMs);
  let result: T;
  try {
    result = act();
  } catch (error) {
    end();
    throw error;
  }
  if (result instanceof Promise) return result.finally(end) as T;
  end();
  return result;
}
