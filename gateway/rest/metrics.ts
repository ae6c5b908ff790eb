/** Prometheus metrics of this gateway, and the redundancy that the leader computes. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { SERVER_OPTIONS } from "../../actors/node/messaging/mailbox.ts";
import type { Gateway } from "../http/context.ts";
import { describe, NO_QUERY } from "../http/describe.ts";
import type { Activity, ClusterStateAnswer } from "../ports/data-path.ts";
import { leaderView } from "./leader-view.ts";

export interface Metrics {
  contentType: string;
  /** In the text exposition format. */
  text(): Promise<string>;
  answered(method: string, route: string, status: number, seconds: number): void;
}

export function createMetrics(gateway: Gateway): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ gateway: gateway.id });
  const registers = [registry];
  const requests = new Counter({
    name: "dfs_http_requests_total",
    help: "Requests answered",
    labelNames: ["method", "route", "status"],
    registers,
  });
  const seconds = new Histogram({
    name: "dfs_http_request_seconds",
    help: "Time until the head of the answer",
    labelNames: ["method", "route"],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600],
    registers,
  });

  const ofActivity = (
    name: string,
    help: string,
    read: (activity: Activity) => number,
    Kind: typeof Gauge | typeof Counter,
  ) =>
    new Kind({
      name,
      help,
      registers,
      collect() {
        const value = read(gateway.data.transfers.activity());
        if (this instanceof Gauge) this.set(value);
        else {
          this.reset();
          this.inc(value);
        }
      },
    });
  ofActivity("dfs_uploads_in_progress", "Uploads under way", ({ uploads }) => uploads.length, Gauge);
  ofActivity("dfs_downloads_in_progress", "Downloads under way", ({ downloads }) => downloads.length, Gauge);
  ofActivity("dfs_buffer_bytes", "Block buffers in use", ({ bufferBytesInUse }) => bufferBytesInUse, Gauge);
  ofActivity("dfs_bytes_in_total", "Bytes of content received", ({ bytesIn }) => bytesIn, Counter);
  ofActivity("dfs_bytes_out_total", "Bytes of content sent", ({ bytesOut }) => bytesOut, Counter);
  ofActivity("dfs_uploads_done_total", "Uploads that ended well", ({ uploadsDone }) => uploadsDone, Counter);
  ofActivity("dfs_uploads_failed_total", "Uploads that failed", ({ uploadsFailed }) => uploadsFailed, Counter);
  ofActivity("dfs_downloads_done_total", "Downloads that ended well", ({ downloadsDone }) => downloadsDone, Counter);
  ofActivity("dfs_downloads_failed_total", "Downloads that failed", ({ downloadsFailed }) => downloadsFailed, Counter);
  ofActivity("dfs_read_failovers_total", "Blocks read from another replica", (a) => a.readFailovers, Counter);
  ofActivity("dfs_write_failovers_total", "Copies dropped while writing", (a) => a.writeFailovers, Counter);

  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory",
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Counter({
    name: "process_cpu_seconds_total",
    help: "User and system CPU time",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  const reachable = new Gauge({ name: "dfs_leader_reachable", help: "1 if a leader answered this scrape", registers });
  const leader = leaderGauges(gateway);
  return {
    contentType: registry.contentType,
    async text() {
      const state = await leaderView(gateway).catch(() => null);
      reachable.set(state === null ? 0 : 1);
      if (state === null) return registry.metrics();
      leader.show(state);
      return `${await registry.metrics()}\n${await leader.registry.metrics()}`;
    },
    answered(method, route, status, elapsed) {
      requests.inc({ method, route, status });
      seconds.observe({ method, route }, elapsed);
    },
  };
}

/** Gauges of what the leader knows; they are told only if it answers, because unknown is not zero. */
function leaderGauges(gateway: Gateway) {
  const registry = new Registry();
  registry.setDefaultLabels({ gateway: gateway.id });
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name, help, labelNames, registers: [registry] });
  const chunks = gauge("dfs_chunks", "Chunks in the cluster");
  const full = gauge("dfs_chunks_full", "Chunks with all their copies");
  const below = gauge("dfs_chunks_below", "Chunks with exactly this many good copies, fewer than wanted", ["copies"]);
  const unknown = gauge("dfs_chunks_unknown", "Chunks with copies on workers that the leader has not heard yet");
  const workers = gauge("dfs_workers", "Workers by state", ["state"]);
  const term = gauge("dfs_masters_term", "Raft term of the leader");
  const roles = gauge("dfs_master_role", "1 for the role that a master has, as the leader sees it", ["master", "role"]);
  const committed = gauge("dfs_master_commit_index", "Last entry that a master is known to hold as committed", [
    "master",
  ]);
  const lag = gauge("dfs_master_lag_entries", "Committed entries that a master has not confirmed", ["master"]);
  const free = gauge("dfs_worker_free_bytes", "Free bytes of a worker", ["worker"]);
  const repairs = gauge("dfs_repairs", "Repairs under way and waiting", ["state"]);
  const files = gauge("dfs_files", "Files");
  const bytes = gauge("dfs_file_bytes", "Bytes of all files");
  return {
    registry,
    show(state: ClusterStateAnswer): void {
      for (const labelled of [below, workers, free, roles, committed, lag]) labelled.reset();
      chunks.set(state.redundancy.chunks);
      full.set(state.redundancy.full);
      unknown.set(state.redundancy.unknown ?? 0);
      for (const [copies, count] of Object.entries(state.redundancy.below)) below.set({ copies }, count);
      for (const [name, members] of Map.groupBy(state.workers, (worker) => worker.state))
        workers.set({ state: name }, members.length);
      for (const { id, freeBytes, lastHeardMs } of state.workers)
        if (lastHeardMs !== null && freeBytes !== null) free.set({ worker: id }, freeBytes);
      term.set(state.term);
      for (const { id: master, role, commitIndex, lag: behind } of state.masters) {
        roles.set({ master, role }, 1);
        committed.set({ master }, commitIndex);
        if (behind !== null) lag.set({ master }, behind);
      }
      repairs.set({ state: "running" }, state.repairs.length);
      repairs.set({ state: "queued" }, state.repairQueue);
      files.set(state.files.files);
      bytes.set(state.files.bytes);
    },
  };
}

export const metricsRoute = (metrics: Metrics) =>
  new Elysia(SERVER_OPTIONS).get(
    "/metrics",
    async () => new Response(await metrics.text(), { headers: { "content-type": metrics.contentType } }),
    {
      detail: describe({
        query: NO_QUERY,
        summary: "Prometheus metrics",
        tag: "health",
        responses: { 200: { description: "text exposition format", content: { "text/plain": Type.String() } } },
        errors: [],
      }),
    },
  );
