/**
 * Block buffers of all uploads, and the bound on them. An upload without a buffer always gets one, so that each makes
 * progress however many there are. Further buffers are granted in order of asking, while the sum stays below the limit.
 */
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";
import type { Bytes } from "../ports/transfers.ts";
import { ByteBudget, type Place } from "./byte-budget.ts";

const bufferIsGivenOnce: Invariant = declareInvariant("buffers: a buffer is given back once, by the one that took it");
const arrivedIsNotNegative: Invariant = declareInvariant("buffers: bytes that arrived and are not filled in yet >= 0");

/** Size of the buffer for the first bytes of a block: a client may send one byte, and then nothing for minutes. */
const MOST_STAGE_BYTES = 16 << 10;

export class BlockBuffers {
  readonly budget: ByteBudget;
  readonly stageBytes: number;
  readonly #free: Bytes[] = [];
  /** Shares that hold a buffer. Each may hold a block and a stage beyond the limit. */
  #holders = 0;
  #arrivedBytes = 0;

  constructor(
    readonly blockSizeBytes: number,
    limitBytes: number,
  ) {
    this.budget = new ByteBudget(limitBytes);
    this.stageBytes = Math.min(MOST_STAGE_BYTES, blockSizeBytes / 4);
  }

  get inUseBytes(): number {
    return this.budget.inUseBytes + this.#arrivedBytes;
  }
  get limitBytes(): number {
    return this.budget.limitBytes;
  }
  /** How far the sum may go beyond the limit, if one more share comes to hold something. */
  get allowanceBytes(): number {
    return (this.#holders + 1) * (this.blockSizeBytes + this.stageBytes);
  }

  share(): BufferShare {
    return new BufferShare(this);
  }

  /** A buffer of a whole block is one of the pool; others are made as long as they are. */
  costOf(bytes: number): number {
    return bytes > this.blockSizeBytes / 4 ? this.blockSizeBytes : bytes;
  }

  make(bytes: number): Bytes {
    if (this.costOf(bytes) < this.blockSizeBytes) return new Uint8Array(bytes);
    return this.#free.pop() ?? new Uint8Array(this.blockSizeBytes);
  }

  /** A buffer that was granted beyond the limit is not kept. */
  keep(buffer: Bytes): void {
    const isPooled = buffer.length === this.blockSizeBytes;
    if (isPooled && (this.#free.length + 1) * this.blockSizeBytes <= this.limitBytes) this.#free.push(buffer);
  }

  holderCame(): void {
    this.#holders++;
  }
  holderWent(): void {
    this.#holders--;
  }

  arrived(bytes: number): void {
    this.#arrivedBytes += bytes;
    arrivedIsNotNegative.check(this.#arrivedBytes >= 0, { arrived: this.#arrivedBytes, bytes });
  }
}

/** What one upload holds of the pool. */
export class BufferShare {
  readonly #pool: BlockBuffers;
  /** Buffers, and what each counts for. */
  readonly #taken = new Map<Bytes, number>();
  readonly #stages = new Set<Bytes>();
  readonly #waiting = new Set<Place>();

  constructor(pool: BlockBuffers) {
    this.#pool = pool;
  }

  get stageBytes(): number {
    return this.#pool.stageBytes;
  }

  /** A buffer for `bytes`, at most `stageBytes`, at once. */
  stage(bytes: number): Bytes {
    const { budget, allowanceBytes } = this.#pool;
    budget.exceed(bytes, allowanceBytes);
    const stage = this.#keep(bytes, bytes);
    this.#stages.add(stage);
    return stage;
  }

  /**
   * A buffer for `bytes`, at most a block. Waits its turn unless the share has none, or stages alone.
   *
   * @throws the signal's reason if it fires before
   */
  async take(bytes: number, signal: AbortSignal): Promise<Bytes> {
    const { budget, allowanceBytes } = this.#pool;
    const cost = this.#pool.costOf(bytes);
    signal.throwIfAborted();
    if (this.#holdsNone) budget.exceed(cost, allowanceBytes);
    else {
      let place: Place | null = null;
      const onQueued = (queued: Place): void => {
        place = queued;
        this.#waiting.add(queued);
      };
      try {
        await budget.take(cost, signal, { onQueued });
      } finally {
        if (place) this.#waiting.delete(place);
      }
    }
    return this.#keep(bytes, cost);
  }

  give(buffer: Bytes): void {
    const cost = this.#taken.get(buffer);
    bufferIsGivenOnce.check(cost !== undefined, { bytes: buffer.length });
    this.#taken.delete(buffer);
    this.#stages.delete(buffer);
    if (this.#taken.size === 0) this.#pool.holderWent();
    this.#pool.keep(buffer);
    this.#pool.budget.give(cost);
    const [next] = this.#waiting;
    if (next && this.#holdsNone) next.grantNow(this.#pool.allowanceBytes);
  }

  /** Counts bytes that are in memory outside of buffers, because they came as they are; negative: they are gone. */
  arrived(bytes: number): void {
    this.#pool.arrived(bytes);
  }

  get #holdsNone(): boolean {
    return this.#taken.size === this.#stages.size;
  }

  #keep(bytes: number, cost: number): Bytes {
    if (this.#taken.size === 0) this.#pool.holderCame();
    const buffer = this.#pool.make(bytes);
    this.#taken.set(buffer, cost);
    return buffer;
  }
}
