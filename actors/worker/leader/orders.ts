/** What each message to a worker does. Those of the leader pass the fence first. */
import { Refusal } from "../../messages/errors.ts";
import type { WorkerMailbox } from "../../messages/worker.ts";
import type { Logger } from "../../node/log.ts";
import type { Handlers } from "../../node/messaging/mailbox.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { type BlockTraffic, putSmallChunks } from "../blocks/block-routes.ts";
import type { Copier } from "../blocks/copy-chunk.ts";
import type { ChunkStore } from "../store/chunk-store.ts";
import type { Fence } from "./fence.ts";

export interface OrderHost {
  store: ChunkStore;
  fence: Fence;
  copier: Copier;
  traffic: BlockTraffic;
  log: Logger;
  assertReady(kind: "read" | "write"): void;
}

/** The worker's mailbox. A message counts as a request being served until it is answered, so a stop waits for it. */
export function handlers(host: OrderHost): Handlers<typeof WorkerMailbox> {
  const { traffic } = host;
  const counted = Object.entries(workOf(host)).map(([type, handle]) => [
    type,
    async (message: never, sender: string) => {
      traffic.requests++;
      try {
        return await handle(message, sender);
      } catch (error) {
        throw host.store.refusal(error);
      } finally {
        traffic.requests--;
      }
    },
  ]);
  return Object.fromEntries(counted);
}

function workOf({ store, fence, copier, traffic, log, assertReady }: OrderHost): Handlers<typeof WorkerMailbox> {
  return {
    SEAL_CHUNK: async ({ chunkId, lengthBytes, blockSizeBytes, crc32 }) => {
      assertReady("write");
      await store.seal({ chunkId, lengthBytes, crc32 }, blockSizeBytes);
      return { chunkId, lengthBytes, crc32 };
    },
    PUT_SMALL_CHUNKS: async ({ chunks }) => {
      assertReady("write");
      return { outcomes: await putSmallChunks({ store, traffic, log }, chunks) };
    },
    ABORT_CHUNK: async ({ chunkId }) => {
      assertReady("read");
      return { aborted: await store.abort(chunkId) };
    },
    DESCRIBE_CHUNK: ({ chunkId }) => {
      assertReady("read");
      const description = store.describe(chunkId);
      if (!description) throw new Refusal("NO_SUCH_CHUNK", `Chunk ${formatChunkId(chunkId)} is not here`);
      return description;
    },
    COPY_CHUNK: async (order) => {
      assertReady("write");
      await fence.passOrder(order);
      return copier.copy(order);
    },
    TRASH_CHUNKS: async (order) => {
      assertReady("write");
      await fence.passOrder(order);
      return store.trash(order.chunkIds, order.decidedAt);
    },
    VERIFY_CHUNK: async ({ term, expiresAt, chunkId, lengthBytes, crc32 }) => {
      assertReady("read");
      await fence.passOrder({ term, expiresAt });
      return { chunkId, state: await store.verify(chunkId, { chunkId, lengthBytes, crc32 }) };
    },
  };
}
