/** The cluster on one screen: first one honest sentence, then the tables that it was made from. */
import type { Cluster } from "../client/client.ts";
import { counted, verdictOf } from "../client/verdict.ts";
import { formatBytes, formatDuration, table } from "./output.ts";

export { verdictOf } from "../client/verdict.ts";

export interface Rates {
  bytesInPerSecond: number;
  bytesOutPerSecond: number;
}

/** Rates between two looks; null if the counters say nothing (none there, or another gateway answered). */
export function ratesBetween(before: Cluster, after: Cluster, ms: number): Rates | null {
  const [a, b] = [before.gateway, after.gateway];
  if (!a || !b || a.id !== b.id || ms <= 0 || !(b.bytesIn >= a.bytesIn) || !(b.bytesOut >= a.bytesOut)) return null;
  return {
    bytesInPerSecond: ((b.bytesIn - a.bytesIn) / ms) * 1000,
    bytesOutPerSecond: ((b.bytesOut - a.bytesOut) / ms) * 1000,
  };
}

const MANY_REPAIRS = 10;

/** What the leader has not heard yet is shown as unknown. */
const known = (value: number | null | undefined, inWords: (value: number) => string): string =>
  value === null || value === undefined ? "?" : inWords(value);

function ifStopped(worker: Cluster["workers"][number], steward: string): string {
  const { state, mode, chunksAtRiskIfStopped, chunksUnknownIfStopped = 0 } = worker;
  if (state === "dead" || mode === "removed") return "-";
  if (chunksAtRiskIfStopped > 0) return `${counted(chunksAtRiskIfStopped, "chunk")} at risk`;
  return chunksUnknownIfStopped > 0 || steward === "safeMode" ? "not known yet" : "safe";
}

export function clusterView(cluster: Cluster, rates: Rates | null = null): string {
  const { workers, masters, files, redundancy, repairs, repairQueue, garbage, reasons, gateway } = cluster;
  const parts = [verdictOf(cluster).sentence, ""];
  for (const { severity, message } of reasons) parts.push(`  ${severity}: ${message}`);
  if (reasons.length > 0) parts.push("");
  parts.push(
    table(
      ["worker", "zone", "state", "chunks", "free", "of", "trash", "heard", "if stopped"],
      workers.map((worker) => [
        worker.id,
        worker.zone,
        [
          worker.state,
          worker.mode === "active" || worker.state === "drained" ? "" : worker.mode,
          worker.condition === "normal" ? "" : worker.condition,
        ]
          .filter((word, n, words) => word && words.indexOf(word) === n)
          .join(", "),
        worker.chunks.toLocaleString("en"),
        known(worker.lastHeardMs === null ? null : worker.freeBytes, formatBytes),
        formatBytes(worker.capacityBytes),
        known(worker.lastHeardMs === null ? null : worker.trashBytes, formatBytes),
        worker.lastHeardMs === null ? "not yet" : `${(worker.lastHeardMs / 1000).toFixed(1)} s ago`,
        ifStopped(worker, cluster.steward),
      ]),
      [3, 4, 5, 6],
    ),
    "",
    table(
      ["master", "role", "term", "applied", "lag"],
      masters.map(({ id, role, term, appliedIndex, lag }) => [
        id,
        role,
        role === "unknown" ? "?" : String(term),
        role === "unknown" ? "?" : appliedIndex.toLocaleString("en"),
        known(lag, (entries) => entries.toLocaleString("en")),
      ]),
      [2, 3, 4],
    ),
    "",
    `${counted(files.files, "file")} in ${counted(files.directories, "directory", "directories")}, ${formatBytes(files.bytes)}; ${redundancy.full.toLocaleString("en")} of ${counted(redundancy.chunks, "chunk")} with all copies${redundancy.unknown ? `, ${redundancy.unknown.toLocaleString("en")} not known yet` : ""}`,
    `Steward: ${cluster.steward}; ${counted(repairs.length, "repair")} under way, ${repairQueue.toLocaleString("en")} waiting, ${garbage.toLocaleString("en")} freed copies to clear`,
  );
  if (gateway)
    parts.push(
      `${gateway.id}: ${counted(gateway.uploads.length, "upload")}, ${counted(gateway.downloads.length, "download")}${
        rates ? `; in ${formatBytes(rates.bytesInPerSecond)}/s, out ${formatBytes(rates.bytesOutPerSecond)}/s` : ""
      }`,
    );
  if (repairs.length > 0)
    parts.push(
      "",
      table(
        ["repair of chunk", "state", "copies", "from", "to", "for", "reason"],
        repairs
          .slice(0, MANY_REPAIRS)
          .map((repair) => [
            repair.chunkId,
            repair.state,
            String(repair.goodCopies),
            repair.source ?? "-",
            repair.target ?? "-",
            formatDuration(repair.sinceMs / 1000),
            repair.reason,
          ]),
        [2],
      ),
      ...(repairs.length > MANY_REPAIRS ? [`… and ${repairs.length - MANY_REPAIRS} more`] : []),
    );
  return parts.join("\n");
}
