/**
 * What only a leader does: watching workers, placing chunks, repairing, reporting. An office opens when the leader's
 * term is sure of everything before it, and closes when it leads no more; its memory goes with it.
 */
import type { Config } from "../../messages/config.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { ClusterStateAnswer } from "../../messages/questions.ts";
import type { Clock } from "../../node/clock.ts";
import type { Identity } from "../../node/identity/identity.ts";
import type { Logger } from "../../node/log.ts";
import type { Handlers } from "../../node/messaging/mailbox.ts";
import type { MetadataPort } from "../metadata-port.ts";
import { ClientRequests } from "./client-requests.ts";
import { Orders } from "./orders.ts";
import { Placing } from "./placing.ts";
import { Reconciliation } from "./reconciliation.ts";
import { Reports } from "./reports.ts";
import { Steward } from "./steward.ts";
import { WorkerRegistry } from "./worker-registry.ts";
import { WorkerReports } from "./worker-reports.ts";

export interface OfficeParts {
  config: Config;
  nodeId: string;
  clusterId: string;
  identity: Identity;
  metadata: MetadataPort;
  /** The masters as this leader sees them. */
  masters(): ClusterStateAnswer["masters"];
  clock: Clock;
  log: Logger;
}

/** The part of the mailbox that an office answers. */
export type OfficeMailbox = Omit<
  typeof MasterMailbox,
  "RAFT" | "MASTER_STATUS" | "PASS_ON" | "PASSED_ON" | "CHANGE_MASTERS" | "TRANSFER_LEADERSHIP"
>;

export class Office {
  readonly workers: WorkerRegistry;
  readonly steward: Steward;
  readonly handlers: Handlers<OfficeMailbox>;

  constructor(parts: OfficeParts) {
    const { config, identity, metadata, clock } = parts;
    const workers = new WorkerRegistry(parts);
    const orders = new Orders(identity, metadata, workers, clock);
    const steward = new Steward({ ...parts, workers, orders });
    workers.onChange = () => steward.nudge();
    const placing = new Placing(config, metadata, workers, clock);
    const shared = { ...parts, workers, steward };
    const reconciliation = new Reconciliation(shared);
    const reports = new Reports({ ...shared, placing });
    const clients = new ClientRequests(config, metadata, workers, placing);
    const told = new WorkerReports({ ...shared, reconciliation });
    this.workers = workers;
    this.steward = steward;
    this.handlers = {
      EXECUTE: (message, sender) => clients.execute(message, sender),
      PLACE_CHUNKS: (message) => placing.place(message),
      REPLACE_WORKERS: (message) => placing.replace(message),
      STAT: (message) => clients.stat(message),
      LOCATE: (message) => clients.locate(message),
      LIST: (message) => clients.list(message),
      UPLOAD_STATUS: (message) => clients.uploadStatus(message),
      READ_INDEX: () => clients.readIndex(),
      EXPLAIN: async (message) => {
        await metadata.confirmRead();
        return reports.explain(message);
      },
      CLUSTER_STATE: () => reports.clusterState(),
      REPORT_REPLICA: (message) => told.replicaReported(message),
      REGISTER: (message) => told.register(message),
      HEARTBEAT: (message) => told.heartbeat(message),
      RECONCILE: (message) => reconciliation.reconcile(message),
    };
  }

  close(): void {
    this.steward.stop();
    this.workers.stop();
  }
}
