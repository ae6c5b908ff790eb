/**
 * The bound on the bytes that transfers hold. Bytes are taken before memory is asked for, and given back when it is free.
 * Transfers that wait for room are served in order of asking.
 */
import { Refusal } from "../../actors/messages/errors.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";

const heldIsNotNegative: Invariant = declareInvariant("buffers: held bytes >= 0");
const heldIsWithinLimit: Invariant = declareInvariant("buffers: held bytes <= limit + allowance");

/** A place in the queue for room. */
export interface Place {
  /** @throws what `leave` was given */
  readonly granted: Promise<void>;
  /** Takes the bytes now, although they may not fit. */
  grantNow(allowanceBytes: number): void;
  /** Gives the place up. Without effect once it was granted. */
  leave(reason: Error): void;
}

export interface WaitOptions {
  /** OVERLOADED after this. */
  patienceMs?: number;
  /** Called with the place, if there is no room at once. */
  onQueued?: (place: Place) => void;
}

interface Waiting {
  bytes: number;
  proceed(): void;
}

export class ByteBudget {
  #inUse = 0;
  readonly #queue: Waiting[] = [];

  /** @param onShortage called when a transfer has to wait */
  constructor(
    readonly limitBytes: number,
    readonly onShortage: () => void = () => {},
  ) {}

  get inUseBytes(): number {
    return this.#inUse;
  }
  get waitingCount(): number {
    return this.#queue.length;
  }

  /**
   * Takes the bytes if they fit and no transfer waits for room. While nothing is held, more than the limit fits.
   *
   * @param share of the limit, which may be full afterwards: what can wait leaves room for what cannot
   */
  tryTake(bytes: number, share = 1): boolean {
    if (this.#queue.length > 0 || !this.#fits(bytes, share)) return false;
    this.#take(bytes, 0);
    return true;
  }

  /** Takes the bytes although they may not fit; `allowanceBytes`: how far beyond the limit that may lead at most. */
  exceed(bytes: number, allowanceBytes: number): void {
    this.#take(bytes, allowanceBytes);
  }

  /**
   * Waits for its turn. A grant stands, even if the signal fires before the caller goes on.
   *
   * @throws the signal's reason if it fires before the grant, OVERLOADED; then nothing was taken
   */
  async take(bytes: number, signal: AbortSignal, { patienceMs, onQueued }: WaitOptions = {}): Promise<void> {
    signal.throwIfAborted();
    if (this.tryTake(bytes)) return;
    const place = this.#queueUp(bytes);
    onQueued?.(place);
    const leave = () => place.leave(signal.reason as Error);
    const lose = () => place.leave(new Refusal("OVERLOADED", `All ${this.limitBytes} bytes of buffers are in use`));
    const timer = patienceMs === undefined ? null : setTimeout(lose, patienceMs);
    signal.addEventListener("abort", leave);
    try {
      await place.granted;
    } finally {
      if (timer) clearTimeout(timer);
      signal.removeEventListener("abort", leave);
    }
  }

  #queueUp(bytes: number): Place {
    const { promise: granted, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { bytes, proceed: resolve };
    const isGone = (): boolean => {
      const at = this.#queue.indexOf(waiting);
      if (at >= 0) this.#queue.splice(at, 1);
      return at < 0;
    };
    this.#queue.push(waiting);
    this.onShortage();
    return {
      granted,
      grantNow: (allowanceBytes) => {
        if (isGone()) return;
        this.#take(bytes, allowanceBytes);
        resolve();
      },
      leave: (reason) => {
        if (isGone()) return;
        reject(reason);
        this.#serve();
      },
    };
  }

  give(bytes: number): void {
    this.#inUse -= bytes;
    heldIsNotNegative.check(this.#inUse >= 0, { held: this.#inUse, given: bytes });
    this.#serve();
  }

  #fits(bytes: number, share = 1): boolean {
    return this.#inUse === 0 || this.#inUse + bytes <= share * this.limitBytes;
  }

  #take(bytes: number, allowanceBytes: number): void {
    const { limitBytes } = this;
    this.#inUse += bytes;
    const isAlone = this.#inUse === bytes;
    heldIsWithinLimit.check(isAlone || this.#inUse <= limitBytes + allowanceBytes, {
      held: this.#inUse,
      limitBytes,
      allowanceBytes,
    });
  }

  #serve(): void {
    for (let first = this.#queue[0]; first && this.#fits(first.bytes); first = this.#queue[0]) {
      this.#queue.shift();
      this.#take(first.bytes, 0);
      first.proceed();
    }
  }
}
