/** Chunks that their writers gave up a moment ago. Blocks of them that still arrive are late. */
import type { ChunkId } from "../../messages/primitives.ts";

/** Longer than any block request lives. */
const KEEP_MS = 60_000;
/** The oldest are forgotten beyond this many. */
const KEEP_AT_MOST = 4096;

export class GivenUp {
  /** When each was given up, oldest first. */
  readonly #since = new Map<ChunkId, number>();

  constructor(private readonly now: () => number) {}

  add(chunkId: ChunkId): void {
    this.#since.delete(chunkId);
    this.#since.set(chunkId, this.now());
    for (const [oldest, at] of this.#since) {
      if (this.#since.size <= KEEP_AT_MOST && at + KEEP_MS > this.now()) break;
      this.#since.delete(oldest);
    }
  }

  has(chunkId: ChunkId): boolean {
    const at = this.#since.get(chunkId);
    return at !== undefined && at + KEEP_MS > this.now();
  }
}
