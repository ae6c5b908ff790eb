/**
 * Block buffers of the whole gateway, and the bound on them. Whoever holds none gets one at once, so that every
 * transfer goes on however many there are; more than one only while the sum stays below the limit, in order of asking.
 */
import type { Bytes } from "../data-path-api.ts";

/** The bound alone, for bytes that somebody else allocates. */
export class ByteBudget {
  #inUse = 0;
  constructor(readonly limitBytes: number) {}

  get inUseBytes(): number {
    return this.#inUse;
  }

  /** @param first whether the holder has none yet: then it is granted beyond the limit too */
  tryTake(bytes: number, first: boolean): boolean {
    if (!first && this.#inUse + bytes > this.limitBytes) return false;
    this.#inUse += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#inUse -= bytes;
  }
}

/** One transfer's share of the pool. */
export interface BufferShare {
  /** Waits its turn unless the share is empty. @throws what `close` was given */
  take(): Promise<Bytes>;
  give(buffer: Bytes): void;
  /** Ends waiting with an error. What is still taken must be given back all the same. */
  close(reason: Error): void;
}

class Share {
  held = 0;
  readonly waiting: { proceed: (buffer: Bytes) => void; fail: (reason: Error) => void }[] = [];
}

export class BlockBuffers {
  readonly #free: Bytes[] = [];
  readonly #budget: ByteBudget;
  /** One entry per waiting request, in order of asking. */
  #queue: Share[] = [];

  constructor(
    readonly blockSizeBytes: number,
    limitBytes: number,
  ) {
    this.#budget = new ByteBudget(limitBytes);
  }

  get inUseBytes(): number {
    return this.#budget.inUseBytes;
  }
  get limitBytes(): number {
    return this.#budget.limitBytes;
  }

  share(): BufferShare {
    const share = new Share();
    return {
      take: async () => {
        const mayTake = share.held === 0 || this.#queue.length === 0;
        if (mayTake && this.#budget.tryTake(this.blockSizeBytes, share.held === 0)) {
          share.held++;
          return this.#buffer();
        }
        return new Promise<Bytes>((proceed, fail) => {
          share.waiting.push({ proceed, fail });
          this.#queue.push(share);
        });
      },
      give: (buffer) => {
        share.held--;
        this.#free.push(buffer);
        this.#budget.give(this.blockSizeBytes);
        if (share.held === 0 && share.waiting.length > 0) {
          this.#queue.splice(this.#queue.indexOf(share), 1);
          this.#budget.tryTake(this.blockSizeBytes, true);
          this.#grant(share);
        }
        this.#serve();
        this.#trim();
      },
      close: (reason) => {
        this.#queue = this.#queue.filter((other) => other !== share);
        for (const { fail } of share.waiting.splice(0)) fail(reason);
      },
    };
  }

  #grant(share: Share): void {
    share.held++;
    share.waiting.shift()?.proceed(this.#buffer());
  }

  #buffer(): Bytes {
    return this.#free.pop() ?? new Uint8Array(this.blockSizeBytes);
  }

  #serve(): void {
    while (this.#queue.length > 0 && this.#budget.tryTake(this.blockSizeBytes, false))
      this.#grant(this.#queue.shift() as Share);
  }

  /** What was handed out beyond the limit is not kept. */
  #trim(): void {
    const kept = Math.floor(this.limitBytes / this.blockSizeBytes);
    if (this.#free.length > kept) this.#free.length = kept;
  }
}
