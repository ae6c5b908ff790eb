/**
 * The leader's orders to workers. Each carries the term, so that a worker never obeys a leader of the past, and a
 * deadline, so that it never obeys an order that the leader has given up.
 */

import type { Static } from "@sinclair/typebox";
import type { SealedChunk } from "../../messages/chunk.ts";
import { Refusal } from "../../messages/errors.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { CopiedChunk, TrashedChunks, VerifiedChunk, WorkerMailbox } from "../../messages/worker.ts";
import type { Clock } from "../../node/clock.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { send } from "../../node/messaging/outbox.ts";
import type { MetadataPort } from "../metadata-port.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

const VERIFY_TIMEOUT_MS = 120_000;
const TRASH_TIMEOUT_MS = 10_000;

export class Orders {
  readonly #identity: Identity;
  readonly #metadata: MetadataPort;
  readonly #workers: WorkerRegistry;
  readonly #clock: Clock;
  #sent = 0;

  constructor(identity: Identity, metadata: MetadataPort, workers: WorkerRegistry, clock: Clock) {
    this.#identity = identity;
    this.#metadata = metadata;
    this.#workers = workers;
    this.#clock = clock;
  }

  #url(workerId: NodeId): string {
    const worker = this.#workers.get(workerId);
    if (!worker) throw new Refusal("NO_SUCH_WORKER", `There is no worker ${workerId}`);
    return worker.url;
  }

  #stamp(timeoutMs: number): { term: number; expiresAt: number; orderId: string; decidedAt: number } {
    return {
      ...this.#valid(timeoutMs),
      orderId: `${this.#metadata.term}.${++this.#sent}`,
      decidedAt: this.#metadata.appliedIndex,
    };
  }

  #valid(timeoutMs: number): { term: number; expiresAt: number } {
    return { term: this.#metadata.term, expiresAt: Math.ceil(this.#clock.now() + timeoutMs) };
  }

  copy(
    targetId: NodeId,
    chunk: SealedChunk,
    sourceIds: NodeId[],
    { timeoutMs, bytesPerSecond, signal }: { timeoutMs: number; bytesPerSecond: number; signal: AbortSignal },
  ): Promise<Static<typeof CopiedChunk>> {
    const sources = sourceIds.map((id) => ({ id, url: this.#url(id) }));
    return send<typeof WorkerMailbox, "COPY_CHUNK">(
      this.#identity,
      this.#url(targetId),
      {
        type: "COPY_CHUNK",
        ...this.#stamp(timeoutMs),
        timeoutMs,
        ...chunk,
        sources,
        bytesPerSecond: bytesPerSecond > 0 ? bytesPerSecond : null,
      },
      { timeoutMs, signal },
    );
  }

  trash(workerId: NodeId, chunkIds: number[]): Promise<Static<typeof TrashedChunks>> {
    return send<typeof WorkerMailbox, "TRASH_CHUNKS">(
      this.#identity,
      this.#url(workerId),
      { type: "TRASH_CHUNKS", ...this.#stamp(TRASH_TIMEOUT_MS), chunkIds },
      { timeoutMs: TRASH_TIMEOUT_MS },
    );
  }

  verify(workerId: NodeId, chunk: SealedChunk): Promise<Static<typeof VerifiedChunk>> {
    return send<typeof WorkerMailbox, "VERIFY_CHUNK">(
      this.#identity,
      this.#url(workerId),
      { type: "VERIFY_CHUNK", ...this.#valid(VERIFY_TIMEOUT_MS), ...chunk },
      { timeoutMs: VERIFY_TIMEOUT_MS },
    );
  }
}
