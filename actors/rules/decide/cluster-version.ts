/**
 * What the masters agree on about themselves: which commands the log may hold by now, and that all of them built the same
 * state from it.
 */
import type { Command, CommandOf } from "../../messages/commands.ts";
import type { Configuration } from "../../messages/raft.ts";
import { hasQuorum } from "../raft/quorum.ts";
import { accepted, CannotApply, type Deciding, type Decision, type Environment, readOne } from "./decision.ts";

/** The cluster version that this program knows all commands of. A group begins with 1. */
export const PROGRAM_VERSION = 4;
/** From this version on, every decision is folded into the state's hash. */
export const HASHED_SINCE = 2;
/** From this version on, a file whose type or metadata cannot travel in headers is refused. Older logs hold such files. */
export const HEADERS_CHECKED_SINCE = 3;
/** From this version on, a PUT_FILE may hold the bytes of a tiny file. */
export const TINY_SINCE = 4;
/** From this version on, the chunks of every file that is deleted or replaced are freed afterwards, many files at once. */
export const BURIED_SINCE = 4;
/** From this version on, grants share the accounts of their placements, and these are dropped in time. */
export const ACCOUNTS_SHARED_SINCE = 4;
/** From this version on, a grant that would reach into another group's ids is refused. */
export const GROUPS_BOUNDED_SINCE = 4;

/**
 * The cluster version from which on the log may hold such a command. A new one begins with the next version, which
 * `PROGRAM_VERSION` is raised to: a master that does not know it stops at the first.
 */
export const KNOWN_SINCE = {
  OPEN_SESSION: 1,
  GRANT_CHUNKS: 1,
  RENEW_GRANTS: 1,
  CLOSE_GRANTS: 1,
  PUT_FILE: 1,
  OPEN_UPLOAD: 1,
  STAGE_CHUNKS: 1,
  COMMIT_UPLOAD: 1,
  ABORT_UPLOAD: 1,
  DELETE_PATH: 1,
  RENAME_PATH: 1,
  COPY_PATH: 1,
  MAKE_DIRECTORY: 1,
  REGISTER_WORKER: 1,
  SET_WORKER_LIVENESS: 1,
  SET_WORKER_MODE: 1,
  ADD_REPLICAS: 1,
  MARK_REPLICAS: 1,
  DROP_REPLICA: 1,
  FORGET_GARBAGE: 1,
  EXPIRE: 1,
  REAP_DELETED: 1,
  NOOP: 1,
  SET_CLUSTER_VERSION: 1,
  CHECK_STATE: 2,
} as const satisfies Record<Command["type"], number>;

/** 0 for a kind that only a newer program knows: `decide` stops at it, whatever the version. */
export const knownSince = (type: Command["type"]): number => KNOWN_SINCE[type] ?? 0;

export function setClusterVersion({ version }: CommandOf<"SET_CLUSTER_VERSION">, env: Environment): Decision {
  if (version > PROGRAM_VERSION)
    throw new CannotApply(
      "unknownCommand",
      `entry ${env.index} of the log raises the cluster to version ${version}, and this program knows up to ${PROGRAM_VERSION}: start a newer one`,
    );
  return accepted(null, version > env.version ? [["setVersion", { version }]] : []);
}

/** @throws CannotApply if a majority had another state at the last mark than this master */
export function* checkState({ index, hash }: CommandOf<"CHECK_STATE">, env: Environment): Deciding<Decision> {
  const mark = yield* readOne("mark", {});
  if (mark && mark.index > 0 && mark.index === index && mark.hash !== hash)
    throw new CannotApply(
      "diverged",
      `at entry ${index} of the log the state here was ${mark.hash}, that of a majority of the masters ${hash}: put dfs_metadata.db aside, and the next start builds it anew`,
    );
  return accepted(null, [["setMark", { index: env.index, hash: env.stateHash }]]);
}

/** The hash of a master's state before the entry `index`, a CHECK_STATE. */
export interface StateMark {
  index: number;
  hash: number;
}

/** @returns the hash that a majority of the voters had at that mark, or null: not known, or there is none */
export function majorityHash(
  configuration: Configuration,
  index: number,
  markOf: (id: string) => StateMark | null,
): number | null {
  const told = configuration.voters.flat().flatMap((id) => markOf(id) ?? []);
  const hashes = new Set(told.filter((mark) => mark.index === index).map(({ hash }) => hash));
  const isMajority = (hash: number): boolean =>
    hasQuorum(configuration, (id) => markOf(id)?.index === index && markOf(id)?.hash === hash);
  return [...hashes].find(isMajority) ?? null;
}

/** The highest version that all of them know; null while one has not said. */
export function commonVersion(ids: readonly string[], knownBy: (id: string) => number | null): number | null {
  const versions = ids.map(knownBy);
  return versions.includes(null) ? null : Math.min(...(versions as number[]));
}
