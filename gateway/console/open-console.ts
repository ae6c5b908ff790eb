/** Builds the console of one gateway: its own recorder, the follower of all others, reports, drills. */

import type { AnyStateMachine } from "xstate";
import type { Config } from "../../actors/messages/config.ts";
import type { ClusterStateAnswer } from "../../actors/messages/questions.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { launcherSocket, takesPartInDrills } from "../../actors/node/launcher-socket.ts";
import type { Logger } from "../../actors/node/log.ts";
import type { RecordStore } from "../../actors/node/record/record-store.ts";
import { recorder, registerMachines, startRecording } from "../../actors/node/record/running-recorder.ts";
import { SYSTEM } from "../access/principal.ts";
import type { Backend } from "../ports/backend.ts";
import { Console } from "./console.ts";
import { Drills } from "./drills.ts";
import { type FollowedStore, Follower } from "./follower.ts";

export interface ConsoleOptions {
  gatewayId: string;
  config: Config;
  secret: string;
  backend: Backend;
  /** The state machines that run in a gateway, for the charts. */
  machines: readonly AnyStateMachine[];
  log: Logger;
  /** The gateway's own records, and the store for those of all nodes. */
  own: RecordStore;
  followed: FollowedStore;
}

const NOTICE_EVERY_MS = 5000;
const SAMPLE_EVERY_MS = 1000;
/** A death is followed until its report is closed; it begins to be told within this time. */
const REPORTED_MS = 30_000;
const SOFTWARE = "dfs 0.1.0";

/** Changes when a master has taken over, a worker has died, or one has come back. */
const livesIn = ({ leader, term, workers }: ClusterStateAnswer): string =>
  [leader, term, ...workers.flatMap(({ id, state }) => (state === "dead" ? [id] : [])).sort()].join();

export function openConsole({
  gatewayId,
  config,
  secret,
  backend,
  machines,
  log,
  own,
  followed,
}: ConsoleOptions): Console {
  const services = backend.as(SYSTEM);
  registerMachines(...machines);
  startRecording(gatewayId, own);
  recorder()?.sample("traffic", SAMPLE_EVERY_MS, () => {
    const { bytesIn, bytesOut, uploads, downloads, uploadsDone, uploadsFailed, downloadsDone, downloadsFailed } =
      services.transfers.activity();
    return {
      ...{ bytesIn, bytesOut, uploads: uploads.length, downloads: downloads.length },
      ...{ uploadsDone, uploadsFailed, downloadsDone, downloadsFailed },
    };
  });
  let clusterId: string | null = null;
  const identity: Identity = {
    nodeId: gatewayId,
    credentials: sharedSecret(gatewayId, secret),
    clusterId: () => clusterId,
  };
  const follower = new Follower({ config, gatewayId, identity, store: followed, log });
  let lives = "";
  const notice = async (): Promise<void> => {
    try {
      const state = await services.operations.clusterState();
      clusterId = state.clusterId;
      follower.noticeWorkers(state.workers);
      const now = livesIn(state);
      if (lives !== "" && now !== lives) follower.followFor(REPORTED_MS);
      lives = now;
    } catch {
      // no leader now: the nodes of config.json are followed without it
    }
  };
  void notice();
  setInterval(() => void notice(), NOTICE_EVERY_MS).unref();
  const socket = takesPartInDrills(config) ? launcherSocket(config) : null;
  const host = new Console({
    ...{ config, gatewayId, log, follower },
    software: SOFTWARE,
    clusterId: async () => {
      if (clusterId === null) await notice();
      return clusterId ?? "";
    },
    store: followed,
    drills: new Drills({ config, gatewayId, services, identity, log, launcherSocket: socket }),
  });
  recorder()?.sample("clients", SAMPLE_EVERY_MS, () => host.waits.look());
  return host;
}
