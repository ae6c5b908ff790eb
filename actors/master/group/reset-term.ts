/**
 * `--reset-term`: the way back for masters that hold a term which no election reaches. No master can be elected above it, so
 * they would stay pre-candidates for ever, also after restarts.
 *
 * A master that forgets its term forgets the votes that it gave, too. That is safe when a majority does so together, with
 * none of them taking part in elections meanwhile, and goes on from a term far above the last entry of every log among
 * them: no leader was elected there of whom anything is left.
 */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { LogDamaged, MasterLog } from "../../../databases/master-log.ts";
import type { Config } from "../../messages/config.ts";
import { MAX_TERM, type NodeId } from "../../messages/primitives.ts";
import type { Configuration } from "../../messages/raft.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { listedRoles } from "../../node/identity/sender.ts";
import { sharedSecret } from "../../node/identity/signature.ts";
import { ExitCode, StartRefused } from "../../node/lifecycle.ts";
import type { Logger } from "../../node/log.ts";
import { hasQuorum, votersOf } from "../../rules/raft/quorum.ts";
import { TERMS_AHEAD } from "../../rules/term.ts";
import { askStatus } from "./ask-status.ts";
import { clusterIdOf } from "./cluster-id.ts";
import { answerMeanwhile, OUTSIDER } from "./founding.ts";

const COMPLAIN_EVERY_MS = 10_000;

export interface ResetParts {
  config: Config;
  nodeId: NodeId;
  url: string;
  dataDirectory: string;
  secret: string;
  log: Logger;
  askEveryMs: number;
}

/** What another master says: the term that it runs in, or the last of its log while it waits as we do. */
interface Told {
  term: number;
  isResetting: boolean;
}

/** The term to go on from, after `told` by a majority. It is above every vote that a master may still count on. */
export const termAfterReset = (lastTerm: number, told: readonly Told[]): number =>
  Math.max(lastTerm + TERMS_AHEAD, ...told.map(({ term, isResetting }) => (isResetting ? term + TERMS_AHEAD : term)));

/** Does nothing for a master whose term is one of elections. @throws StartRefused if only a backup can help */
export async function resetTerm(parts: ResetParts): Promise<void> {
  const { nodeId, dataDirectory, secret, log } = parts;
  const path = join(dataDirectory, "master_metadata.db");
  if (!existsSync(path)) return;
  const masterLog = new MasterLog(path, { clusterId: clusterIdOf(secret), nodeId, configuration: OUTSIDER });
  try {
    const { term, configuration } = masterLog.recover();
    if (term <= MAX_TERM) {
      log.warn({ event: "term-kept", term }, `--reset-term is not needed: term ${term} stays`);
      return;
    }
    const { lastTerm } = masterLog;
    if (lastTerm > MAX_TERM - TERMS_AHEAD)
      throw new StartRefused(
        `${nodeId} cannot start: entries of its log are of term ${lastTerm}, which no election reaches. Begin anew from a backup (--restore).`,
        ExitCode.dataDirectoryRefused,
      );
    const next = termAfterReset(lastTerm, await meetMajority(parts, configuration, lastTerm));
    masterLog.resetTerm(next);
    log.warn({ event: "term-reset", from: term, to: next }, `${nodeId} goes on from term ${next}`);
  } catch (cause) {
    if (!(cause instanceof LogDamaged)) throw cause;
    throw new StartRefused(`${nodeId} cannot start: ${cause.message}`, ExitCode.dataDirectoryRefused);
  } finally {
    masterLog.close();
  }
}

/** Waits until, with this one, a majority of the voters is resetting its term or has done so. */
async function meetMajority(parts: ResetParts, configuration: Configuration, lastTerm: number): Promise<Told[]> {
  const { config, nodeId, url, secret, log, askEveryMs } = parts;
  const others = votersOf(configuration).filter((id) => id !== nodeId);
  const told = new Map<NodeId, Told>();
  const isMajority = () => hasQuorum(configuration, (id) => id === nodeId || told.has(id));
  if (isMajority()) return [];
  const clusterId = clusterIdOf(secret);
  const identity: Identity = {
    nodeId,
    credentials: sharedSecret(nodeId, secret),
    clusterId: () => clusterId,
    rolesOf: listedRoles(config),
  };
  const urlOf = (id: NodeId): string | undefined =>
    config.masters.find((master) => master.id === id)?.url ?? configuration.nodes?.[id]?.url;
  const server = answerMeanwhile({ nodeId, url, identity, log }, "resetting", lastTerm);
  try {
    for (let complainedAt = performance.now(); ; await Bun.sleep(askEveryMs)) {
      for (const id of others) {
        const answer = await statusOf(identity, id, urlOf(id));
        if (answer) told.set(id, answer);
        else told.delete(id);
      }
      if (isMajority()) return [...told.values()];
      if (performance.now() - complainedAt < COMPLAIN_EVERY_MS) continue;
      complainedAt = performance.now();
      const waitsFor = others.filter((id) => !told.has(id));
      log.warn(
        { event: "resetting-term", waitsFor },
        "the term is reset when a majority of the masters does so together",
      );
    }
  } finally {
    await server.stop(true);
  }
}

/** @returns null unless it is there, under its own name, and its term is one of elections */
async function statusOf(identity: Identity, id: NodeId, url: string | undefined): Promise<Told | null> {
  if (url === undefined) return null;
  const status = await askStatus(identity, url);
  if (status?.id !== id || status.role === "founding" || !(status.term <= MAX_TERM)) return null;
  return { term: status.term, isResetting: status.role === "resetting" };
}
