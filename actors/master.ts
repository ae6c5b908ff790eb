/** `bun actors/master.ts --id master-1`: starts one master of config.json. */

import { Value } from "@sinclair/typebox/value";
import { settleNodeData } from "../databases/node-data.ts";
import { openRecords } from "../databases/records.ts";
import { raftMachine } from "./master/group/raft.machine.ts";
import { resetTerm } from "./master/group/reset-term.ts";
import { restoreMaster } from "./master/group/restore.ts";
import { startMaster } from "./master/host.ts";
import { livenessMachine } from "./master/leading/liveness.machine.ts";
import { repairMachine } from "./master/leading/repair.machine.ts";
import { stewardMachine } from "./master/leading/steward.machine.ts";
import { Url } from "./messages/primitives.ts";
import { ConfigError, checkNodeId, loadConfig } from "./node/config.ts";
import { loadSecret } from "./node/identity/secret.ts";
import { takesPartInDrills } from "./node/launcher-socket.ts";
import { nodeCommand, onStopSignal, run, stopOnBrokenInvariant } from "./node/lifecycle.ts";
import { createLogger } from "./node/log.ts";
import { allowDrills } from "./node/messaging/link-cut.ts";
import { takePrivately } from "./node/private-directory.ts";
import { logIgnoredEvents } from "./node/record/inspector.ts";
import { registerMachines, startRecording, stopRecording } from "./node/record/running-recorder.ts";
import { startTracing } from "./node/trace/exporter.ts";
import { longWork, RECOVERY_LIMIT_MS } from "./node/watchdog/current-work.ts";
import { startWatchdog } from "./node/watchdog/watchdog.ts";

const command = nodeCommand("master", "A master: keeps the metadata, watches the workers, repairs.")
  .requiredOption("--id <id>", "id of this master, as in the configuration")
  .option("--data <dir>", "data directory (default: <dataDirectory>/<id>)")
  .option("--join", "start with an empty data directory, and wait to be added to an existing group (dfs masters add)")
  .option(
    "--restore <file>",
    "fill an empty data directory from a backup (dfs backup), as the first master of a new group",
  )
  .option("--reset-term", "replace a stored term that no election reaches, together with the other masters")
  .option("--url <url>", "address of this master, if the configuration does not list it")
  .parse();

await run(async () => {
  const flags = command.opts<{
    config: string;
    id: string;
    data?: string;
    join?: boolean;
    url?: string;
    restore?: string;
    resetTerm?: boolean;
  }>();
  const config = loadConfig(flags.config);
  const listed = config.masters.find(({ id }) => id === flags.id);
  const self = flags.url ? { id: flags.id, url: flags.url } : listed;
  if (!self)
    throw new ConfigError(
      `--id is ${flags.id}; allowed: ${config.masters.map(({ id }) => id).join(", ")} (masters of ${flags.config}), or another with --url http://host:port`,
    );
  if (!Value.Check(Url, self.url)) throw new ConfigError(`--url is ${self.url}; allowed: ${Url.description}`);
  const log = createLogger(self.id, config.logLevel);
  stopOnBrokenInvariant(log);
  logIgnoredEvents(log);
  startWatchdog(log);
  await startTracing({ nodeId: self.id, role: "master" }, log);
  const dataDirectory = flags.data ?? settleNodeData(config.dataDirectory, checkNodeId(self.id));
  takePrivately(dataDirectory, log);
  registerMachines(raftMachine, livenessMachine, stewardMachine, repairMachine);
  const records = openRecords(dataDirectory, config.recording);
  if (takesPartInDrills(config)) allowDrills();
  if (records) startRecording(self.id, records);
  const secret = loadSecret(config.dataDirectory);
  const { restore: file } = flags;
  if (file)
    await longWork("restore", RECOVERY_LIMIT_MS, () =>
      restoreMaster({ file, dataDirectory, nodeId: self.id, secret, log }),
    );
  if (flags.resetTerm)
    await resetTerm({ config, nodeId: self.id, url: self.url, dataDirectory, secret, log, askEveryMs: 200 });
  const master = await startMaster({
    config,
    nodeId: self.id,
    url: self.url,
    dataDirectory,
    secret,
    log,
    joins: flags.join ?? false,
  });
  onStopSignal(log, async () => {
    await master.stop();
    stopRecording();
  });
});
