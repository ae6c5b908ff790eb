/**
 * Whether the file of the applied state is whole. One that was closed in order is; after anything else it is read through,
 * in another thread, while this master follows and votes. Once a week it is read through anyway, slowly.
 */
import type { MasterLog } from "../../../databases/master-log.ts";
import type { Clock } from "../../node/clock.ts";

const LOOKED_AT_EVERY_MS = 3_600_000;
const CHECKED_EVERY_MS = 7 * 24 * 3_600_000;
/** Of the time, for the check that is not urgent. */
const SLOW_SHARE = 0.1;

/** The file is torn. The next start puts it aside, and builds the state from the log or from the leader's. */
export class StateDamaged extends Error {
  override name = "StateDamaged";
}

interface Parts {
  log: MasterLog;
  clock: Clock;
  /** Reads the state through on this thread. @returns what is wrong, or null */
  readThrough(): string | null;
  onDamaged(cause: StateDamaged): void;
}

export class Soundness {
  readonly #parts: Parts;
  #path: string;
  #isWhole: boolean;
  #checking: Worker | null = null;
  #timer: unknown;
  #isClosed = false;

  constructor(parts: Parts, path: string, isWhole: boolean) {
    this.#parts = parts;
    this.#path = path;
    this.#isWhole = isWhole;
    const { checkedAt, damagedGeneration } = parts.log.stateFile;
    if (isWhole && (checkedAt === null || damagedGeneration !== null)) this.#noteWhole();
  }

  /** Nothing is known against it: this master may lead. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  start(): void {
    if (!this.#isWhole) this.#check(1);
    this.#lookLater();
  }

  #lookLater(): void {
    this.#timer = this.#parts.clock.setTimeout(() => {
      const { log, clock } = this.#parts;
      // A clock that was set back may have noted a time to come.
      const ageMs = Math.abs(clock.wallTime() - (log.stateFile.checkedAt ?? 0));
      if (this.#checking === null && ageMs > CHECKED_EVERY_MS) this.#check(SLOW_SHARE);
      this.#lookLater();
    }, LOOKED_AT_EVERY_MS);
  }

  #check(dutyShare: number): void {
    const worker = new Worker(new URL("../../../databases/metadata/check-database.ts", import.meta.url).href);
    this.#checking = worker;
    const isOver = () => this.#isClosed || this.#checking !== worker;
    worker.onmessage = ({ data }) => {
      if (!isOver()) this.#ended(data.ok ? data.damage : this.#parts.readThrough());
    };
    worker.onerror = () => {
      if (!isOver()) this.#ended(this.#parts.readThrough());
    };
    worker.postMessage({ path: this.#path, dutyShare });
  }

  #ended(damage: string | null): void {
    this.#stopChecking();
    if (damage === null) this.#noteWhole();
    else this.damaged(damage);
  }

  #noteWhole(): void {
    this.#isWhole = true;
    this.#parts.log.noteStateWhole(this.#parts.clock.wallTime());
  }

  /** It was found torn, by a check or by whoever used it. */
  damaged(what: string): void {
    this.#isWhole = false;
    this.#parts.log.noteStateDamaged();
    const next = "the next start puts it aside, and builds it from the log or takes the leader's";
    this.#parts.onDamaged(new StateDamaged(`the applied state is damaged (${what}): ${next}`));
  }

  /** Another state has taken its place, whose checksum was right. */
  replaced(path: string): void {
    this.#stopChecking();
    this.#path = path;
    this.#noteWhole();
  }

  #stopChecking(): void {
    this.#checking?.terminate();
    this.#checking = null;
  }

  close(): void {
    this.#isClosed = true;
    this.#parts.clock.clearTimeout(this.#timer);
    this.#stopChecking();
  }
}
