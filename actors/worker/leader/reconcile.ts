/**
 * Compares what is here with what the metadata expects, page by page over the whole space of chunk ids, so that an id
 * that should be here and is not falls into some page too. Digests travel; a list only where they differ.
 */
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { AnswerOf, MessageOf } from "../../node/messaging/mailbox.ts";
import { INVENTORY_PAGE, inventoryDigest } from "../../rules/redundancy/inventory-digest.ts";

type Reconcile = MessageOf<typeof MasterMailbox, "RECONCILE">;
type Reconciled = AnswerOf<typeof MasterMailbox, "RECONCILE">;

export interface ReconcileHost {
  index: ChunkIndex;
  ask(page: Pick<Reconcile, "fromId" | "toId" | "count" | "digest" | "chunks">): Promise<Reconciled>;
  trash(chunkIds: number[], decidedAt: number): Promise<unknown>;
  pageSize?: number;
}

/**
 * Compares the page that starts at `fromId`.
 *
 * @returns where the next page starts, or null after the last
 */
export async function reconcilePage(host: ReconcileHost, fromId: number): Promise<number | null> {
  const { index, pageSize = INVENTORY_PAGE } = host;
  const chunks = index.sealedAfter(fromId - 1, pageSize);
  const isLast = chunks.length < pageSize;
  const toId = isLast ? Number.MAX_SAFE_INTEGER : (chunks.at(-1)?.chunkId as number);
  const page = { fromId, toId, ...inventoryDigest(chunks) };
  const compared = await host.ask({ ...page, chunks: null });
  if (!compared.match) {
    const { trash, decidedAt } = await host.ask({ ...page, chunks });
    const named = new Set(chunks.map(({ chunkId }) => chunkId));
    const doomed = trash.filter((chunkId) => named.has(chunkId));
    if (doomed.length > 0) await host.trash(doomed, decidedAt);
  }
  return isLast ? null : toId + 1;
}
