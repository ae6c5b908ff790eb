/**
 * Brings what a worker holds and what the metadata says together, range by range of chunk ids: a digest when they agree,
 * lists only where they do not.
 */

import type { Static } from "@sinclair/typebox";
import type { SealedChunk } from "../../messages/chunk.ts";
import { Refusal } from "../../messages/errors.ts";
import type { ChunkId, NodeId } from "../../messages/primitives.ts";
import type { WorkerMailbox } from "../../messages/worker.ts";
import type { Reconcile, Reconciled } from "../../messages/worker-reports.ts";
import type { Identity } from "../../node/identity/identity.ts";
import type { Logger } from "../../node/log.ts";
import { send } from "../../node/messaging/outbox.ts";
import { groupOf, OWN_GROUP } from "../../rules/chunk-id.ts";
import { isGranted } from "../../rules/decide/chunks.ts";
import { inventoryDigest } from "../../rules/redundancy/inventory-digest.ts";
import { piecesOf } from "../../rules/redundancy/scheme.ts";
import type { MetadataPort } from "../metadata-port.ts";
import type { Steward } from "./steward.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

/** Missing copies are asked for one by one before they count as missing; the rest waits for the next round. */
const ASKED_AT_ONCE = 256;

interface Parts {
  identity: Identity;
  metadata: MetadataPort;
  workers: WorkerRegistry;
  steward: Steward;
  log: Logger;
}

export class Reconciliation {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  async reconcile(message: Static<typeof Reconcile>): Promise<Static<typeof Reconciled>> {
    const { metadata, workers, steward } = this.#parts;
    const { workerId, fromId, toId } = message;
    const worker = workers.get(workerId);
    if (!worker || worker.incarnation !== message.incarnation || worker.epoch !== message.epoch)
      throw new Refusal("UNKNOWN_WORKER", `${workerId} has not registered with this leader`);
    // A list that a deposed leader judged would miss what its successor granted: the list is older than this round.
    if (message.chunks !== null) await metadata.confirmRead();
    const decidedAt = metadata.appliedIndex;
    const expected = metadata.queries.inventory(steward.verdicts.setsOn(workerId), fromId, toId);
    const { count, digest } = inventoryDigest(expected);
    if (count === message.count && digest === message.digest) {
      workers.noteCompared(worker, fromId, toId);
      return { match: true, trash: [], decidedAt, adopted: 0, missing: 0 };
    }
    if (message.chunks === null || steward.state === "safeMode")
      return { match: steward.state === "safeMode", trash: [], decidedAt, adopted: 0, missing: 0 };

    const held = new Map(message.chunks.map((chunk) => [chunk.chunkId, chunk]));
    const unknown: SealedChunk[] = [];
    const absent: ChunkId[] = [];
    const wanted = new Map(expected.map((chunk) => [chunk.chunkId, chunk]));
    for (const chunk of held.values()) if (wanted.get(chunk.chunkId)?.crc32 !== chunk.crc32) unknown.push(chunk);
    for (const { chunkId, crc32 } of expected) if (held.get(chunkId)?.crc32 !== crc32) absent.push(chunkId);

    const trash: ChunkId[] = [];
    const adopt: ChunkId[] = [];
    for (const chunk of unknown) {
      const verdict = this.#judgeUnknown(workerId, chunk);
      if (verdict === "trash") trash.push(chunk.chunkId);
      if (verdict === "adopt") adopt.push(chunk.chunkId);
    }
    if (adopt.length > 0)
      for (let at = 0; at < adopt.length; at += 1000)
        await metadata.propose({
          type: "ADD_REPLICAS",
          replicas: adopt.slice(at, at + 1000).map((chunkId) => ({ chunkId, workerId, reason: "found on the worker" })),
        });
    const { missing, isWhole } = await this.#confirmMissing(workerId, worker.url, absent.slice(0, ASKED_AT_ONCE));
    await steward.markReplicas(missing.map((chunkId) => ({ chunkId, workerId, state: "missing" })));
    if (isWhole && absent.length <= ASKED_AT_ONCE && worker.epoch === message.epoch)
      workers.noteCompared(worker, fromId, toId);
    this.#parts.log.info(
      {
        event: "reconciled",
        worker: workerId,
        fromId,
        toId,
        adopted: adopt.length,
        trash: trash.length,
        missing: missing.length,
      },
      "inventory reconciled",
    );
    return { match: false, trash, decidedAt, adopted: adopt.length, missing: missing.length };
  }

  /** A chunk that the worker holds and the metadata does not expect there. */
  #judgeUnknown(workerId: NodeId, held: SealedChunk): "keep" | "adopt" | "trash" {
    const { metadata, steward } = this.#parts;
    if (groupOf(held.chunkId) !== OWN_GROUP) return "keep";
    if (metadata.row("garbage", { workerId, chunkId: held.chunkId })) return "keep";
    const chunk = metadata.row("chunk", { chunkId: held.chunkId });
    if (!chunk) return this.isGranted(held.chunkId) ? "keep" : "trash";
    const isSame = chunk.crc32 === held.crc32 && chunk.lengthBytes === held.lengthBytes;
    // What the metadata counts is never trashed, whatever list it was missed in.
    if (isSame && chunk.workers.includes(workerId)) return "keep";
    if (!isSame) return "trash";
    if (steward.repairs.isTargetOf(held.chunkId, workerId)) return "keep";
    const counting = chunk.workers.flatMap((id) => {
      const other = this.#parts.workers.get(id);
      return other && this.#parts.workers.livenessOf(other) !== "dead" && other.mode === "active" ? [other] : [];
    });
    const wanted = piecesOf(chunk.scheme);
    if (counting.length < wanted) return "adopt";
    return counting.filter(({ isProven }) => isProven).length < wanted ? "keep" : "trash";
  }

  /** Is this the chunk of an upload that may still be committed? For all that is known here, another group's always is. */
  isGranted(chunkId: ChunkId): boolean {
    return groupOf(chunkId) !== OWN_GROUP || this.#parts.metadata.ask(isGranted(chunkId));
  }

  /** The list may be older than the commit that we compare it with, so each absence is asked about once more. */
  async #confirmMissing(
    workerId: NodeId,
    url: string,
    chunkIds: ChunkId[],
  ): Promise<{ missing: ChunkId[]; isWhole: boolean }> {
    const missing: ChunkId[] = [];
    let isWhole = true;
    for (const chunkId of chunkIds) {
      const chunk = this.#parts.metadata.row("chunk", { chunkId });
      if (!chunk?.workers.includes(workerId)) continue;
      try {
        const { state, crc32, lengthBytes } = await send<typeof WorkerMailbox, "DESCRIBE_CHUNK">(
          this.#parts.identity,
          url,
          {
            type: "DESCRIBE_CHUNK",
            chunkId,
          },
        );
        const isSame = crc32 === chunk.crc32 && lengthBytes === chunk.lengthBytes;
        // After a restore, deleted files are back while their copies lie in the trash, where they can still be read: the
        // first holder's counts until the others are made anew from it, or nothing would be left to copy from.
        if (state === "trash" && isSame && chunk.workers[0] === workerId) isWhole = false;
        else if (state !== "sealed" || !isSame) missing.push(chunkId);
      } catch (error) {
        if (error instanceof Refusal && error.code === "NO_SUCH_CHUNK") missing.push(chunkId);
        else return { missing, isWhole: false };
      }
    }
    return { missing, isWhole };
  }
}
