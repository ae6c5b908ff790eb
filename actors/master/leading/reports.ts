/** The leader's reports for people: the state of the cluster, and why each chunk is where it is. */
import type { Static } from "@sinclair/typebox";
import type { Config } from "../../messages/config.ts";
import type { ClusterStateAnswer, Explain, ExplainAnswer } from "../../messages/questions.ts";
import type { Clock } from "../../node/clock.ts";
import { isTiny } from "../../rules/decide/contents.ts";
import type { Tally } from "../../rules/redundancy/tally.ts";
import type { MetadataPort } from "../metadata-port.ts";
import type { Placing } from "./placing.ts";
import type { Steward } from "./steward.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

type Reason = ClusterStateAnswer["reasons"][number];

interface Parts {
  config: Config;
  nodeId: string;
  clusterId: string;
  metadata: MetadataPort;
  /** The masters as this leader sees them. */
  masters(): ClusterStateAnswer["masters"];
  workers: WorkerRegistry;
  steward: Steward;
  placing: Placing;
  clock: Clock;
}

const counted = (chunks: number): string =>
  chunks === 1 ? "1 chunk has" : `${chunks.toLocaleString("en")} chunks have`;
const isSilent = (workerState: string): boolean => workerState === "suspect" || workerState === "dead";

export class Reports {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  clusterState(): ClusterStateAnswer {
    const { nodeId, clusterId, metadata, workers, steward, clock } = this.#parts;
    const { tally } = steward.verdicts.now();
    const totals = metadata.row("totals", {});
    const now = clock.now();
    const answer: ClusterStateAnswer = {
      clusterId,
      version: metadata.version,
      leader: nodeId,
      term: metadata.term,
      masters: this.#parts.masters(),
      steward: steward.state,
      workers: workers
        .all()
        .sort((a, b) => (a.id < b.id ? -1 : 1))
        .map((worker) => ({
          id: worker.id,
          url: worker.url,
          zone: worker.zone,
          state: workers.stateOf(worker, {
            expected: tally.expectedOn(worker.id),
            freed: worker.mode === "draining" ? metadata.queries.garbageCountOf(worker.id) : 0,
          }),
          mode: worker.mode,
          condition: worker.heardAt === null ? null : worker.condition,
          capacityBytes: worker.capacityBytes,
          freeBytes: worker.heardAt === null ? null : worker.freeBytes,
          trashBytes: worker.heardAt === null ? null : worker.trashBytes,
          chunks: tally.expectedOn(worker.id),
          lastHeardMs: worker.heardAt === null ? null : Math.round(now - worker.heardAt),
          chunksAtRiskIfStopped: tally.atRiskWithout(worker.id),
          chunksUnknownIfStopped: tally.unknownWithout(worker.id),
        })),
      files: {
        files: totals?.files ?? 0,
        directories: totals?.directories ?? 0,
        bytes: totals?.bytes ?? 0,
        tinyBytes: totals?.tinyBytes ?? 0,
      },
      redundancy: tally.redundancy(),
      repairs: steward.repairs.inSight(),
      repairQueue: tally.needing("copy"),
      garbage: metadata.queries.garbageCount(),
      reasons: [],
    };
    const gravest = ["error", "warning", "info"];
    answer.reasons = [...this.#reasons(answer, tally)].sort(
      (a, b) => gravest.indexOf(a.severity) - gravest.indexOf(b.severity),
    );
    return answer;
  }

  *#reasons(state: ClusterStateAnswer, tally: Tally): Generator<Reason> {
    const { config, steward } = this.#parts;
    const lost = tally.needing("lost");
    if (lost > 0)
      yield {
        code: "CHUNKS_UNREACHABLE",
        severity: "error",
        message: `${counted(lost)} no copy on a worker that is alive`,
      };
    const short = tally.needing("copy");
    if (short > 0)
      yield {
        code: "CHUNKS_SHORT",
        severity: "warning",
        message: `${counted(short)} fewer good copies than wanted`,
      };
    const { unknown = 0 } = state.redundancy;
    if (unknown > 0)
      yield {
        code: "CHUNKS_UNKNOWN",
        severity: "warning",
        message: `${counted(unknown)} copies on workers that this leader has not heard: how many are good is not known`,
      };
    const extra = tally.needing("trim");
    if (extra > 0) yield { code: "CHUNKS_EXTRA", severity: "info", message: `${counted(extra)} a copy too many` };
    if (tally.crowded > 0)
      yield {
        code: "CHUNKS_SHARE_ZONE",
        severity: "info",
        message: `${counted(tally.crowded)} two copies in one zone: there are fewer zones with room than copies`,
      };
    for (const { id, state: workerState, lastHeardMs } of state.workers)
      if (workerState !== "live")
        yield {
          code: `WORKER_${workerState.toUpperCase()}`,
          severity: workerState === "dead" ? "error" : workerState === "drained" ? "info" : "warning",
          message: `${id} is ${workerState}${workerState === "drained" ? " and can be stopped and removed" : ""}${isSilent(workerState) && lastHeardMs !== null ? `, silent for ${(lastHeardMs / 1000).toFixed(1)} s` : ""}`,
        };
    for (const { id, role } of state.masters)
      if (role === "unknown") yield { code: "MASTER_UNKNOWN", severity: "warning", message: `${id} does not answer` };
    const taking = state.workers.filter(({ state: workerState }) => workerState === "live").length;
    if (taking < config.minReplicas)
      yield {
        code: "NOT_ENOUGH_WORKERS",
        severity: "error",
        message: `${taking} workers can take new chunks; ${config.minReplicas} needed: writes are refused`,
      };
    else if (taking < config.replicationFactor)
      yield {
        code: "FEWER_WORKERS_THAN_COPIES",
        severity: "warning",
        message: `${taking} workers can take new chunks; ${config.replicationFactor} copies are wanted`,
      };
    if (state.steward === "safeMode")
      yield {
        code: "SAFE_MODE",
        severity: "warning",
        message: "The leader is new: no repairs and no deletes until workers reported",
      };
    if (state.steward === "paused")
      yield {
        code: "REPAIR_PAUSED",
        severity: "error",
        message: `${steward.pausedBecause}: repairs and deletes wait for their return, or for an operator who removes them`,
      };
  }

  explain(request: Static<typeof Explain>): ExplainAnswer {
    const { metadata, workers, steward, placing } = this.#parts;
    const { queries } = metadata;
    const found = queries.fileChunks(request.path, request.fromIndex, request.limit + 1);
    if (!found) return { file: null, chunks: [], now: null, next: null };
    if (isTiny(found.file)) return { file: found.file, chunks: [], masters: metadata.voters(), now: null, next: null };
    const chunks = found.chunks.slice(0, request.limit).map((chunk) => {
      const reasons = queries.reasonsOf(chunk.id);
      const describe = (id: string, state: ExplainAnswer["chunks"][number]["replicas"][number]["state"]) => {
        const worker = workers.get(id);
        return {
          worker: id,
          url: worker?.url ?? "http://unknown",
          zone: worker?.zone ?? "",
          state,
          workerState: worker ? workers.stateOf(worker) : "removed",
          reason: reasons.get(id) ?? null,
        };
      };
      const isDead = (id: string) => {
        const worker = workers.get(id);
        return !worker || workers.livenessOf(worker) === "dead";
      };
      return {
        chunkId: chunk.id,
        index: chunk.index,
        offset: chunk.offset,
        lengthBytes: chunk.lengthBytes,
        crc32: chunk.crc32,
        replicas: [
          ...chunk.workers.map((id) => describe(id, isDead(id) ? "missing" : "good")),
          ...queries.faultsOf(chunk.id).map((fault) => describe(fault.workerId, fault.state)),
        ],
        decision: queries.placementOf(chunk.id),
        repair: steward.repairOf(chunk.id, chunk.setId),
      };
    });
    return {
      file: found.file,
      chunks,
      now: placing.explainNow(found.file.replicationFactor, []),
      next: found.chunks.length > request.limit ? request.fromIndex + request.limit : null,
    };
  }
}
