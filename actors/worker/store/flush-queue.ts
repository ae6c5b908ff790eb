/**
 * Starts flushing big chunks while they are still being written, so that a seal finds little left to do and the kernel
 * never holds enough dirty pages to stall a write, and with it the heartbeats. One flush at a time: there is one disk, and
 * the runtime's thread pool is small.
 */
import type { OpenChunk } from "./open-chunk.ts";

/** A chunk is queued when it has this much that no flush has covered. */
const FLUSH_STEP_BYTES = 16 << 20;
/** Above this much over all chunks, writers wait. */
const MAX_UNFLUSHED_BYTES = 128 << 20;

export class FlushQueue {
  #queue = new Set<OpenChunk>();
  #dirty = new Set<OpenChunk>();
  #unflushedBytes = 0;
  #flushing = false;
  #waiting: (() => void)[] = [];

  get unflushedBytes(): number {
    return this.#unflushedBytes;
  }

  /** Notes that `bytes` of the chunk wait in the page cache. */
  wrote(chunk: OpenChunk, bytes: number): void {
    if (bytes === 0) return;
    chunk.unflushedBytes += bytes;
    this.#unflushedBytes += bytes;
    this.#dirty.add(chunk);
    if (chunk.unflushedBytes >= FLUSH_STEP_BYTES) this.#enqueue(chunk);
  }

  /** @returns once there is room for more dirty bytes */
  room(): Promise<void> {
    if (this.#unflushedBytes <= MAX_UNFLUSHED_BYTES) return Promise.resolve();
    if (this.#queue.size === 0) {
      let dirtiest: OpenChunk | undefined;
      for (const chunk of this.#dirty) if (chunk.unflushedBytes > (dirtiest?.unflushedBytes ?? 0)) dirtiest = chunk;
      if (dirtiest) this.#enqueue(dirtiest);
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Takes out a chunk that is about to be flushed whole or thrown away, and waits for a flush that uses its file. */
  async leave(chunk: OpenChunk): Promise<void> {
    this.#queue.delete(chunk);
    this.#settle(chunk);
    await chunk.flushing;
    this.#settle(chunk);
  }

  #settle(chunk: OpenChunk): void {
    this.#dirty.delete(chunk);
    this.#unflushedBytes -= chunk.unflushedBytes;
    chunk.unflushedBytes = 0;
    if (this.#unflushedBytes <= MAX_UNFLUSHED_BYTES) this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #enqueue(chunk: OpenChunk): void {
    this.#queue.add(chunk);
    if (!this.#flushing) void this.#run();
  }

  async #run(): Promise<void> {
    this.#flushing = true;
    for (const chunk of this.#queue) {
      this.#queue.delete(chunk);
      const covered = chunk.unflushedBytes;
      this.#dirty.delete(chunk);
      chunk.unflushedBytes = 0;
      chunk.flushing = chunk.part.flush().catch((error) => chunk.fail(error));
      await chunk.flushing;
      chunk.flushing = null;
      this.#unflushedBytes -= covered;
      this.#wake();
    }
    this.#flushing = false;
  }
}
