/** Assembles what lies below the doors of one gateway: the clients of masters and workers, and the transfers that use them. */
import type { Config } from "../actors/messages/config.ts";
import type { Logger } from "../actors/node/log.ts";
import { Grants } from "./nodes/grants.ts";
import { MasterClient } from "./nodes/master-client.ts";
import { MasterNamespace } from "./nodes/namespace.ts";
import { ClusterOperations } from "./nodes/operations.ts";
import { WORKER_TIMEOUTS, WorkerClients, type WorkerTimeouts } from "./nodes/worker-client.ts";
import type { Backend } from "./ports/backend.ts";
import { HEDGE_AFTER_MS } from "./transfer/block-source.ts";
import { BlockBuffers } from "./transfer/buffers.ts";
import { DOWNLOAD_PATIENCE, type DownloadPatience, Downloads } from "./transfer/downloads.ts";
import { GatewayTransfers, type TransferParts } from "./transfer/transfers.ts";
import { Uploads } from "./transfer/uploads.ts";

const READY_PATIENCE_MS = 1000;

export interface BackendOptions {
  config: Config;
  gatewayId: string;
  /** From `node/secret.ts`. */
  secret: string;
  log: Logger;
  timeouts?: WorkerTimeouts;
  hedgeAfterMs?: number;
  downloadPatience?: DownloadPatience;
  /** See `Uploads`. */
  silentAfterMs?: number;
}

export function openBackend({
  config,
  gatewayId,
  secret,
  log,
  timeouts = WORKER_TIMEOUTS,
  hedgeAfterMs = HEDGE_AFTER_MS,
  downloadPatience: patience = DOWNLOAD_PATIENCE,
  silentAfterMs,
}: BackendOptions): Backend {
  const masters = new MasterClient(config, gatewayId, secret);
  const workers = new WorkerClients(masters.identity, timeouts);
  const grants = new Grants(gatewayId, masters, workers, log);
  // Half for each, so that neither can take the other's memory.
  const bufferBytes = Math.floor(config.limits.bufferBytes / 2);
  const buffers = new BlockBuffers(config.blockSizeBytes, bufferBytes);
  const uploads = new Uploads({ masters, workers, grants, buffers, config }, config, silentAfterMs);
  const downloads = new Downloads({ masters, workers, config, bufferBytes, hedgeAfterMs, patience });
  const transfers: TransferParts = {
    uploads,
    downloads,
    activity: () => ({
      ...uploads.counters,
      ...downloads.counters,
      uploads: uploads.activities(),
      downloads: downloads.activities(),
      bufferBytesInUse: buffers.inUseBytes + downloads.bytesInFlight,
      bufferBytesLimit: config.limits.bufferBytes,
      avoidedWorkers: workers.avoided(),
    }),
  };
  return {
    as: (principal) => ({
      transfers: new GatewayTransfers(transfers, principal),
      namespace: new MasterNamespace(masters, principal),
      operations: new ClusterOperations(masters, workers, principal),
    }),
    ready: () =>
      masters.clusterState({ budgetMs: READY_PATIENCE_MS }).then(
        () => true,
        () => false,
      ),
    close: async () => {
      uploads.close();
      downloads.close();
      await grants.close();
    },
  };
}
