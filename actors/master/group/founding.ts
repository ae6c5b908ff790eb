/**
 * How a master with a new, empty data directory begins. The masters of config.json found a group only when all of them
 * are there and none has a history yet: two of three that lost their disks must not begin a new one. Where a group
 * exists without this master, it waits to be added.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Elysia } from "elysia";
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import { MasterMailbox, type MasterStatusAnswer } from "../../messages/master.ts";
import type { Configuration } from "../../messages/raft.ts";
import { entrance } from "../../node/http/entrance.ts";
import { SERVER_OPTIONS, serve } from "../../node/http/server-options.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { ExitCode, StartRefused } from "../../node/lifecycle.ts";
import type { Logger } from "../../node/log.ts";
import { type Handlers, mailbox } from "../../node/messaging/mailbox.ts";
import { isVoter, membersOf } from "../../rules/raft/quorum.ts";
import { askStatus } from "./ask-status.ts";

const ASK_EVERY_MS = 100;
const COMPLAIN_EVERY_MS = 10_000;

/** Belongs to no group yet: has no vote and does not campaign. */
export const OUTSIDER: Configuration = { voters: [[]], learners: [] };

export interface FoundingParts {
  config: Pick<Config, "masters">;
  nodeId: string;
  url: string;
  dataDirectory: string;
  identity: Identity;
  log: Logger;
  /** Told by `--join`: it is to be added to a group that exists. */
  joins: boolean;
}

/**
 * The configuration that a new log begins with; what a log that exists says counts more.
 *
 * @throws StartRefused if this id is dead: its log is gone, or the others knew it with another data directory
 */
export async function foundingConfiguration(parts: FoundingParts): Promise<Configuration> {
  const { config, nodeId, dataDirectory, joins } = parts;
  const founders: Configuration = { voters: [config.masters.map(({ id }) => id)], learners: [] };
  if (existsSync(join(dataDirectory, "master_metadata.db"))) return founders;
  if (existsSync(join(dataDirectory, "dfs_metadata.db")) || existsSync(join(dataDirectory, "state")))
    throw deadId(nodeId, `its log, master_metadata.db, is missing from ${dataDirectory} while its state is there`);
  if (joins) return OUTSIDER;
  const others = config.masters.filter(({ id }) => id !== nodeId);
  if (others.length === 0) return founders;
  const server = answerMeanwhile(parts, "founding", 0);
  try {
    return (await meetOthers(parts, others)) ? founders : OUTSIDER;
  } finally {
    await server.stop(true);
  }
}

const deadId = (nodeId: string, why: string): StartRefused =>
  new StartRefused(
    `${nodeId} cannot go on under this id: ${why}, so the votes it gave are forgotten. ` +
      `Remove it (dfs masters remove ${nodeId}), and start it under a new id with --join and an empty data directory.`,
    ExitCode.dataDirectoryRefused,
  );

/**
 * The other masters wait for this one as it waits for them: answers that it is here, and nothing else.
 *
 * @param term what there is of terms in the log
 */
export function answerMeanwhile(
  { nodeId, url, identity, log }: Pick<FoundingParts, "nodeId" | "url" | "identity" | "log">,
  role: "founding" | "resetting",
  term: number,
) {
  const status: MasterStatusAnswer = {
    id: nodeId,
    url,
    role,
    term,
    leader: null,
    commitIndex: 0,
    appliedIndex: 0,
    lastIndex: 0,
    stateAgeMs: null,
    incarnation: null,
    configuration: null,
  };
  const notYet = () => {
    throw new Refusal("NOT_READY", `${nodeId} waits for the other masters`);
  };
  const handlers = Object.fromEntries(Object.keys(MasterMailbox).map((type) => [type, notYet])) as unknown;
  const app = new Elysia(SERVER_OPTIONS)
    .use(entrance(log))
    .use(
      mailbox(
        MasterMailbox,
        { ...(handlers as Handlers<typeof MasterMailbox>), MASTER_STATUS: () => status },
        identity,
        log,
      ),
    )
    .get("/health/live", () => ({ status: "live" }))
    .get("/health/ready", ({ status: answer }) => answer(503, { status: "waiting for the other masters" }));
  return serve(app, url);
}

/** @returns true once all others are known to begin with us; false if they have begun without us */
async function meetOthers({ nodeId, identity, log }: FoundingParts, others: Config["masters"]): Promise<boolean> {
  const waitedFor = new Map(others.map(({ id, url }) => [id, url]));
  let complainedAt = performance.now();
  for (;;) {
    for (const [id, url] of waitedFor) {
      const status = await askStatus(identity, url);
      if (status === null) continue;
      const group = status.configuration;
      if (group?.retired?.includes(nodeId)) throw deadId(nodeId, "it was removed from the group");
      if (group?.nodes?.[nodeId]?.incarnation) throw deadId(nodeId, "the others know it with another data directory");
      if (group && membersOf(group).length > 0 && !isVoter(group, nodeId)) {
        log.warn(
          { event: "waiting-to-be-added", asked: id },
          `the masters' group exists without ${nodeId}; add it with: dfs masters add ${nodeId} URL`,
        );
        return false;
      }
      waitedFor.delete(id);
    }
    if (waitedFor.size === 0) return true;
    if (performance.now() - complainedAt > COMPLAIN_EVERY_MS) {
      complainedAt = performance.now();
      log.warn(
        { event: "founding", waitsFor: [...waitedFor.keys()] },
        "a new group of masters begins when all of them are there",
      );
    }
    await Bun.sleep(ASK_EVERY_MS);
  }
}
