/** A master's part in the group of masters, put together: its data, its line to the others, and what it knows of them. */

import type { Config } from "../../messages/config.ts";
import { ErrorCodes } from "../../messages/errors.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { listedRoles } from "../../node/identity/sender.ts";
import { sharedSecret } from "../../node/identity/signature.ts";
import { ExitCode } from "../../node/lifecycle.ts";
import type { Logger } from "../../node/log.ts";
import { membersOf } from "../../rules/raft/quorum.ts";
import { rolesAtMaster } from "../roles.ts";
import { clusterIdOf } from "./cluster-id.ts";
import { foundingConfiguration } from "./founding.ts";
import { Freshness } from "./freshness.ts";
import { openMetadata } from "./open-metadata.ts";
import type { RaftMetadata } from "./raft-metadata.ts";
import { type Heard, RaftTransport } from "./raft-transport.ts";
import { Snapshots } from "./snapshots.ts";
import { Standing } from "./standing.ts";

export interface GroupOptions {
  config: Config;
  nodeId: NodeId;
  url: string;
  dataDirectory: string;
  secret: string;
  log: Logger;
  /** With an empty data directory: wait to be added to a group that exists, instead of founding one. */
  joins?: boolean;
}

export interface Group {
  clusterId: string;
  identity: Identity;
  metadata: RaftMetadata;
  transport: RaftTransport;
  snapshots: Snapshots;
  standing: Standing;
  freshness: Freshness;
  /** This master, as it tells the others. */
  self: Pick<Heard, "url" | "incarnation">;
  /** Where a master is reached; null: not known. */
  urlOf(id: NodeId): string | null;
  /** Called when another master leads, or none. */
  onLeaderChange: () => void;
}

/** @throws StartRefused if the data directory is in use, damaged, or of another master */
export async function openGroup(options: GroupOptions): Promise<Group> {
  const { config, nodeId, url, dataDirectory, secret, log, joins = false } = options;
  const clusterId = clusterIdOf(secret);
  let rolesOf = listedRoles(config);
  const credentials = sharedSecret(nodeId, secret);
  const identity: Identity = { nodeId, credentials, clusterId: () => clusterId, rolesOf: (id) => rolesOf(id) };
  const transport = new RaftTransport(identity, config.masters, log);
  const standing = new Standing();
  const founders = await foundingConfiguration({ config, nodeId, url, dataDirectory, identity, log, joins });
  const leaderChanged = (leaderId: NodeId | null, term: number): void => {
    standing.leaderChanged(leaderId);
    group.onLeaderChange();
    log.info({ event: "leader-changed", leader: leaderId, term }, leaderId ? `${leaderId} leads` : "no leader");
  };
  const metadata = await openMetadata({
    ...{ config, nodeId, clusterId, dataDirectory, identity, founders, log },
    group: {
      leaderChanged,
      neededFrom: () => group.snapshots.neededFrom,
      send: (message) => transport.send(message),
      urlOf: (id) => transport.urlOf(id),
      sendSnapshot: (to) => void group.snapshots.offer(to),
      installSnapshot: (offer) => void group.snapshots.install(offer),
    },
  });
  rolesOf = rolesAtMaster(config, metadata);
  const urlOf = (id: NodeId) => (id === nodeId ? url : transport.urlOf(id));
  const group: Group = {
    ...{ clusterId, identity, metadata, transport, standing, urlOf },
    snapshots: new Snapshots({
      ...{ metadata, identity, url, dataDirectory, log },
      send: (offer) => transport.send(offer),
    }),
    freshness: new Freshness(identity, metadata, urlOf, config.raft),
    self: { url, incarnation: metadata.incarnation },
    onLeaderChange: () => {},
  };
  connect(group, log);
  tellDifferences(options, metadata);
  return group;
}

function connect({ transport, metadata, self }: Group, log: Logger): void {
  transport.connect({
    ...self,
    knows: metadata.rules.version,
    mark: () => metadata.store.mark,
    configuration: () => metadata.raft.state.configuration,
    receive: (message) => metadata.raft.receive(message),
    inadmissible: (message) => metadata.raft.inadmissible(message),
    unreachable: (id) => metadata.raft.send({ type: "peer.unreachable", id }),
    isDead: (reason) => {
      log.fatal({ event: "dead-master", reason }, ErrorCodes.DEAD_MASTER.next);
      process.exit(ExitCode.dataDirectoryRefused);
    },
  });
}

/** The data says who belongs to the masters; config.json only says where they were at first. */
function tellDifferences({ config, nodeId, url, log }: GroupOptions, metadata: RaftMetadata): void {
  const members = membersOf(metadata.raft.state.configuration).sort();
  const listed = config.masters.map(({ id }) => id).sort();
  if (members.length === 0)
    log.warn({ event: "waiting-to-be-added" }, `waits to be added: dfs masters add ${nodeId} ${url}`);
  else if (members.join() !== listed.join())
    log.warn(
      { event: "masters-differ", members, listed },
      `the masters are ${members.join(", ")} by their data, ${listed.join(", ")} by the configuration: the data counts; dfs masters add|remove changes it`,
    );
}
