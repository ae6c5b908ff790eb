/**
 * Starts one worker:  bun actors/worker.ts --id worker-1
 *
 * A worker that config.json does not list joins a running cluster with --id, --port, --data and the cluster secret.
 */
import { resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import { settleNodeData } from "../databases/node-data.ts";
import { openRecords } from "../databases/records.ts";
import { ConfigError, checkNodeId, isEverywhere, loadConfig } from "./node/config.ts";
import { loadSecret } from "./node/identity/secret.ts";
import { takesPartInDrills } from "./node/launcher-socket.ts";
import { nodeCommand, onStopSignal, run, stopOnBrokenInvariant } from "./node/lifecycle.ts";
import { createLogger } from "./node/log.ts";
import { allowDrills } from "./node/messaging/link-cut.ts";
import { takePrivately } from "./node/private-directory.ts";
import { logIgnoredEvents } from "./node/record/inspector.ts";
import { registerMachines, startRecording, stopRecording } from "./node/record/running-recorder.ts";
import { startTracing } from "./node/trace/exporter.ts";
import { startWatchdog } from "./node/watchdog/watchdog.ts";
import { startWorker } from "./worker/host.ts";
import { workerMachine } from "./worker/worker.machine.ts";

const wholeNumber = (minimum: number, maximum: number) => (text: string) => {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= minimum && value <= maximum))
    throw new InvalidArgumentError(`allowed: a whole number from ${minimum} to ${maximum}`);
  return value;
};

interface Flags {
  id: string;
  config: string;
  url?: string;
  port?: number;
  data?: string;
  zone?: string;
  capacity?: number;
  diskWrites?: "direct" | "buffered";
  resetTerm?: boolean;
}

const flags = nodeCommand("worker", "A worker: stores chunks on one disk.")
  .requiredOption("--id <id>", "name of this worker, e.g. worker-1")
  .option("--url <url>", "address at which the other nodes reach it; default: as in config.json")
  .option("--port <n>", "port at 127.0.0.1, in place of --url", wholeNumber(1, 65_535))
  .option("--data <dir>", "data directory; default: <dataDirectory>/<id>")
  .option("--zone <zone>", "what fails together with this worker; copies are spread over zones")
  .option("--capacity <bytes>", "use at most this much of the disk", wholeNumber(1 << 20, Number.MAX_SAFE_INTEGER))
  .addOption(
    new Option("--disk-writes <how>", "big blocks past the page cache, or through it; default: buffered").choices([
      "direct",
      "buffered",
    ]),
  )
  .option("--reset-term", "forget the highest term seen; the leader that registers the worker says the present one")
  .parse()
  .opts<Flags>();

await run(async () => {
  const config = loadConfig(flags.config);
  const listed = config.workers.find(({ id }) => id === flags.id);
  checkNodeId(flags.id);
  const url = flags.url ?? (flags.port === undefined ? listed?.url : `http://127.0.0.1:${flags.port}`);
  if (!url)
    throw new ConfigError(
      `--id is ${flags.id}; allowed: ${config.workers.map(({ id }) => id).join(", ")} of ${flags.config}, or any other together with --port`,
    );
  if (!/^https?:\/\/[^/?#\s]+$/.test(url) || !URL.canParse(url))
    throw new ConfigError(`--url is ${url}; allowed: http://host:port`);
  if (isEverywhere(url))
    throw new ConfigError(`--url is ${url}; allowed: an address of this machine at which the other nodes reach it`);
  const directory = flags.data ? resolve(flags.data) : settleNodeData(config.dataDirectory, flags.id);
  const log = createLogger(flags.id, config.logLevel);
  stopOnBrokenInvariant(log);
  logIgnoredEvents(log);
  startWatchdog(log);
  await startTracing({ nodeId: flags.id, role: "worker" }, log);
  takePrivately(directory, log);
  registerMachines(workerMachine);
  const records = openRecords(directory, config.recording);
  if (takesPartInDrills(config)) allowDrills();
  if (records) startRecording(flags.id, records);
  const worker = await startWorker({
    id: flags.id,
    url,
    zone: flags.zone ?? listed?.zone ?? "default",
    capacityBytes: flags.capacity ?? listed?.capacityBytes,
    diskWrites: flags.diskWrites ?? listed?.diskWrites,
    directory,
    secret: loadSecret(config.dataDirectory),
    config,
    log,
    resetTerm: flags.resetTerm ?? false,
  });
  log.info({ event: "listening", url: worker.url, directory }, `${flags.id} listens at ${worker.url}`);
  onStopSignal(log, async () => {
    await worker.stop();
    stopRecording();
  });
});
