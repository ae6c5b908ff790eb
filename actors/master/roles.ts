/** What a master knows of other nodes: config.json, who belongs to the masters, and which workers have registered. */
import type { Config } from "../messages/config.ts";
import type { Role } from "../messages/senders.ts";
import { listedRoles, type RolesOf, STRANGER } from "../node/identity/sender.ts";
import { membersOf } from "../rules/raft/quorum.ts";
import type { RaftMetadata } from "./group/raft-metadata.ts";

const MASTER: readonly Role[] = ["master"];
const WORKER: readonly Role[] = ["worker"];

export function rolesAtMaster(config: Config, metadata: RaftMetadata): RolesOf {
  const listed = listedRoles(config);
  return (id) => {
    const roles = listed(id);
    if (roles !== STRANGER) return roles;
    const { configuration } = metadata.raft.state;
    if (membersOf(configuration).includes(id) || configuration.retired?.includes(id)) return MASTER;
    return metadata.store.row("worker", { workerId: id }) ? WORKER : STRANGER;
  };
}
