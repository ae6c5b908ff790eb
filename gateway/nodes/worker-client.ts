/**
 * The gateway's client of the workers: block requests and messages, each with a deadline. It remembers which workers
 * failed a moment ago, and how fast each answers.
 */
import { isErrorCode, type Refusal } from "../../actors/messages/errors.ts";
import type { WorkerAddress } from "../../actors/messages/questions.ts";
import type { BlockOutcomes, WorkerMailbox } from "../../actors/messages/worker.ts";
import { type BlockToPut, getBlocks, type Hop, putBlock } from "../../actors/node/http/block-requests.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import type { AnswerOf, MessageOf } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { spanned } from "../../actors/node/trace/span.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import type { Bytes } from "../ports/transfers.ts";
import { MAX_SMALL_BYTES, SmallPuts } from "./small-puts.ts";

type Mailbox = typeof WorkerMailbox;

/** How long each kind of request may take before its worker counts as failed. */
export interface WorkerTimeouts {
  blockMs: number;
  /** A seal flushes a whole chunk to disk. */
  sealMs: number;
  messageMs: number;
}
export const WORKER_TIMEOUTS: WorkerTimeouts = { blockMs: 5000, sealMs: 60_000, messageMs: 5000 };

/** How long a failed worker is avoided: enough for the leader to notice the failure too. */
const AVOID_MS = 5000;
/** Pause before an overloaded worker is asked again. */
const BUSY_PAUSE_MS = 100;
/** Weight of the newest latency in the running mean. */
const LATENCY_WEIGHT = 0.2;

interface Known {
  url: string;
  /** Running mean of block reads, ms. */
  latencyMs: number;
  reading: number;
  smallPuts: SmallPuts;
  failure: { at: number; why: string } | null;
}

export class WorkerClients {
  readonly #identity: Identity;
  readonly #timeouts: WorkerTimeouts;
  readonly #known = new Map<string, Known>();
  #failureCount = 0;

  constructor(identity: Identity, timeouts: WorkerTimeouts = WORKER_TIMEOUTS) {
    this.#identity = identity;
    this.#timeouts = timeouts;
  }

  /** Takes in the addresses of workers from the leader's answer. */
  learn(workers: readonly WorkerAddress[]): void {
    for (const { id, url } of workers) {
      const known = this.#known.get(id);
      if (known) known.url = url;
      else this.#known.set(id, { url, latencyMs: 0, reading: 0, failure: null, smallPuts: this.#smallPutsTo(id) });
    }
  }

  #smallPutsTo(workerId: string): SmallPuts {
    return new SmallPuts(async (chunks) => {
      const message = { type: "PUT_SMALL_CHUNKS", chunks } as const;
      return (await this.#send<"PUT_SMALL_CHUNKS">(workerId, message, this.#timeouts.sealMs)).outcomes;
    });
  }

  /** Grows with every failure of a worker: while it is unchanged, no further worker has to be avoided. */
  get failureCount(): number {
    return this.#failureCount;
  }

  failed(workerId: string, why: string): void {
    const known = this.#known.get(workerId);
    if (known) known.failure = { at: performance.now(), why };
    this.#failureCount++;
  }

  isAvoided(workerId: string): boolean {
    const known = this.#known.get(workerId);
    if (!known?.failure) return false;
    if (performance.now() - known.failure.at < AVOID_MS) return true;
    known.failure = null;
    return false;
  }

  /** Workers that failed a moment ago, and why. */
  avoided(): Record<string, string> {
    return Object.fromEntries(
      [...this.#known].filter(([id]) => this.isAvoided(id)).map(([id, { failure }]) => [id, failure?.why ?? ""]),
    );
  }

  /** The best to read from first: those that did not fail lately, by expected wait. */
  rank(workerIds: readonly string[]): string[] {
    const cost = new Map(
      workerIds.map((id) => {
        const known = this.#known.get(id);
        const waitMs = known ? (known.latencyMs + 0.1) * (known.reading + 1) : Number.MAX_VALUE;
        return [id, waitMs + (this.isAvoided(id) ? 1e9 : 0)];
      }),
    );
    return [...workerIds].sort((a, b) => (cost.get(a) as number) - (cost.get(b) as number));
  }

  /**
   * Sends a block to the first of `leg`, which passes it on along the rest.
   *
   * @param patience how much of the usual time it may take
   * @returns the outcome of every worker of the leg; a failure is an outcome, never thrown
   */
  async putBlock(leg: readonly string[], write: BlockToPut, patience: number, cancelled?: AbortSignal) {
    const timeoutMs = patience * (write.seal ? this.#timeouts.sealMs : this.#timeouts.blockMs);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const outcomes = await this.#putOnce(leg, write, deadline - performance.now(), cancelled);
      const busy = outcomes[0]?.code === "OVERLOADED" && performance.now() + BUSY_PAUSE_MS < deadline;
      if (!busy || cancelled?.aborted) return outcomes;
      await Bun.sleep(BUSY_PAUSE_MS);
    }
  }

  async #putOnce(
    leg: readonly string[],
    write: BlockToPut,
    timeoutMs: number,
    cancelled?: AbortSignal,
  ): Promise<BlockOutcomes> {
    const [first = ""] = leg;
    const small = leg.length === 1 && write.seal && write.bytes.length <= MAX_SMALL_BYTES;
    const smallPuts = small && this.#known.get(first)?.smallPuts;
    if (smallPuts)
      return spanned("write small chunk", "client", async (span) => {
        span?.set({ "dfs.chunk.id": formatChunkId(write.chunkId), "dfs.worker": first });
        return [{ workerId: first, ...(await smallPuts.put(write, cancelled)) }];
      });
    const [to, ...route] = leg.map((id) => ({ id, url: this.#urlOf(id) })) as [Hop, ...Hop[]];
    try {
      const told = await putBlock(this.#identity, to, route, write, { timeoutMs, signal: cancelled });
      return leg.map((id) => told.find(({ workerId }) => workerId === id) ?? notStored(id, "PEER_UNREACHABLE"));
    } catch (error) {
      const { code, message } = error as Refusal;
      return leg.map((id) => (id === first ? notStored(id, code, message) : notStored(id, "PEER_UNREACHABLE")));
    }
  }

  /**
   * Reads `count` blocks in a row, fewer at the chunk's end, unchecked: the caller knows what each must sum to.
   *
   * @throws NO_SUCH_CHUNK, CHUNK_CORRUPT, PEER_UNREACHABLE, TIMEOUT
   */
  async getBlocks(
    workerId: string,
    chunkId: number,
    first: number,
    count: number,
    cancelled?: AbortSignal,
  ): Promise<Bytes> {
    const known = this.#known.get(workerId);
    const startedAt = performance.now();
    if (known) known.reading++;
    try {
      const url = this.#urlOf(workerId);
      const options = { timeoutMs: this.#timeouts.blockMs, signal: cancelled };
      const bytes = await getBlocks(this.#identity, url, chunkId, first, count, options, workerId);
      if (known) known.latencyMs += (performance.now() - startedAt - known.latencyMs) * LATENCY_WEIGHT;
      return bytes;
    } catch (error) {
      // An interrupted read would have taken at least this long.
      if (known) known.latencyMs = Math.max(known.latencyMs, performance.now() - startedAt);
      throw error;
    } finally {
      if (known) known.reading--;
    }
  }

  /** @throws CHUNK_INCOMPLETE, CHUNK_CORRUPT, NO_SPACE, PEER_UNREACHABLE, TIMEOUT */
  seal(workerId: string, chunk: Omit<MessageOf<Mailbox, "SEAL_CHUNK">, "type">, cancelled?: AbortSignal) {
    return this.#send<"SEAL_CHUNK">(workerId, { type: "SEAL_CHUNK", ...chunk }, this.#timeouts.sealMs, cancelled);
  }

  describe(workerId: string, chunkId: number, cancelled?: AbortSignal) {
    const message = { type: "DESCRIBE_CHUNK", chunkId } as const;
    return this.#send<"DESCRIBE_CHUNK">(workerId, message, this.#timeouts.messageMs, cancelled);
  }

  /** Whether the worker answers at all; "no such chunk" is an answer. */
  answers(workerId: string, chunkId: number): Promise<boolean> {
    const isSilence = ({ code }: Refusal) => code === "TIMEOUT" || code === "PEER_UNREACHABLE";
    return this.describe(workerId, chunkId).then(
      () => true,
      (error) => !isSilence(error),
    );
  }

  /** The same by address, for a worker that the leader has not named here yet. */
  describeAt(url: string, chunkId: number, timeoutMs: number) {
    return send<Mailbox, "DESCRIBE_CHUNK">(this.#identity, url, { type: "DESCRIBE_CHUNK", chunkId }, { timeoutMs });
  }

  /** Best effort: a worker that is not reached discards idle open chunks by itself. */
  async abort(workerId: string, chunkId: number): Promise<void> {
    await this.#send<"ABORT_CHUNK">(workerId, { type: "ABORT_CHUNK", chunkId }, this.#timeouts.messageMs).catch(
      () => {},
    );
  }

  #send<T extends keyof Mailbox>(
    workerId: string,
    message: MessageOf<Mailbox, T> & { type: T },
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<AnswerOf<Mailbox, T>> {
    return send<Mailbox, T>(this.#identity, this.#urlOf(workerId), message, { timeoutMs, signal });
  }

  #urlOf(workerId: string): string {
    return this.#known.get(workerId)?.url ?? "http://unknown.invalid";
  }
}

const notStored = (workerId: string, code: string, message?: string) => ({
  workerId,
  stored: false,
  code: isErrorCode(code) ? code : "INTERNAL",
  ...(message === undefined ? {} : { message: message.slice(0, 500) }),
});
