/** A metadata engine that belongs to no group yet, on real files, and what it fetches snapshots with. */

import { OUTSIDER } from "../../actors/master/group/founding.ts";
import { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { Snapshots } from "../../actors/master/group/snapshots.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";

export const identity = {
  nodeId: "master-1",
  credentials: sharedSecret("master-1", "0".repeat(64)),
  clusterId: () => "c",
};

export function followerEngine(
  dataDirectory: string,
  onFailure: (cause: unknown) => void = () => {},
  silenceMs?: number,
): { engine: RaftMetadata; snapshots: Snapshots } {
  const engine = new RaftMetadata({
    dataDirectory,
    genesis: { clusterId: "c", nodeId: "master-2", configuration: OUTSIDER },
    timings: { heartbeatMs: 100, electionMs: 1000 },
    keepEntries: 10_000,
    send: () => {},
    urlOf: () => null,
    leaderChanged: () => {},
    sendSnapshot: () => {},
    installSnapshot: () => {},
    neededFrom: () => Number.POSITIVE_INFINITY,
    onFailure,
  });
  engine.start();
  const log = createLogger("master-2", "silent");
  const snapshots = new Snapshots({
    metadata: engine,
    identity,
    url: "",
    dataDirectory,
    log,
    send: () => {},
    silenceMs,
  });
  return { engine, snapshots };
}
