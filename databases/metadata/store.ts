/**
 * What a master asks of whatever keeps its applied state. Two things make a store: it applies entries of the log exactly
 * as `decide` says, each whole or not at all, and it answers from what is applied. Reads answer at once: a decision is
 * made against one instant, so a store that answers late must bring the rows here before it is asked.
 *
 * `test/master/store-behaviour.ts` is the suite that every store passes.
 */
import type { SealedChunk } from "../../actors/messages/chunk.ts";
import type { CommandResult, EntryInfo, FileInfo } from "../../actors/messages/commands.ts";
import type { PlacementDecision } from "../../actors/messages/primitives.ts";
import type { ListAnswer, LocateAnswer } from "../../actors/messages/questions.ts";
import type { StateMark } from "../../actors/rules/decide/cluster-version.ts";
import type { Deciding, EntryEnvironment } from "../../actors/rules/decide/decision.ts";
import type { Proposal } from "../../actors/rules/decide/exactly-once.ts";
import type { FileChunkRow, ReplicaSetRow } from "../../actors/rules/decide/rows.ts";
import type { Reads } from "../../actors/rules/decide/state.ts";
import type { TouchedSets } from "./touched-sets.ts";

/** Where in the log the state stands. */
export interface Applied {
  index: number;
  term: number;
  /** ms, see `Environment`. */
  logTime: number;
  wallTime: number;
  /** The cluster version that the log has set so far. */
  version: number;
  /** Of all decisions since version 2: masters that applied the same log have the same hash. */
  stateHash: number;
}

/** The reads that decisions use, for those that look at the state between decisions. */
export interface StateReader {
  rows<K extends keyof Reads>(name: K, where: Reads[K][0]): Reads[K][1][];
  row<K extends keyof Reads>(name: K, where: Reads[K][0]): Reads[K][1] | undefined;
  /** Runs a question that yields reads, as decisions do. */
  ask<T>(question: Deciding<T>): T;
}

/** A copy that does not count: found bad, or gone. */
export interface Fault {
  workerId: string;
  state: "corrupt" | "missing";
}

export interface ListRequest {
  prefix: string;
  /** Names of directories instead of what lies below them. */
  delimiter: boolean;
  /** Only paths behind this one. */
  after: string;
  limit: number;
}

/** Questions that change nothing: what gateways, the leader's work and the console ask. Each looks at a bounded number of rows. */
export interface Queries {
  /** The entry at a path; null if there is none or a part of the path is a file. */
  stat(path: string): EntryInfo | null;
  /** A file's chunks from the one that holds byte `offset`; the bytes of a tiny file. */
  locate(path: string, offset: number, limit: number): Pick<LocateAnswer, "entry" | "chunks" | "content">;
  /** One page of names in byte order of whole paths. */
  list(request: ListRequest): Omit<ListAnswer, "index">;
  /** A file's chunks by their number; null if there is no such file. */
  fileChunks(path: string, fromIndex: number, limit: number): { file: FileInfo; chunks: FileChunkRow[] } | null;
  /** Why a chunk's first copies were placed where they are; null: that is not known any more. */
  placementOf(chunkId: number): PlacementDecision | null;
  faultsOf(chunkId: number): Fault[];
  /** By worker: why it got a copy that was made later. */
  reasonsOf(chunkId: number): Map<string, string>;
  replicaSets(): ReplicaSetRow[];
  /** Of these ids, the sets that are there. */
  replicaSetsOf(setIds: Iterable<number>): ReplicaSetRow[];
  /** By rising id, from behind `afterId`. */
  replicaSetsFrom(afterId: number, limit: number): ReplicaSetRow[];
  /** By rising id. */
  chunksOfSet(setId: number, afterId: number, limit: number): SealedChunk[];
  /** All chunks of these sets with ids in a range, by id. */
  inventory(setIds: readonly number[], fromId: number, toId: number): SealedChunk[];
  /** Freed chunks that a worker still has to trash, freed at `freedBefore` (log time) or earlier. */
  garbageOf(workerId: string, freedBefore: number, limit: number): number[];
  garbageCountOf(workerId: string): number;
  /** Workers that still have something to trash. */
  workersWithGarbage(): string[];
  garbageCount(): number;
  /** How many leases, keys and sessions have run out and wait for an EXPIRE. */
  expiredCount(logTime: number, sessionIdleMs: number): number;
}

/** An entry of the log, ready to be applied. */
export interface AppliedEntry {
  proposal: Proposal;
  env: EntryEnvironment;
}

export interface MetadataStore extends StateReader {
  readonly queries: Queries;
  /** Called after each transaction that touched replica sets, once it is committed. */
  onSetsTouched: (touched: TouchedSets) => void;
  /** The cluster version in force. */
  readonly version: number;
  /** The state's hash at the last CHECK_STATE. */
  readonly mark: StateMark;
  applied(): Applied;
  /**
   * Applies consecutive entries, all of them or none.
   * @returns their results, in order
   * @throws CannotApply if one of them must not be applied here
   */
  apply(entries: readonly AppliedEntry[]): CommandResult[];
  /** Lets other connections, and a start after a kill, find what was applied; `apply` alone may leave that for later. */
  commit(): void;
  /**
   * Flushes all that was applied, or as much as a copy under way lets it: from here on, log entries up to the returned one
   * need not be kept for recovery.
   */
  makeDurable(): Applied;
  /**
   * Writes the state as it is at some moment of the call into a new file, while applying goes on.
   * @returns the entry that the copy stands at
   */
  copyTo(path: string): Promise<{ index: number; term: number }>;
  /** Makes a copy of the state the beginning of another history. Sessions end: what they had under way is unknown. */
  beginHistory(start: { index: number; term: number; skippedChunkIds: number }): void;
  /** Reads all of it, in one go. @returns what is wrong, or null */
  damage(): string | null;
  close(): void;
}
