/**
 * Carries out COPY_CHUNK: fetches a chunk's blocks from other workers. Before a byte is fetched, a source's block CRCs
 * must combine to the ordered checksum, and each block must then match its CRC: bad data is never copied.
 */

import type { Static } from "@sinclair/typebox";
import { Refusal } from "../../messages/errors.ts";
import type { CopiedChunk, CopyChunk, WorkerMailbox } from "../../messages/worker.ts";
import { getBlocks, type Hop } from "../../node/http/block-requests.ts";
import type { CallOptions } from "../../node/http/request.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { send } from "../../node/messaging/outbox.ts";
import { blockCount } from "../../rules/byte-range.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../rules/crc32.ts";
import type { ChunkStore } from "../store/chunk-store.ts";
import { Pace } from "../store/pace.ts";
import { unpackCrcs } from "../store/shelves/chunk-file.ts";

type Order = Static<typeof CopyChunk>;
type Copied = Static<typeof CopiedChunk>;

const MAX_COPIES = 32;
const BLOCKS_IN_FLIGHT = 4;
/** A source that takes longer than this for one block is given up. */
const BLOCK_TIMEOUT_MS = 10_000;

/** The source's copy is bad, or is not the chunk that was ordered. */
class BadSource extends Error {}

export class Copier {
  readonly #running = new Map<number, { order: Order; done: Promise<Copied> }>();

  constructor(
    readonly identity: Identity,
    readonly store: ChunkStore,
  ) {}

  get running(): number {
    return this.#running.size;
  }

  /** The chunks being copied. */
  chunkIds(): number[] {
    return [...this.#running.keys()];
  }

  /**
   * Copies a chunk to here. A second order for a chunk that is being copied shares the copy under way.
   *
   * @throws SOURCE_UNAVAILABLE with details.badSources, TIMEOUT, OVERLOADED, NO_SPACE, READ_ONLY, CHUNK_SEALED
   */
  async copy(order: Order): Promise<Copied> {
    const { chunkId, lengthBytes, crc32 } = order;
    const running = this.#running.get(chunkId);
    if (running?.order.crc32 === crc32 && running.order.lengthBytes === lengthBytes) return running.done;
    if (this.store.holds(order)) {
      await this.store.orderedAgain(chunkId, order.decidedAt);
      return { chunkId, lengthBytes, crc32, sourceId: null, badSources: [] };
    }
    if (running || this.#running.size >= MAX_COPIES)
      throw new Refusal("OVERLOADED", `${this.#running.size} copies are under way here`);
    const done = this.#fetch(order).finally(() => this.#running.delete(chunkId));
    this.#running.set(chunkId, { order, done });
    return done;
  }

  async #fetch(order: Order): Promise<Copied> {
    const { chunkId, lengthBytes, crc32 } = order;
    const deadline = AbortSignal.timeout(order.timeoutMs);
    const badSources: string[] = [];
    const problems: string[] = [];
    try {
      for (const source of order.sources) {
        try {
          await this.#fetchFrom(source, order, deadline);
          return { chunkId, lengthBytes, crc32, sourceId: source.id, badSources };
        } catch (error) {
          if (deadline.aborted)
            throw new Refusal("TIMEOUT", `Chunk ${formatChunkId(chunkId)} was not copied in ${order.timeoutMs} ms`, {
              badSources,
            });
          if (error instanceof BadSource) badSources.push(source.id);
          else if (!isOfSource(error)) throw error;
          problems.push(`${source.id}: ${(error as Error).message}`);
        }
      }
      throw new Refusal("SOURCE_UNAVAILABLE", `Chunk ${formatChunkId(chunkId)}: ${problems.join("; ")}`, {
        badSources,
      });
    } catch (error) {
      await this.store.abort(chunkId);
      throw error;
    }
  }

  async #fetchFrom(source: Hop, order: Order, deadline: AbortSignal): Promise<void> {
    const { identity, store } = this;
    const { chunkId, lengthBytes, crc32 } = order;
    const options: CallOptions = { timeoutMs: BLOCK_TIMEOUT_MS, signal: deadline };
    const told = await send<typeof WorkerMailbox, "DESCRIBE_CHUNK">(
      identity,
      source.url,
      { type: "DESCRIBE_CHUNK", chunkId },
      options,
    ).catch(asBadSource);
    const { blockSizeBytes } = told;
    const crcs = unpackCrcs(told.blockCrcs);
    if (
      (told.state !== "sealed" && told.state !== "trash") ||
      told.lengthBytes !== lengthBytes ||
      crcs.length !== blockCount(lengthBytes, blockSizeBytes) ||
      crc32OfBlocks(crcs, lengthBytes, blockSizeBytes) !== crc32
    )
      throw new BadSource(`its copy is ${told.state} and not what was ordered`);

    // Even the smallest copy takes the time that its pace gives to its bytes. So the leader's bound on the number of copies
    // bounds their bytes a second as well.
    const pace = new Pace(order.bytesPerSecond);
    const untilDue = () => pace.take(0, deadline);
    const copyDecidedAt = Math.max(1, order.decidedAt);
    const fetchBlock = async (n: number): Promise<Uint8Array> => {
      const bytes = await getBlocks(identity, source.url, chunkId, n, 1, options).catch(asBadSource);
      if (
        bytes.length !== Math.min(blockSizeBytes, lengthBytes - n * blockSizeBytes) ||
        Bun.hash.crc32(bytes) !== crcs[n]
      )
        throw new BadSource(`block ${n} is not what its checksum says`);
      return bytes;
    };
    if (crcs.length === 1) {
      await pace.take(lengthBytes, deadline);
      await store.sealWhole(order, blockSizeBytes, await fetchBlock(0), copyDecidedAt);
      await untilDue();
      return;
    }
    const open = store.describe(chunkId);
    if (open?.state === "open" && open.blockSizeBytes !== blockSizeBytes) await store.abort(chunkId);
    let next = 0;
    let failed = false;
    const lane = async () => {
      while (next < crcs.length && !failed) {
        deadline.throwIfAborted();
        const n = next++;
        const length = Math.min(blockSizeBytes, lengthBytes - n * blockSizeBytes);
        if (store.holdsBlock(chunkId, n, length, crcs[n] as number)) continue;
        await pace.take(length, deadline);
        deadline.throwIfAborted();
        await store.writeBlock(chunkId, n, blockSizeBytes, await fetchBlock(n), crcs[n] as number, copyDecidedAt);
      }
    };
    const lanes = Array.from({ length: Math.min(BLOCKS_IN_FLIGHT, crcs.length) }, () =>
      lane().catch((error) => {
        failed = true;
        throw error;
      }),
    );
    const outcomes = await Promise.allSettled(lanes);
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    await store.seal(order, blockSizeBytes);
    await untilDue();
  }
}

/** The source itself reports that its copy is bad or gone. */
function asBadSource(error: unknown): never {
  if (error instanceof Refusal && ["NO_SUCH_CHUNK", "CHUNK_CORRUPT"].includes(error.code))
    throw new BadSource(error.message);
  throw error instanceof Refusal ? new SourceFailed(error.message) : error;
}

/** The source did not answer as it should; another may. */
class SourceFailed extends Error {}

const isOfSource = (error: unknown): boolean => error instanceof SourceFailed;
