/**
 * Small chunks on their way to one worker. Puts that come while a request is under way share the next request: with many
 * writers a request costs more at both ends than the bytes it carries. Chunks of one request also share a flush.
 */
import type { Refusal } from "../../actors/messages/errors.ts";
import type { PutSmallChunks, SmallChunkOutcome } from "../../actors/messages/worker.ts";
import type { BlockToPut } from "../../actors/node/http/block-requests.ts";
import { type Carried, pack } from "../../actors/node/trace/carry.ts";
import { outsideRequest } from "../../actors/node/trace/trace-context.ts";

/** Larger chunks travel alone. */
export const MAX_SMALL_BYTES = 1 << 16;
const MAX_REQUEST_CHUNKS = 64;
const MAX_REQUEST_BYTES = 1 << 20;
const USUAL_IN_FLIGHT = 1;
/** No put waits longer than this behind a request that is not answered. */
const QUEUE_MS = 20;

interface Waiting {
  write: BlockToPut;
  /** What the write is a part of: chunks of several requests share a message. */
  carried: Carried | undefined;
  settle(outcome: SmallChunkOutcome): void;
}

export class SmallPuts {
  readonly #send: (chunks: PutSmallChunks["chunks"]) => Promise<SmallChunkOutcome[]>;
  #queue: Waiting[] = [];
  #inFlight = 0;
  #scheduled = false;
  #timer: Timer | null = null;

  constructor(send: (chunks: PutSmallChunks["chunks"]) => Promise<SmallChunkOutcome[]>) {
    this.#send = send;
  }

  /** @returns what became of it, never thrown; soon after `cancelled` fires at the latest */
  put(write: BlockToPut, cancelled?: AbortSignal): Promise<SmallChunkOutcome> {
    return new Promise((resolve) => {
      const giveUp = () => {
        this.#queue = this.#queue.filter((other) => other !== waiting);
        waiting.settle({ stored: false, code: "PEER_UNREACHABLE", message: "Given up" });
      };
      const waiting: Waiting = {
        write,
        carried: pack(),
        settle: (outcome) => {
          cancelled?.removeEventListener("abort", giveUp);
          resolve(outcome);
        },
      };
      if (cancelled?.aborted) return giveUp();
      cancelled?.addEventListener("abort", giveUp);
      this.#queue.push(waiting);
      if (this.#scheduled || this.#inFlight >= USUAL_IN_FLIGHT) this.#timer ??= setTimeout(this.#late, QUEUE_MS);
      else {
        this.#scheduled = true;
        setImmediate(() => {
          this.#scheduled = false;
          this.#flush();
        });
      }
    });
  }

  readonly #late = (): void => {
    this.#timer = null;
    this.#flush();
  };

  #flush(): void {
    const batch = this.#take();
    if (this.#queue.length === 0 && this.#timer) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
    if (batch.length > 0) outsideRequest(() => void this.#deliver(batch));
  }

  #take(): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { write } of this.#queue) {
      bytes += write.bytes.length;
      if (count > 0 && (count === MAX_REQUEST_CHUNKS || bytes > MAX_REQUEST_BYTES)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #deliver(batch: Waiting[]): Promise<void> {
    this.#inFlight++;
    try {
      const outcomes = await this.#send(
        batch.map(({ write: { chunkId, blockSizeBytes, crc32, bytes }, carried }) => {
          if (carried === undefined) return { chunkId, blockSizeBytes, crc32, bytes };
          return { chunkId, blockSizeBytes, crc32, bytes, carried };
        }),
      );
      for (const [n, { settle }] of batch.entries())
        settle(outcomes[n] ?? { stored: false, code: "INTERNAL", message: "The worker gave no outcome" });
    } catch (error) {
      const { code = "INTERNAL", message } = error as Refusal;
      for (const { settle } of batch) settle({ stored: false, code, message: message.slice(0, 500) });
    } finally {
      this.#inFlight--;
      this.#flush();
    }
  }
}
