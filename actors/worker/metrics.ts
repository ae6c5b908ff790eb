/** A worker's figures for Prometheus. Their names begin with `dfs_worker_`. */
import { Registry } from "prom-client";
import { counterOf, gaugeOf } from "../node/metrics.ts";
import type { BlockTraffic } from "./blocks/block-routes.ts";
import type { Copier } from "./blocks/copy-chunk.ts";
import type { ChunkStore } from "./store/chunk-store.ts";
import type { Disk } from "./store/disk.ts";
import type { ScrubProgress } from "./store/scrub.ts";

export interface MeasuredWorker {
  store: ChunkStore;
  disk: Disk;
  traffic: BlockTraffic;
  scrubbed: ScrubProgress;
  copier: Copier;
  /** Whether a leader knows this worker. */
  isServing(): boolean;
}

export function workerMetrics({ store, disk, traffic, scrubbed, copier, isServing }: MeasuredWorker): Registry {
  const registry = new Registry();
  const gauge = (name: string, help: string, read: () => number) => gaugeOf(registry, `dfs_worker_${name}`, help, read);
  const counter = (name: string, help: string, read: () => number) =>
    counterOf(registry, `dfs_worker_${name}_total`, help, read);
  gauge("registered", "1 while a leader knows this worker", () => Number(isServing()));
  gauge("chunks", "sealed chunks", () => store.totals.chunkCount);
  gauge("chunk_bytes", "bytes of sealed chunks", () => store.totals.sealedBytes);
  gauge("trash_bytes", "bytes of chunks in trash and quarantine", () => store.totals.trashBytes);
  gauge("open_chunks", "chunks being written", () => store.totals.openChunks);
  gauge("open_bytes", "bytes of chunks being written", () => store.totals.openBytes);
  gauge("unflushed_bytes", "bytes written and not flushed", () => store.flushes.unflushedBytes);
  gauge("capacity_bytes", "bytes the worker may use", () => disk.space(store.usedBytes).capacityBytes);
  gauge("free_bytes", "bytes the worker can still take", () => disk.space(store.usedBytes).freeBytes);
  gauge("requests", "block writes and messages being served", () => traffic.requests);
  gauge("copies", "copies under way to here", () => copier.running);
  gauge("resident_bytes", "memory of the process", () => process.memoryUsage.rss());
  counter("cpu_seconds", "CPU time of the process", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  counter("blocks_written", "blocks stored", () => traffic.blocksWritten);
  counter("bytes_written", "bytes of blocks stored", () => traffic.bytesWritten);
  counter("blocks_read", "blocks answered", () => traffic.blocksRead);
  counter("bytes_read", "bytes of blocks answered", () => traffic.bytesRead);
  counter("checksum_mismatches", "blocks damaged on their way here", () => traffic.checksumMismatches);
  counter("index_commits", "transactions of the index", () => store.commits.commits);
  counter("index_changes", "changes of the index; many share a transaction", () => store.commits.changes);
  counter("scrubbed_chunks", "chunks read back", () => scrubbed.chunksChecked);
  counter("scrubbed_bytes", "bytes read back", () => scrubbed.bytesChecked);
  counter("scrub_bad", "bad copies that the scrub found", () => scrubbed.badFound);
  return registry;
}
