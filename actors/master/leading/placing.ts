/** Answers writers who ask where to put chunks: places by `rules/placement.ts`, and has the grant in the log first. */

import type { Static } from "@sinclair/typebox";
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import type { PlaceChunks, PlacedChunks, ReplaceWorkers } from "../../messages/master.ts";
import type { PlacementDecision } from "../../messages/primitives.ts";
import type { WorkerAddress } from "../../messages/questions.ts";
import type { Clock } from "../../node/clock.ts";
import {
  type Candidate,
  choose,
  explain,
  FEW_WORKERS,
  type PlacementWish,
  rejection,
} from "../../rules/redundancy/placement.ts";
import type { MetadataPort } from "../metadata-port.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

/** A grant lives this long unless it is renewed. Long enough for a gateway that lost its master for a while. */
const GRANT_LEASE_MS = 10 * 60_000;
/**
 * So many chunks that are granted one after the other go to the same workers, where workers are many: chunks that are
 * written at one moment then still share requests and flushes. Where they are few, they do so anyway.
 */
const RUN = 8;
/** An account is told anew after this, with the scores of that moment. */
const ACCOUNT_SHARED_MS = 1000;
const MOST_ACCOUNTS = 4;

export class Placing {
  readonly #metadata: MetadataPort;
  readonly #workers: WorkerRegistry;
  readonly #config: Config;
  readonly #clock: Pick<Clock, "wallTime">;
  /** By what was seen of the workers. */
  readonly #accounts = new Map<string, PlacementDecision>();
  /** Uniform in [0, 1). */
  readonly #random: () => number;

  constructor(
    config: Config,
    metadata: MetadataPort,
    workers: WorkerRegistry,
    clock: Pick<Clock, "wallTime">,
    random: () => number = Math.random,
  ) {
    this.#clock = clock;
    this.#random = random;
    this.#config = config;
    this.#metadata = metadata;
    this.#workers = workers;
  }

  /** @throws NOT_ENOUGH_WORKERS at once if fewer than `minReplicas` workers can take the chunks, with each one's reason */
  async place(request: Static<typeof PlaceChunks>): Promise<PlacedChunks> {
    const wish: PlacementWish = {
      count: request.replicationFactor,
      sizeBytes: request.chunkSizeBytes,
      exclude: new Set(request.exclude),
      holders: new Set(),
    };
    const candidates = this.#workers.candidates();
    const { layouts } = this.#workers;
    const decision = this.#account(candidates, wish);
    const placements: string[][] = [];
    const used = new Set<string>();
    const run = candidates.length > FEW_WORKERS ? RUN : 1;
    for (let n = 0; n < request.count; n++) {
      const last = n % run === 0 ? undefined : placements.at(-1);
      const isStillGood = last?.every((id) => candidates.some((one) => one.id === id && rejection(one, wish) === null));
      const chosen = last && isStillGood ? last : choose(candidates, layouts, wish, this.#random);
      if (chosen.length < request.minReplicas) {
        if (n > 0) break;
        throw new Refusal(
          "NOT_ENOUGH_WORKERS",
          `${chosen.length} of ${candidates.length} workers can take a chunk; ${request.minReplicas} needed`,
          {
            workers: Object.fromEntries(
              candidates.map((worker) => [worker.id, rejection(worker, wish) ?? "can take it"]),
            ),
          },
        );
      }
      placements.push(chosen);
      for (const candidate of candidates)
        if (chosen.includes(candidate.id)) {
          candidate.reservedBytes += request.chunkSizeBytes;
          candidate.chunkCount++;
          this.#workers.reserve(candidate.id, request.chunkSizeBytes);
          used.add(candidate.id);
        }
    }
    const grant = await this.#metadata.propose({
      type: "GRANT_CHUNKS",
      gatewayId: request.gatewayId,
      count: placements.length,
      leaseMs: GRANT_LEASE_MS,
      decision,
      ...(placements.length === 1 ? { chosen: placements[0] } : {}),
    });
    return {
      grantId: grant.grantId,
      firstChunkId: grant.firstChunkId,
      leaseMs: GRANT_LEASE_MS,
      placements,
      workers: this.addresses(used),
    };
  }

  /** Of the same words for all grants of a moment that see the same workers, for then they share it. */
  #account(candidates: readonly Candidate[], wish: PlacementWish): PlacementDecision {
    const now = this.#clock.wallTime();
    const seen = JSON.stringify([wish.count, candidates.map((one) => [one.id, rejection(one, wish)])]);
    const known = this.#accounts.get(seen);
    if (known && Math.abs(now - known.atLogTime) < ACCOUNT_SHARED_MS) return known;
    if (this.#accounts.size >= MOST_ACCOUNTS) this.#accounts.clear();
    const account = explain(candidates, wish, now, "new chunk");
    this.#accounts.set(seen, account);
    return account;
  }

  /** Others for workers that failed a writer in the middle of a chunk; as many as there are, perhaps none. */
  replace(request: Static<typeof ReplaceWorkers>): { workers: WorkerAddress[] } {
    const chosen = choose(
      this.#workers.candidates(),
      this.#workers.layouts,
      {
        count: request.count,
        sizeBytes: request.chunkSizeBytes,
        exclude: new Set(request.exclude),
        holders: new Set(request.holders),
      },
      this.#random,
    );
    for (const workerId of chosen) this.#workers.reserve(workerId, request.chunkSizeBytes);
    return { workers: this.addresses(chosen) };
  }

  addresses(workerIds: Iterable<string>): WorkerAddress[] {
    const addresses: WorkerAddress[] = [];
    for (const id of workerIds) {
      const worker = this.#workers.get(id);
      if (worker) addresses.push({ id, url: worker.url, zone: worker.zone, state: this.#workers.stateOf(worker) });
    }
    return addresses;
  }

  /** What would be chosen now, for `?explain`. */
  explainNow(replicationFactor: number, holders: string[]) {
    const wish = {
      count: replicationFactor,
      sizeBytes: this.#config.chunkSizeBytes,
      exclude: new Set<string>(),
      holders: new Set(holders),
    };
    return explain(this.#workers.candidates(), wish, this.#clock.wallTime(), "a new chunk now");
  }
}
