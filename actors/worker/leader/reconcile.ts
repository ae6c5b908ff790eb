/**
 * Compares what is here with what the metadata expects, page by page over the whole space of chunk ids, so that an id
 * that should be here and is not falls into some page too. Digests travel; a list only where they differ.
 */
import type { ChunkIndex } from "../../../databases/chunk-index.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { Logger } from "../../node/log.ts";
import type { AnswerOf, MessageOf } from "../../node/messaging/mailbox.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import { groupOf } from "../../rules/chunk-id.ts";
import { INVENTORY_PAGE, inventoryDigest } from "../../rules/redundancy/inventory-digest.ts";
import type { Self } from "../self.ts";
import type { ChunkStore } from "../store/chunk-store.ts";
import type { Disk } from "../store/disk.ts";
import { pause } from "../store/pace.ts";
import type { Fence } from "./fence.ts";
import type { LeaderLink } from "./leader-link.ts";

type Reconcile = MessageOf<typeof MasterMailbox, "RECONCILE">;
type Reconciled = AnswerOf<typeof MasterMailbox, "RECONCILE">;

/** A leader that compares a page reads many rows. */
const LEAST_TIMEOUT_MS = 10_000;
const TRASHED_AT_ONCE = 500;

const reconciling = declareWork("reconcile");

export interface ReconcilerParts {
  self: Self;
  fence: Fence;
  leader: LeaderLink;
  index: ChunkIndex;
  store: ChunkStore;
  disk: Disk;
  log: Logger;
  heartbeatMs: number;
  /** Between two pages, after the first time around. */
  pauseMs: number;
  signal: AbortSignal;
  /** The term of the leader that serves this worker; null while none does. */
  servingTerm(): number | null;
}

export class Reconciler {
  readonly #parts: ReconcilerParts;
  /** Begun so far: a comparison ends when the next one begins. */
  #begun = 0;

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
  }

  /** To be called at each registration: once around quickly, then slowly until the next one. */
  async run(): Promise<void> {
    const { disk, log, heartbeatMs, pauseMs, signal, servingTerm } = this.#parts;
    const run = ++this.#begun;
    let isQuick = true;
    await pause(0, signal); // until the transition that called this is over, and the machine says "serving"
    for (let fromId = 0; !signal.aborted && run === this.#begun; ) {
      const term = servingTerm();
      if (term === null) return;
      reconciling.begins();
      try {
        const next = await this.#comparePage(term, fromId);
        if (next === null) isQuick = false;
        fromId = next ?? 0;
      } catch (error) {
        disk.refusal(error);
        log.debug({ event: "reconcile-failed", reason: (error as Error).message }, "a page could not be compared");
        await pause(heartbeatMs, signal);
        continue;
      }
      await pause(isQuick ? 0 : pauseMs, signal);
    }
  }

  #comparePage(term: number, fromId: number): Promise<number | null> {
    const { self, fence, leader, index, store, heartbeatMs } = this.#parts;
    const { id: workerId, incarnation, epoch } = self;
    return reconcilePage(
      {
        index,
        settled: () => store.settled(),
        ask: (page) =>
          leader.ask<"RECONCILE">(
            { type: "RECONCILE", workerId, incarnation, epoch, ...page },
            Math.max(LEAST_TIMEOUT_MS, heartbeatMs),
          ),
        trash: async (chunkIds, decidedAt) => {
          await fence.pass(term);
          for (let at = 0; at < chunkIds.length; at += TRASHED_AT_ONCE)
            await store.trash(chunkIds.slice(at, at + TRASHED_AT_ONCE), decidedAt);
        },
      },
      fromId,
    );
  }
}

export interface ReconcileHost {
  index: ChunkIndex;
  /** Settles once all that the index says is on the disk: the leader counts on what it is told. */
  settled(): Promise<void>;
  ask(page: Pick<Reconcile, "fromId" | "toId" | "count" | "digest" | "chunks">): Promise<Reconciled>;
  trash(chunkIds: number[], decidedAt: number): Promise<unknown>;
  pageSize?: number;
}

/**
 * Compares the page that starts at `fromId`. It holds ids of one group of masters: others know nothing of them. The last
 * one of a group reaches up to the highest number, which says "all that are left".
 *
 * @returns where the next page starts, or null after the last
 */
export async function reconcilePage(host: ReconcileHost, fromId: number): Promise<number | null> {
  const { index, pageSize = INVENTORY_PAGE } = host;
  const group = groupOf(fromId);
  const chunks = index.sealedAfter(fromId - 1, pageSize).filter(({ chunkId }) => groupOf(chunkId) === group);
  await host.settled();
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
