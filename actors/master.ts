/** `bun actors/master.ts --id master-1`: starts one master of config.json. */

import { openRecords } from "../databases/records.ts";
import { startMaster } from "./master/host.ts";
import { livenessMachine } from "./master/liveness.machine.ts";
import { raftMachine } from "./master/raft.machine.ts";
import { repairMachine } from "./master/repair.machine.ts";
import { stewardMachine } from "./master/steward.machine.ts";
import { ConfigError, dataDirectoryOf, loadConfig } from "./node/config.ts";
import { nodeCommand, onStopSignal, run } from "./node/lifecycle.ts";
import { createLogger } from "./node/log.ts";
import { registerMachines, startRecording, stopRecording } from "./node/recorder.ts";
import { loadSecret } from "./node/secret.ts";

const command = nodeCommand("master", "A master: keeps the metadata, watches the workers, repairs.")
  .requiredOption("--id <id>", "which master of the configuration to be")
  .option("--data <dir>", "data directory (default: <dataDirectory>/<id>)")
  .parse();

await run(async () => {
  const flags = command.opts<{ config: string; id: string; data?: string }>();
  const config = loadConfig(flags.config);
  const self = config.masters.find(({ id }) => id === flags.id);
  if (!self)
    throw new ConfigError(
      `--id is ${flags.id}; allowed: ${config.masters.map(({ id }) => id).join(", ")} (masters of ${flags.config})`,
    );
  const log = createLogger(self.id, config.logLevel);
  const dataDirectory = flags.data ?? dataDirectoryOf(config, self.id);
  registerMachines(raftMachine, livenessMachine, stewardMachine, repairMachine);
  const records = openRecords(dataDirectory, config.recording);
  if (records) startRecording(self.id, records);
  const master = await startMaster({
    config,
    nodeId: self.id,
    url: self.url,
    dataDirectory,
    secret: loadSecret(config.dataDirectory),
    log,
  });
  onStopSignal(log, async () => {
    await master.stop();
    stopRecording();
  });
});
