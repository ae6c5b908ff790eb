/**
 * Chunk ids and their places, as the leader grants them. For small files they lie ready in a pool; a large chunk asks
 * when it begins, so that the free space of that moment counts. A grant is a lease: it is renewed while a chunk of it
 * is being written, and given back when it has no more use.
 */

import { Refusal } from "../../actors/messages/errors.ts";
import type { PlacedChunks } from "../../actors/messages/master.ts";
import type { Logger } from "../../actors/node/log.ts";
import { declareWork } from "../../actors/node/watchdog/current-work.ts";
import { SYSTEM } from "../access/principal.ts";
import { askedWaitMs, withoutWait } from "../ports/asked-wait.ts";
import type { MasterClient } from "./master-client.ts";
import type { WorkerClients } from "./worker-client.ts";

const POOL_MAX_AGE_MS = 10_000;
const POOL_BATCH = { least: 8, most: 512 };
const HOUSEKEEPING_MS = 1000;

const placing = declareWork("place");

/** Where a chunk goes. Call `release` when the chunk was committed or given up. */
export interface PlacedChunk {
  chunkId: number;
  /** Best first. */
  workerIds: string[];
  release(): void;
}

export interface Copies {
  replicationFactor: number;
  minReplicas: number;
}

interface Grant {
  grantId: number;
  leaseMs: number;
  renewedAt: number;
  placedAt: number;
  /** The failure count of the workers up to which these places are known to be good. */
  checkedAt: number;
  /** Ready ids, taken from the end. */
  ready: { chunkId: number; workerIds: string[] }[];
  inUse: number;
}

interface Pool extends Copies {
  grants: Grant[];
  refill: Promise<void> | null;
  /** Ids taken since `countedFrom`: what the next batch is sized by. */
  taken: number;
  countedFrom: number;
  batch: number;
}

export class Grants {
  readonly #gatewayId: string;
  readonly #masters: MasterClient;
  readonly #workers: WorkerClients;
  readonly #log: Logger;
  readonly #pools = new Map<string, Pool>();
  readonly #held = new Set<Grant>();
  #toClose: number[] = [];
  #isKeeping = false;
  readonly #timer: Timer;

  constructor(gatewayId: string, masters: MasterClient, workers: WorkerClients, log: Logger) {
    this.#gatewayId = gatewayId;
    this.#masters = masters;
    this.#workers = workers;
    this.#log = log;
    this.#timer = setInterval(() => void this.#keepHouse(), HOUSEKEEPING_MS);
    this.#timer.unref();
  }

  /**
   * A place for a chunk of about `sizeBytes`, chosen now.
   *
   * @param underWay whether chunks of the same upload are written already
   * @throws NOT_ENOUGH_WORKERS at once, NO_LEADER
   */
  async place(sizeBytes: number, copies: Copies, underWay: boolean): Promise<PlacedChunk> {
    const grant = await this.#ask(1, sizeBytes, copies, underWay);
    return this.#take(grant);
  }

  /** A place for a one-block chunk, usually from the pool, without a request. @throws NOT_ENOUGH_WORKERS, NO_LEADER */
  async placeSmall(blockSizeBytes: number, copies: Copies): Promise<PlacedChunk> {
    const pool = this.#poolFor(copies);
    const { search } = this.#masters;
    const tries = askedWaitMs() === null ? null : search.begin("PLACE_CHUNKS");
    for (;;) {
      placing.begins();
      this.#dropStale(pool);
      const ready = pool.grants.reduce((sum, grant) => sum + grant.ready.length, 0);
      if (ready <= pool.batch / 2) pool.refill ??= withoutWait(() => this.#refill(pool, blockSizeBytes));
      const grant = pool.grants[0];
      if (!grant) {
        const refill = pool.refill as Promise<void>;
        if (tries === null) await refill;
        else await search.within(tries, refill).catch((error) => search.again(tries, error, false));
        continue;
      }
      // A failed prefetch is ignored: the caller that finds the pool empty retries and gets the error.
      pool.refill?.catch(() => {});
      pool.taken++;
      const taken = this.#take(grant);
      if (grant.ready.length === 0) pool.grants.shift();
      return taken;
    }
  }

  /** Gives back what is not used, rather than let the leases run out. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const grantIds = [...this.#toClose, ...[...this.#held].map(({ grantId }) => grantId)];
    this.#toClose = [];
    this.#held.clear();
    for (let i = 0; i < grantIds.length; i += 1000)
      await this.#masters
        .execute({ type: "CLOSE_GRANTS", grantIds: grantIds.slice(i, i + 1000) }, { by: SYSTEM, budgetMs: 1000 })
        .catch(() => {});
  }

  #poolFor({ replicationFactor, minReplicas }: Copies): Pool {
    const key = `${replicationFactor}/${minReplicas}`;
    let pool = this.#pools.get(key);
    if (!pool) {
      pool = {
        replicationFactor,
        minReplicas,
        grants: [],
        refill: null,
        taken: 0,
        countedFrom: performance.now(),
        batch: POOL_BATCH.least,
      };
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** Enough for about a second at the present pace. */
  async #refill(pool: Pool, blockSizeBytes: number): Promise<void> {
    const seconds = Math.max((performance.now() - pool.countedFrom) / 1000, 0.05);
    pool.batch = Math.round(Math.min(Math.max(pool.taken / seconds, POOL_BATCH.least), POOL_BATCH.most));
    pool.taken = 0;
    pool.countedFrom = performance.now();
    try {
      const grant = await this.#ask(pool.batch, blockSizeBytes, pool);
      pool.grants.push(grant);
    } finally {
      pool.refill = null;
    }
  }

  /** Drops places that are too old, or that name a worker which failed since they were chosen. */
  #dropStale(pool: Pool): void {
    const oldest = performance.now() - POOL_MAX_AGE_MS;
    const { failureCount } = this.#workers;
    const isFresh = (grant: Grant) => grant.placedAt >= oldest && grant.checkedAt === failureCount;
    if (pool.grants.every(isFresh)) return;
    for (const grant of pool.grants) {
      grant.checkedAt = failureCount;
      if (grant.placedAt < oldest) grant.ready = [];
      else grant.ready = grant.ready.filter(({ workerIds }) => !workerIds.some((id) => this.#workers.isAvoided(id)));
      if (grant.ready.length === 0) this.#closeIfDone(grant);
    }
    pool.grants = pool.grants.filter((grant) => grant.ready.length > 0);
  }

  async #ask(count: number, chunkSizeBytes: number, copies: Copies, underWay = false): Promise<Grant> {
    // Read before the question: the leader cannot know failures that come while it answers.
    const { failureCount } = this.#workers;
    const exclude = Object.keys(this.#workers.avoided()).slice(0, 64);
    const { replicationFactor, minReplicas } = copies;
    const question = { gatewayId: this.#gatewayId, count, chunkSizeBytes, replicationFactor, minReplicas };
    let placed: PlacedChunks;
    try {
      placed = await this.#masters.ask({ type: "PLACE_CHUNKS", ...question, exclude }, { underWay });
    } catch (error) {
      // The leader judges better than one failed request whether a worker lives.
      if (!(error instanceof Refusal && error.code === "NOT_ENOUGH_WORKERS" && exclude.length > 0)) throw error;
      placed = await this.#masters.ask({ type: "PLACE_CHUNKS", ...question, exclude: [] }, { underWay });
    }
    if (placed.placements.length === 0)
      throw new Refusal("INTERNAL", `The leader granted none of the ${count} chunks that were asked for`);
    this.#workers.learn(placed.workers);
    const now = performance.now();
    const grant: Grant = {
      grantId: placed.grantId,
      leaseMs: placed.leaseMs,
      renewedAt: now,
      placedAt: now,
      checkedAt: failureCount,
      ready: placed.placements.map((workerIds, i) => ({ chunkId: placed.firstChunkId + i, workerIds })).reverse(),
      inUse: 0,
    };
    this.#held.add(grant);
    return grant;
  }

  #take(grant: Grant): PlacedChunk {
    const { chunkId, workerIds } = grant.ready.pop() as { chunkId: number; workerIds: string[] };
    grant.inUse++;
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      grant.inUse--;
      this.#closeIfDone(grant);
    };
    return { chunkId, workerIds, release };
  }

  #closeIfDone(grant: Grant): void {
    if (grant.inUse > 0 || grant.ready.length > 0 || !this.#held.delete(grant)) return;
    this.#toClose.push(grant.grantId);
  }

  async #keepHouse(): Promise<void> {
    for (const pool of this.#pools.values()) this.#dropStale(pool);
    if (this.#isKeeping) return;
    this.#isKeeping = true;
    const now = performance.now();
    const due = [...this.#held].filter((grant) => now - grant.renewedAt > grant.leaseMs / 3);
    const closing = this.#toClose.splice(0, 1000);
    try {
      for (const leaseMs of new Set(due.map((grant) => grant.leaseMs))) {
        const grants = due.filter((grant) => grant.leaseMs === leaseMs).slice(0, 1000);
        const grantIds = grants.map(({ grantId }) => grantId);
        await this.#masters.execute({ type: "RENEW_GRANTS", grantIds, leaseMs }, { by: SYSTEM, underWay: true });
        for (const grant of grants) grant.renewedAt = now;
      }
      if (closing.length > 0) await this.#masters.execute({ type: "CLOSE_GRANTS", grantIds: closing }, { by: SYSTEM });
    } catch (err) {
      this.#log.warn({ event: "grants-not-kept", err }, "grants could not be renewed or closed");
    } finally {
      this.#isKeeping = false;
    }
  }
}
