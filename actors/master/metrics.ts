/** A master's figures for Prometheus. prom-client is the ecosystem's usual library for it. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { MetadataQueries } from "../../databases/metadata-queries.ts";
import type { MetadataEngine } from "./engine.ts";
import { redundancyOf } from "./reports.ts";
import type { Steward } from "./steward.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

export function masterMetrics(parts: {
  engine: MetadataEngine;
  queries: MetadataQueries;
  workers: WorkerRegistry;
  steward: Steward;
}): Registry {
  const { engine, queries, workers, steward } = parts;
  const registers = [new Registry()];
  const [registry] = registers as [Registry];
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  gauge("dfs_master_term", "Raft term", () => engine.term);
  gauge("dfs_master_applied_index", "Last log entry applied", () => engine.appliedIndex);
  gauge("dfs_master_garbage", "Freed replicas that workers still have to trash", () => queries.garbageCount());
  gauge("dfs_repairs_active", "Copies under way", () => steward.repairs().length);
  new Gauge({
    name: "dfs_chunks",
    help: "Chunks by number of good copies; full = as many as wanted",
    labelNames: ["copies"],
    registers,
    collect() {
      const { full, below } = redundancyOf(steward.judge());
      this.set({ copies: "full" }, full);
      for (const [copies, count] of Object.entries(below)) this.set({ copies }, count);
    },
  });
  new Gauge({
    name: "dfs_workers",
    help: "Workers by state",
    labelNames: ["state"],
    registers,
    collect() {
      this.reset();
      for (const worker of workers.all()) this.inc({ state: workers.stateOf(worker) });
    },
  });
  const repairs = new Counter({
    name: "dfs_repairs_total",
    help: "Repairs since this master started, by outcome",
    labelNames: ["outcome"],
    registers,
    collect() {
      this.reset();
      repairs.inc({ outcome: "healed" }, steward.counters.healed);
      repairs.inc({ outcome: "failed" }, steward.counters.failed);
    },
  });
  return registry;
}
