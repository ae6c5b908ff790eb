/** What a chunk needs, judged from the workers that hold it. Judged per replica set, so per thousands of chunks at once. */
import type { NodeId, WorkerMode } from "../../messages/primitives.ts";
import { piecesOf, type Scheme } from "./scheme.ts";

export interface Holder {
  liveness: "unknown" | "live" | "suspect" | "dead";
  mode: WorkerMode;
}

export interface Verdict {
  /**
   * `lost`: no copy can be reached. `copy`: too few lasting copies. `trim`: more than wanted.
   * `copy` before `trim`, so a chunk never dips below its factor.
   */
  need: "healthy" | "lost" | "copy" | "trim";
  /** Workers whose copies count: not dead, not removed. */
  durable: readonly NodeId[];
  /** Of these, the ones that this leader has heard. Of the others it knows only what the log says. */
  heard: readonly NodeId[];
  /** Of these, the ones that stay: not draining. */
  lasting: readonly NodeId[];
}

/** The very list where all pass: most do, and verdicts are many. */
const those = (ids: readonly NodeId[], pass: (id: NodeId) => boolean): readonly NodeId[] =>
  ids.every(pass) ? ids : ids.filter(pass);

/**
 * @param holders the workers of one replica set
 * @param lookUp what the leader knows of a worker; undefined: never heard of
 */
export function classifyReplicas(
  holders: readonly NodeId[],
  lookUp: (id: NodeId) => Holder | undefined,
  scheme: Scheme,
): Verdict {
  const wanted = piecesOf(scheme);
  const durable = those(holders, (id) => {
    const worker = lookUp(id);
    return worker !== undefined && worker.liveness !== "dead" && worker.mode !== "removed";
  });
  const heard = those(durable, (id) => lookUp(id)?.liveness !== "unknown");
  const lasting = those(durable, (id) => lookUp(id)?.mode !== "draining");
  const need =
    durable.length === 0 ? "lost" : lasting.length < wanted ? "copy" : durable.length > wanted ? "trim" : "healthy";
  return { need, durable, heard, lasting };
}

/**
 * Holders without which fewer than `needed` sure copies would be left.
 *
 * @param durable the workers whose copies count
 * @param isSure whether a worker's copies can be relied on: those on a disk that fails may be gone already
 */
export function indispensable(durable: readonly NodeId[], isSure: (id: NodeId) => boolean, needed: number): NodeId[] {
  const sure = durable.filter(isSure);
  return durable.filter((id) => sure.filter((other) => other !== id).length < needed);
}

/** Many chunks that live on the same workers, with what they all need. */
export interface JudgedSet {
  readonly set: { id: number; scheme: Scheme; workers: readonly NodeId[]; chunkCount: number };
  readonly verdict: Verdict;
}

/**
 * Counted from chunks, never from tasks: how many have all their copies on workers that are heard, and how many fewer. A
 * chunk whose number depends on workers that this leader has not heard is neither, but unknown.
 */
export type Redundancy = {
  chunks: number;
  full: number;
  below: Record<string, number>;
  unknown: number;
};

/**
 * Which copy to give up when there are too many: one on a draining worker first, then one whose zone another copy
 * shares, then the one on the fullest worker.
 */
export function chooseTrim(
  durable: readonly { id: NodeId; zone: string; mode: WorkerMode; freeShare: number }[],
): NodeId | null {
  const shared = (zone: string) => durable.filter((worker) => worker.zone === zone).length > 1;
  const ranked = [...durable].sort(
    (a, b) =>
      Number(b.mode === "draining") - Number(a.mode === "draining") ||
      Number(shared(b.zone)) - Number(shared(a.zone)) ||
      a.freeShare - b.freeShare ||
      (a.id < b.id ? -1 : 1),
  );
  return ranked[0]?.id ?? null;
}
