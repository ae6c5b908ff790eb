/** A master's figures for Prometheus. prom-client is the ecosystem's usual library for it. */
import { collectDefaultMetrics, Registry } from "prom-client";
import { countersOf, gaugeOf, gaugesOf } from "../node/metrics.ts";
import type { RaftMetadata } from "./group/raft-metadata.ts";
import type { Office } from "./leading/office.ts";

/** @param office what the master does while it leads; null while it does not */
export function masterMetrics(metadata: RaftMetadata, office: () => Office | null): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, read: () => number) => gaugeOf(registry, `dfs_master_${name}`, help, read);
  gauge("term", "Raft term", () => metadata.term);
  gauge("leads", "1 while this master leads", () => (metadata.raft.role === "leader" ? 1 : 0));
  gauge("commit_index", "Last log entry known to be committed", () => metadata.raft.state.commitIndex);
  gauge("applied_index", "Last log entry applied", () => metadata.appliedIndex);
  gauge("cluster_version", "Version of the commands that the log may hold", () => metadata.store.version);
  gauge("commands_waiting", "Commands that wait for their commit", () => metadata.load.commands);
  gauge("reads_waiting", "Reads that wait for their confirmation", () => metadata.load.reads);
  gauge("garbage", "Freed replicas that workers still have to trash", () => metadata.queries.garbageCount());
  addLeading(registry, office);
  return registry;
}

/** What only a leader knows: other masters tell zero, or nothing where there are labels. */
function addLeading(registry: Registry, office: () => Office | null): void {
  gaugeOf(registry, "dfs_master_repairs_active", "Copies under way", () => office()?.steward.repairs.size ?? 0);
  gaugeOf(registry, "dfs_master_repairs_paused", "1 while repairs wait for workers that fell silent together", () =>
    office()?.steward.pausedBecause ? 1 : 0,
  );
  countersOf(registry, "dfs_master_repairs_total", "Repairs since this master started, by outcome", ["outcome"], () => {
    const { healed, failed } = office()?.steward.repairs.counters ?? { healed: 0, failed: 0 };
    return [
      { labels: { outcome: "healed" }, value: healed },
      { labels: { outcome: "failed" }, value: failed },
    ];
  });
  gaugesOf(
    registry,
    "dfs_master_chunks",
    "Chunks by number of good copies; full = as many as wanted, unknown = not all of their workers are heard yet. Told by the leader alone",
    ["copies"],
    () => {
      const redundancy = office()?.steward.verdicts.now().tally.redundancy();
      if (!redundancy) return [];
      const { full, unknown, below } = redundancy;
      const counts: [string, number][] = [["full", full], ["unknown", unknown], ...Object.entries(below)];
      return counts.map(([copies, value]) => ({ labels: { copies }, value }));
    },
  );
  gaugesOf(registry, "dfs_master_workers", "Workers by state. Told by the leader alone", ["state"], () => {
    const workers = office()?.workers;
    const states = Map.groupBy(workers?.all() ?? [], (worker) => workers?.stateOf(worker) ?? "unknown");
    return [...states].map(([state, { length }]) => ({ labels: { state }, value: length }));
  });
}
