/**
 * What each replica set needs, as the leader knows it: hears from the metadata which sets were touched, looks which workers
 * changed, and looks at everything once in ten seconds, a slice at each pulse.
 */
import type { Config } from "../../messages/config.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { Logger } from "../../node/log.ts";
import { InvariantBroken } from "../../rules/invariant.ts";
import { KeptVerdicts, type Standing } from "../../rules/redundancy/kept-verdicts.ts";
import type { MetadataPort, TouchedSets } from "../metadata-port.ts";
import { type KnownWorker, PULSE_MS, type WorkerRegistry } from "./worker-registry.ts";

const ALL_COMPARED_IN_MS = 10_000;
/** So that a slice takes two or three milliseconds at most: with more than 50,000 sets, a look at everything takes longer. */
const MOST_COMPARED = 1_024;
const LEAST_COMPARED = 32;

interface Parts {
  config: Config;
  metadata: MetadataPort;
  workers: WorkerRegistry;
  log: Logger;
}

export class Verdicts {
  readonly #parts: Parts;
  readonly #kept: KeptVerdicts;
  readonly #unwatch: () => void;
  /** Not yet judged anew. No more than there are sets. */
  #touched: Set<number> | "all" = "all";
  #comparedUpTo = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#kept = new KeptVerdicts(parts.config.minReplicas);
    this.#unwatch = parts.metadata.watchSets((touched) => this.#note(touched));
  }

  #note(touched: TouchedSets): void {
    if (touched === "all" || this.#touched === "all") this.#touched = "all";
    else for (const id of touched) this.#touched.add(id);
  }

  /** As the applied state and the workers are now. */
  now(): KeptVerdicts {
    this.#lookAtWorkers();
    const { queries } = this.#parts.metadata;
    const touched = this.#touched;
    if (touched === "all") {
      this.#touched = new Set();
      this.#comparedUpTo = 0;
      this.#kept.reset(queries.replicaSets());
    } else if (touched.size > 0) {
      this.#touched = new Set();
      const gone = new Set(touched);
      for (const set of queries.replicaSetsOf(touched)) {
        gone.delete(set.id);
        this.#kept.put(set);
      }
      for (const id of gone) this.#kept.drop(id);
    }
    return this.#kept;
  }

  #lookAtWorkers(): void {
    const { workers } = this.#parts;
    const all = workers.all();
    for (const worker of all) {
      const before = this.#kept.standingOf(worker.id);
      const standing = this.#standingOf(worker);
      if (before && isSame(before, standing)) continue;
      this.#kept.workerChanged(worker.id, standing);
    }
    const known = this.#kept.workers();
    if (known.length === all.length) return;
    for (const id of known) if (workers.get(id) === undefined) this.#kept.workerChanged(id, undefined);
  }

  #standingOf(worker: KnownWorker): Standing {
    const { mode, zone, condition } = worker;
    const liveness = this.#parts.workers.livenessOf(worker);
    return { liveness: liveness === "suspect" ? "live" : liveness, mode, zone, isSure: condition !== "readOnly" };
  }

  /** Ids of the sets on a worker. */
  setsOn(workerId: NodeId): number[] {
    return Array.from(this.now().on(workerId), ({ set }) => set.id);
  }

  /** To be called at each pulse: compares one slice of what is stored with what is kept. */
  compare(): void {
    const kept = this.now();
    const due = Math.ceil((kept.size * PULSE_MS) / ALL_COMPARED_IN_MS);
    const most = Math.min(MOST_COMPARED, Math.max(LEAST_COMPARED, due));
    const slice = this.#parts.metadata.queries.replicaSetsFrom(this.#comparedUpTo, most);
    const isLast = slice.length < most;
    this.#comparedUpTo = isLast ? 0 : (slice.at(-1)?.id ?? 0);
    try {
      kept.compare(slice, isLast);
    } catch (cause) {
      if (!(cause instanceof InvariantBroken)) throw cause;
      const { claim, values } = cause;
      this.#parts.log.error(
        { event: "verdicts-wrong", claim, values },
        "kept verdicts were wrong; all are judged anew",
      );
      this.#touched = "all";
    }
  }

  stop(): void {
    this.#unwatch();
  }
}

const isSame = (one: Standing, other: Standing): boolean =>
  one.liveness === other.liveness && one.mode === other.mode && one.zone === other.zone && one.isSure === other.isSure;
