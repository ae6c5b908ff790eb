/** One master: opens its part in the group, answers its mailbox, and leads while it is elected. The I/O around the machines. */
import type { Config } from "../messages/config.ts";
import { serve } from "../node/http/server-options.ts";
import { type Group, type GroupOptions, openGroup } from "./group/open-group.ts";
import type { RaftMetadata } from "./group/raft-metadata.ts";
import { staleReads } from "./group/stale-reads.ts";
import { Leadership } from "./leadership.ts";
import { answerPassed, masterHandlers } from "./mailbox.ts";
import { Passing } from "./passing.ts";
import { masterServer } from "./server.ts";

const LATENESS_CHECK_MS = 100;
const COMPACTION_EVERY_MS = 1000;

export type MasterOptions = GroupOptions;

export interface Master {
  url: string;
  /** For those who look inside while it runs. */
  readonly metadata: RaftMetadata;
  clusterId: string;
  stop(): Promise<void>;
}

/** @throws StartRefused if the data directory is in use, damaged, or of another master */
export async function startMaster(options: MasterOptions): Promise<Master> {
  const { config, url, dataDirectory, log } = options;
  const group = await openGroup(options);
  const { metadata, clusterId, identity, transport, urlOf } = group;
  const leadership = new Leadership({ ...options, ...group, heard: (id) => transport.heard(id) });
  const passing = new Passing({
    ...{ identity, metadata, urlOf },
    answer: (message, gatewayId) => answerPassed(leadership, message, gatewayId),
  });
  const lateness = watchLateness(group, config);
  group.onLeaderChange = () => {
    passing.leaderChanged();
    lateness.begin();
  };
  const handlers = masterHandlers({
    ...{ metadata, leadership, passing, transport },
    stale: staleReads(metadata, group.freshness, config.raft.maxStaleMs),
    status: () => group.standing.status(metadata, url, group.freshness.ageMs, (id) => transport.heardAt(id)),
  });
  const server = serve(masterServer({ group, leadership, handlers, log }), url);
  metadata.start();
  lateness.begin();
  const compacting = setInterval(() => metadata.compact(), COMPACTION_EVERY_MS);
  log.info({ event: "started", url, clusterId, term: metadata.term, dataDirectory }, "master started");
  return {
    ...{ url, metadata, clusterId },
    async stop() {
      await leadership.handOver();
      lateness.stop();
      clearInterval(compacting);
      group.freshness.stop();
      await server.stop();
      leadership.stop();
      metadata.close();
    },
  };
}

/** R8: a leader that was not running for a while must not act on what it believed before. The others believe nothing of the kind. */
function watchLateness({ metadata }: Group, { raft }: Config) {
  let timer: Timer | undefined;
  let isStopped = false;
  const begin = (): void => {
    clearTimeout(timer);
    if (isStopped) return;
    const everyMs = metadata.raft.role === "leader" ? LATENESS_CHECK_MS : raft.electionMs;
    const dueAt = performance.now() + everyMs;
    timer = setTimeout(() => {
      if (performance.now() - dueAt > raft.electionMs) metadata.raft.send({ type: "host.late" });
      begin();
    }, everyMs);
  };
  const stop = (): void => {
    isStopped = true;
    clearTimeout(timer);
  };
  return { begin, stop };
}
