/** What has to be done now and then, in bounded steps: deleted things freed, leases ended, garbage sent to the trash. */

import type { Config } from "../../messages/config.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { Logger } from "../../node/log.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import type { MetadataPort } from "../metadata-port.ts";
import type { Orders } from "./orders.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

const EVERY_MS = 1_000;
/** Slices of deleted things, one after the other; then all else that is due has its turn. */
const REAPED_IN_A_ROW = 128;
const SESSION_IDLE_MS = 3_600_000;
const TRASHED_AT_ONCE = 500;

const housekeeping = declareWork("housekeeping");

interface Parts {
  config: Config;
  metadata: MetadataPort;
  workers: WorkerRegistry;
  orders: Orders;
  log: Logger;
}

export class Housekeeping {
  readonly #parts: Parts;
  readonly #trashing = new Set<NodeId>();
  #lastAt = 0;
  #isBusy = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Does what is due; cheap when nothing is. */
  tick(now: number): void {
    if (this.#isBusy || now - this.#lastAt < EVERY_MS) return;
    this.#lastAt = now;
    void this.#chores();
  }

  async #chores(): Promise<void> {
    const { metadata, workers, log } = this.#parts;
    this.#isBusy = true;
    housekeeping.begins();
    try {
      for (let round = 0; round < REAPED_IN_A_ROW && metadata.row("graveyard", {}); round++) {
        const { more } = await metadata.propose({ type: "REAP_DELETED" });
        if (!more) break;
      }
      while (metadata.queries.expiredCount(metadata.logTime, SESSION_IDLE_MS) > 0) {
        const { more } = await metadata.propose({ type: "EXPIRE", sessionIdleMs: SESSION_IDLE_MS });
        if (!more) break;
      }
      for (const id of metadata.queries.workersWithGarbage()) {
        const worker = workers.get(id);
        if (worker && workers.livenessOf(worker) === "live") void this.#emptyGarbage(id);
      }
    } catch (err) {
      log.warn({ event: "chores-failed", err }, "housekeeping failed; it will be tried again");
    } finally {
      this.#isBusy = false;
    }
  }

  /** Freed chunks stay in place for readers under way, then go to their worker's trash. */
  async #emptyGarbage(workerId: NodeId): Promise<void> {
    const { config, metadata, orders, log } = this.#parts;
    if (this.#trashing.has(workerId)) return;
    this.#trashing.add(workerId);
    try {
      const freedBefore = metadata.logTime - config.trash.deleteGraceMs;
      for (let round = 0; round < 16; round++) {
        const chunkIds = metadata.queries.garbageOf(workerId, freedBefore, TRASHED_AT_ONCE);
        if (chunkIds.length === 0) return;
        const { trashed, absent } = await orders.trash(workerId, chunkIds);
        const items = [...trashed, ...absent].map((chunkId) => ({ chunkId, workerId }));
        if (items.length === 0) return;
        await metadata.propose({ type: "FORGET_GARBAGE", items });
      }
    } catch (err) {
      log.warn({ event: "trash-order-failed", worker: workerId, err }, "trash order failed; it will be repeated");
    } finally {
      this.#trashing.delete(workerId);
    }
  }
}
