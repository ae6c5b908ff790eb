/** Builds the data path of one gateway: the lines to masters and workers, and what runs on them. */
import type { Config } from "../../actors/messages/config.ts";
import type { Logger } from "../../actors/node/log.ts";
import { Grants } from "../nodes/grants.ts";
import { MasterClient } from "../nodes/master-client.ts";
import { WORKER_TIMEOUTS, WorkerClients, type WorkerTimeouts } from "../nodes/worker-client.ts";
import type { DataPath } from "../ports/data-path.ts";
import { HEDGE_AFTER_MS } from "./block-source.ts";
import { BlockBuffers } from "./buffers.ts";
import { DOWNLOAD_PATIENCE, type DownloadPatience, Downloads } from "./downloads.ts";
import { Uploads } from "./uploads.ts";

const READY_PATIENCE_MS = 1000;
const DESCRIBE_PATIENCE_MS = 1000;

export interface DataPathOptions {
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

export function openDataPath({
  config,
  gatewayId,
  secret,
  log,
  timeouts = WORKER_TIMEOUTS,
  hedgeAfterMs = HEDGE_AFTER_MS,
  downloadPatience: patience = DOWNLOAD_PATIENCE,
  silentAfterMs,
}: DataPathOptions): DataPath {
  const masters = new MasterClient(config, gatewayId, secret);
  const workers = new WorkerClients(masters.identity, timeouts);
  const grants = new Grants(gatewayId, masters, workers, log);
  // Half for each, so that neither can take the other's memory.
  const bufferBytes = Math.floor(config.limits.bufferBytes / 2);
  const buffers = new BlockBuffers(config.blockSizeBytes, bufferBytes);
  const uploads = new Uploads({ masters, workers, grants, buffers, config }, config, silentAfterMs);
  const downloads = new Downloads({ masters, workers, config, bufferBytes, hedgeAfterMs, patience });
  return {
    masters,
    transfers: {
      put: (request) => uploads.put(request),
      openUpload: (request) => uploads.open(request),
      uploadStatus: (uploadId) => uploads.status(uploadId),
      settleUpload: (uploadId) => uploads.settle(uploadId),
      appendUpload: (uploadId, offset, body, options) => uploads.append(uploadId, offset, body, options),
      completeUpload: (uploadId, sizeBytes, options) => uploads.complete(uploadId, sizeBytes, options),
      abortUpload: (uploadId) => uploads.abort(uploadId),
      openFile: (path, options) => downloads.open(path, options),
      describeReplica: (workerUrl, chunkId) => workers.describeAt(workerUrl, chunkId, DESCRIBE_PATIENCE_MS),
      activity: () => ({
        ...uploads.counters,
        ...downloads.counters,
        uploads: uploads.activities(),
        downloads: downloads.activities(),
        bufferBytesInUse: buffers.inUseBytes + downloads.bytesInFlight,
        bufferBytesLimit: config.limits.bufferBytes,
        avoidedWorkers: workers.avoided(),
      }),
    },
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
