/** A master's figures for Prometheus. prom-client is the ecosystem's usual library for it. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { redundancyOf } from "../rules/redundancy/classify.ts";
import type { RaftMetadata } from "./group/raft-metadata.ts";
import type { Office } from "./leading/office.ts";

/** @param office what the master does while it leads; null while it does not */
export function masterMetrics(metadata: RaftMetadata, office: () => Office | null): Registry {
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
  gauge("dfs_master_term", "Raft term", () => metadata.term);
  gauge("dfs_master_leads", "1 while this master leads", () => (metadata.raft.role === "leader" ? 1 : 0));
  gauge("dfs_master_commit_index", "Last log entry known to be committed", () => metadata.raft.state.commitIndex);
  gauge("dfs_master_applied_index", "Last log entry applied", () => metadata.appliedIndex);
  gauge("dfs_master_cluster_version", "Version of the commands that the log may hold", () => metadata.store.version);
  gauge("dfs_master_commands_waiting", "Commands that wait for their commit", () => metadata.load.commands);
  gauge("dfs_master_reads_waiting", "Reads that wait for their confirmation", () => metadata.load.reads);
  gauge("dfs_master_garbage", "Freed replicas that workers still have to trash", () => metadata.queries.garbageCount());
  gauge("dfs_repairs_active", "Copies under way", () => office()?.steward.repairs.size ?? 0);
  gauge("dfs_repairs_paused", "1 while repairs wait for workers that fell silent together", () =>
    office()?.steward.pausedBecause ? 1 : 0,
  );
  new Gauge({
    name: "dfs_chunks",
    help: "Chunks by number of good copies; full = as many as wanted, unknown = not all of their workers are heard yet. Told by the leader alone",
    labelNames: ["copies"],
    registers,
    collect() {
      this.reset();
      const judged = office()?.steward.judge();
      if (!judged) return;
      const { full, unknown, below } = redundancyOf(judged);
      this.set({ copies: "full" }, full);
      this.set({ copies: "unknown" }, unknown);
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
      const workers = office()?.workers;
      for (const worker of workers?.all() ?? []) this.inc({ state: workers?.stateOf(worker) ?? "unknown" });
    },
  });
  const repairs = new Counter({
    name: "dfs_repairs_total",
    help: "Repairs since this master started, by outcome",
    labelNames: ["outcome"],
    registers,
    collect() {
      this.reset();
      const { healed, failed } = office()?.steward.repairs.counters ?? { healed: 0, failed: 0 };
      repairs.inc({ outcome: "healed" }, healed);
      repairs.inc({ outcome: "failed" }, failed);
    },
  });
  return registry;
}
