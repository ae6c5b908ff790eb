/** Reads that wait until a quorum has confirmed that this master leads, and until what they must include is applied here. */
import type { Refusal } from "../../messages/errors.ts";

interface Waiting {
  resolve: () => void;
  refuse: (refusal: Refusal) => void;
}

interface Ports {
  /** Asks the machine; the answer comes by `ready`. */
  ask(id: number): void;
  appliedIndex(): number;
  notLeader(): Refusal;
}

export class ReadConfirmations {
  readonly #ports: Ports;
  readonly #asked = new Map<number, Waiting>();
  /** Confirmed, but committed entries before them wait for our own disk. */
  #confirmed: (Waiting & { index: number })[] = [];
  #nextId = 1;
  /** What the next question to the machine will say. */
  #next: Promise<void> | null = null;
  #closedBecause: Refusal | null = null;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#asked.size + this.#confirmed.length;
  }

  /** @throws NOT_LEADER */
  confirm(): Promise<void> {
    // Asked once for all calls of this turn: the index is confirmed after all of them, so it covers them.
    this.#next ??= new Promise((resolve, refuse) => {
      setImmediate(() => {
        this.#next = null;
        if (this.#closedBecause) return refuse(this.#closedBecause);
        const id = this.#nextId++;
        this.#asked.set(id, { resolve, refuse });
        this.#ports.ask(id);
      });
    });
    return this.#next;
  }

  /** @param index null: this master does not lead */
  ready(id: number, index: number | null): void {
    const read = this.#asked.get(id);
    this.#asked.delete(id);
    if (index === null) read?.refuse(this.#ports.notLeader());
    else if (this.#ports.appliedIndex() >= index) read?.resolve();
    else if (read) this.#confirmed.push({ index, ...read });
  }

  /** More entries are applied. */
  applied(): void {
    if (this.#confirmed.length === 0) return;
    const upTo = this.#ports.appliedIndex();
    const ready = this.#confirmed.filter(({ index }) => index <= upTo);
    this.#confirmed = this.#confirmed.filter(({ index }) => index > upTo);
    for (const { resolve } of ready) resolve();
  }

  close(because: Refusal): void {
    this.#closedBecause = because;
    for (const { refuse } of [...this.#asked.values(), ...this.#confirmed]) refuse(because);
    this.#asked.clear();
    this.#confirmed = [];
  }
}
