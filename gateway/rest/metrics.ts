/** Prometheus metrics of this gateway (`dfs_gateway_`), and what the leader says of the cluster (`dfs_cluster_`). */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { counterOf, gaugeOf, gaugesOf } from "../../actors/node/metrics.ts";
import { SYSTEM } from "../access/principal.ts";
import type { AnswerCounter } from "../http/access-log.ts";
import type { Gateway } from "../http/context.ts";
import { describe, NO_QUERY } from "../http/describe.ts";
import type { Services } from "../ports/backend.ts";
import type { ClusterStateAnswer } from "../ports/operations.ts";
import type { Activity } from "../ports/transfers.ts";
import { leaderView } from "./leader-view.ts";

export class GatewayMetrics implements AnswerCounter {
  readonly #services: Services;
  readonly #registry = new Registry();
  readonly #requests: Counter<"method" | "route" | "status">;
  readonly #seconds: Histogram<"method" | "route">;
  readonly #reachable: Gauge;
  readonly #cluster: ClusterGauges;

  constructor({ id, backend }: Gateway) {
    this.#services = backend.as(SYSTEM);
    this.#registry.setDefaultLabels({ gateway: id });
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: "dfs_gateway_http_requests_total",
      help: "Requests answered",
      labelNames: ["method", "route", "status"],
      registers,
    });
    this.#seconds = new Histogram({
      name: "dfs_gateway_http_request_seconds",
      help: "Time until the head of the answer",
      labelNames: ["method", "route"],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600],
      registers,
    });
    this.#reachable = new Gauge({
      name: "dfs_gateway_leader_reachable",
      help: "1 if a leader answered this scrape",
      registers,
    });
    addActivity(this.#registry, () => this.#services.transfers.activity());
    addProcess(this.#registry);
    this.#cluster = new ClusterGauges(id);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** In the text exposition format. */
  async text(): Promise<string> {
    const state = await leaderView(this.#services.operations).catch(() => null);
    this.#reachable.set(state === null ? 0 : 1);
    const own = await this.#registry.metrics();
    return state === null ? own : `${own}\n${await this.#cluster.text(state)}`;
  }

  answered(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status });
    this.#seconds.observe({ method, route }, seconds);
  }
}

function addActivity(registry: Registry, activity: () => Activity): void {
  const gauge = (name: string, help: string, read: (activity: Activity) => number) =>
    gaugeOf(registry, `dfs_gateway_${name}`, help, () => read(activity()));
  const counter = (name: string, help: string, read: (activity: Activity) => number) =>
    counterOf(registry, `dfs_gateway_${name}`, help, () => read(activity()));
  gauge("uploads_in_progress", "Uploads under way", ({ uploads }) => uploads.length);
  gauge("downloads_in_progress", "Downloads under way", ({ downloads }) => downloads.length);
  gauge("buffer_bytes", "Block buffers in use", ({ bufferBytesInUse }) => bufferBytesInUse);
  counter("bytes_in_total", "Bytes of content received", ({ bytesIn }) => bytesIn);
  counter("bytes_out_total", "Bytes of content sent", ({ bytesOut }) => bytesOut);
  counter("uploads_done_total", "Uploads that ended well", ({ uploadsDone }) => uploadsDone);
  counter("uploads_failed_total", "Uploads that failed", ({ uploadsFailed }) => uploadsFailed);
  counter("downloads_done_total", "Downloads that ended well", ({ downloadsDone }) => downloadsDone);
  counter("downloads_failed_total", "Downloads that failed", ({ downloadsFailed }) => downloadsFailed);
  counter("read_failovers_total", "Blocks read from another replica", ({ readFailovers }) => readFailovers);
  counter("write_failovers_total", "Copies dropped while writing", ({ writeFailovers }) => writeFailovers);
}

function addProcess(registry: Registry): void {
  gaugeOf(registry, "process_resident_memory_bytes", "Resident memory", () => process.memoryUsage.rss());
  counterOf(registry, "process_cpu_seconds_total", "User and system CPU time", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
}

/** What the leader knows, in a registry of its own: it is left out if no leader answers, because unknown is not zero. */
class ClusterGauges {
  readonly #registry = new Registry();
  #state: ClusterStateAnswer | null = null;

  constructor(gatewayId: string) {
    this.#registry.setDefaultLabels({ gateway: gatewayId });
    this.#addChunks();
    this.#addWorkers();
    this.#addMasters();
  }

  /** @param state just answered by the leader */
  text(state: ClusterStateAnswer): Promise<string> {
    this.#state = state;
    return this.#registry.metrics();
  }

  #gauge(name: string, help: string, read: (state: ClusterStateAnswer) => number): void {
    gaugeOf(this.#registry, `dfs_cluster_${name}`, help, () => (this.#state ? read(this.#state) : 0));
  }

  /** One value for each of `read`'s pairs. */
  #gauges<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    read: (state: ClusterStateAnswer) => { labels: Record<Label, string>; value: number }[],
  ): void {
    gaugesOf(this.#registry, `dfs_cluster_${name}`, help, labelNames, () => (this.#state ? read(this.#state) : []));
  }

  #addChunks(): void {
    this.#gauge("chunks", "Chunks in the cluster", ({ redundancy }) => redundancy.chunks);
    this.#gauge("chunks_full", "Chunks with all their copies", ({ redundancy }) => redundancy.full);
    this.#gauges(
      "chunks_below",
      "Chunks with exactly this many good copies, fewer than wanted",
      ["copies"],
      ({ redundancy }) => Object.entries(redundancy.below).map(([copies, value]) => ({ labels: { copies }, value })),
    );
    this.#gauge(
      "chunks_unknown",
      "Chunks with copies on workers that the leader has not heard yet",
      ({ redundancy }) => redundancy.unknown ?? 0,
    );
    this.#gauges("repairs", "Repairs under way and waiting", ["state"], ({ repairs, repairQueue }) => [
      { labels: { state: "running" }, value: repairs.length },
      { labels: { state: "queued" }, value: repairQueue },
    ]);
    this.#gauge("files", "Files", ({ files }) => files.files);
    this.#gauge("file_bytes", "Bytes of all files", ({ files }) => files.bytes);
    this.#gauge("tiny_file_bytes", "Of them, those that lie in the metadata", ({ files }) => files.tinyBytes ?? 0);
  }

  #addWorkers(): void {
    this.#gauges("workers", "Workers by state", ["state"], ({ workers }) =>
      [...Map.groupBy(workers, ({ state }) => state)].map(([state, { length }]) => ({
        labels: { state },
        value: length,
      })),
    );
    this.#gauges("worker_free_bytes", "Free bytes of a worker", ["worker"], ({ workers }) =>
      workers.flatMap(({ id, freeBytes, lastHeardMs }) =>
        lastHeardMs !== null && freeBytes !== null ? [{ labels: { worker: id }, value: freeBytes }] : [],
      ),
    );
  }

  #addMasters(): void {
    this.#gauge("term", "Raft term of the leader", ({ term }) => term);
    this.#gauges(
      "master_role",
      "1 for the role that a master has, as the leader sees it",
      ["master", "role"],
      ({ masters }) => masters.map(({ id: master, role }) => ({ labels: { master, role }, value: 1 })),
    );
    this.#gauges(
      "master_commit_index",
      "Last entry that a master is known to hold as committed",
      ["master"],
      ({ masters }) => masters.map(({ id: master, commitIndex }) => ({ labels: { master }, value: commitIndex })),
    );
    this.#gauges("master_lag_entries", "Committed entries that a master has not confirmed", ["master"], ({ masters }) =>
      masters.flatMap(({ id: master, lag }) => (lag === null ? [] : [{ labels: { master }, value: lag }])),
    );
  }
}

export const metricsRoute = (metrics: GatewayMetrics) =>
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
