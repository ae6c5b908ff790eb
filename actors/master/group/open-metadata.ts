/** Opens what a master's data directory holds, and says in an operator's words why it cannot be gone on with. */
import { totalmem } from "node:os";
import { LogDamaged } from "../../../databases/master-log.ts";
import { rebuildState, StateMissing } from "../../../databases/metadata/backup.ts";
import { DatabaseRefused } from "../../../databases/sqlite.ts";
import type { Config } from "../../messages/config.ts";
import type { Configuration } from "../../messages/raft.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { ExitCode, StartRefused } from "../../node/lifecycle.ts";
import type { Logger } from "../../node/log.ts";
import { longWork, RECOVERY_LIMIT_MS } from "../../node/watchdog/current-work.ts";
import { CannotApply } from "../../rules/decide/decision.ts";
import { leadersState } from "./fetch-state.ts";
import { type EngineOptions, RaftMetadata } from "./raft-metadata.ts";

const MOST_CACHE_BYTES = 2 ** 31;

/** A share of the machine's memory, or of what this process may use of it. Other connections to the state take 2 MB each. */
function usualCacheBytes(): number {
  const allowed = process.constrainedMemory();
  const bytes = allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
  return Math.min(MOST_CACHE_BYTES, Math.floor(bytes / 8));
}

interface Parts {
  config: Config;
  nodeId: string;
  clusterId: string;
  dataDirectory: string;
  identity: Identity;
  /** The group that a new data directory begins with. */
  founders: Configuration;
  /** The way to the other masters, and the hooks for what happens in the group. */
  group: Pick<EngineOptions, "send" | "urlOf" | "leaderChanged" | "sendSnapshot" | "installSnapshot" | "neededFrom">;
  log: Logger;
}

/**
 * A master that lost its applied state keeps its log and its votes, and takes part again once it has the leader's.
 *
 * @throws StartRefused if the data directory is damaged, or of another master
 */
export async function openMetadata(parts: Parts): Promise<RaftMetadata> {
  const { config, nodeId, clusterId, dataDirectory, identity, log } = parts;
  try {
    return longWork("recover", RECOVERY_LIMIT_MS, () => open(parts));
  } catch (cause) {
    if (!(cause instanceof StateMissing)) throw cause;
    log.warn({ event: "state-missing", err: cause }, "the applied state is gone; the leader is asked for its own");
    if (config.masters.every(({ id }) => id === nodeId))
      throw new StartRefused(`${nodeId} cannot start: ${cause.message}`, ExitCode.dataDirectoryRefused);
    const source = await leadersState(config, nodeId, identity, log);
    const { index } = await longWork("rebuild the state", RECOVERY_LIMIT_MS, () =>
      rebuildState(source, { dataDirectory, nodeId, clusterId }),
    );
    log.warn({ event: "state-rebuilt", index }, "the applied state is the leader's now");
    return longWork("recover", RECOVERY_LIMIT_MS, () => open(parts));
  }
}

function open({ config, nodeId, clusterId, dataDirectory, founders, group, log }: Parts): RaftMetadata {
  try {
    const metadata = new RaftMetadata({
      ...group,
      dataDirectory,
      genesis: { clusterId, nodeId, configuration: founders },
      timings: config.raft,
      keepEntries: config.raft.keepEntries,
      cacheBytes: config.raft.cacheBytes ?? usualCacheBytes(),
      onFailure: (cause) => stop(cause, nodeId, log),
    });
    const { nodeId: theirs, clusterId: of } = metadata.identity;
    if (theirs === nodeId && of === clusterId) return metadata;
    metadata.close();
    throw new StartRefused(
      `${dataDirectory} holds the data of ${theirs} of cluster ${of}, not of ${nodeId} of ${clusterId}`,
      ExitCode.dataDirectoryRefused,
    );
  } catch (cause) {
    if (cause instanceof StateMissing) throw cause;
    if (cause instanceof DatabaseRefused || cause instanceof LogDamaged)
      throw new StartRefused(`${nodeId} cannot start: ${cause.message}`, ExitCode.dataDirectoryRefused);
    throw cause;
  }
}

function stop(cause: unknown, nodeId: string, log: Logger): never {
  if (cause instanceof CannotApply) {
    log.fatal({ event: "cannot-apply", why: cause.why }, `${nodeId} stops: ${cause.message}`);
    process.exit(cause.why === "diverged" ? ExitCode.stateDiverged : ExitCode.programTooOld);
  }
  log.fatal({ event: "master-failed", err: cause }, "this master cannot go on; stopping rather than guessing");
  process.exit(ExitCode.diskFailed);
}
