/** Starts one gateway: `bun gateway/gateway.ts --id gateway-1 [--config FILE] [--url http://host:port]`. */
import { checkNodeId, loadConfig } from "../actors/node/config.ts";
import { serve } from "../actors/node/http/server-options.ts";
import { loadSecret } from "../actors/node/identity/secret.ts";
import {
  ExitCode,
  nodeCommand,
  onStopSignal,
  run,
  StartRefused,
  stopOnBrokenInvariant,
} from "../actors/node/lifecycle.ts";
import { createLogger } from "../actors/node/log.ts";
import { takePrivately } from "../actors/node/private-directory.ts";
import { logIgnoredEvents } from "../actors/node/record/inspector.ts";
import { stopRecording } from "../actors/node/record/running-recorder.ts";
import { startTracing } from "../actors/node/trace/exporter.ts";
import { startWatchdog } from "../actors/node/watchdog/watchdog.ts";
import { settleNodeData } from "../databases/node-data.ts";
import { openFollowedRecords, openRecords } from "../databases/records.ts";
import { isLoopback } from "./access/host.ts";
import { SYSTEM } from "./access/principal.ts";
import { openBackend } from "./backend.ts";
import { openConsole } from "./console/open-console.ts";
import type { Gateway } from "./http/context.ts";
import type { Backend } from "./ports/backend.ts";
import { createGatewayServer } from "./server.ts";
import { uploadMachine } from "./transfer/upload.machine.ts";

/** Transfers under way at a stop get this long to end. */
const STOP_PATIENCE_MS = 10_000;
/** Long enough not to be guessed, and such as a header can carry. */
const GOOD_TOKEN = /^[\x21-\x7e]{16,}$/;

const command = nodeCommand("gateway", "Offers the file system over REST.")
  .option("--id <id>", "id of this gateway")
  .option("--url <url>", "address to serve at, instead of the one in the configuration")
  .parse();

await run(async () => {
  const options = command.opts<{ config: string; id?: string; url?: string }>();
  const config = loadConfig(options.config);
  const id = options.id ?? config.gateways[0]?.id ?? "gateway-1";
  const url = options.url ?? config.gateways.find((gateway) => gateway.id === id)?.url;
  if (url === undefined || !URL.canParse(url) || new URL(url).port === "")
    throw new StartRefused(
      `url of ${id} is ${url ?? "missing"}; allowed: http://host:port, in gateways of ${options.config} or by --url`,
      ExitCode.badConfiguration,
    );
  const token = Bun.env.DFS_GATEWAY_TOKEN?.trim() || null;
  if (token === null && !isLoopback(new URL(url).hostname))
    throw new StartRefused(
      `${url} can be reached from other machines, and DFS_GATEWAY_TOKEN is not set. Set it to a secret that every client sends as a bearer token, or serve at http://127.0.0.1.`,
      ExitCode.badConfiguration,
    );

  if (token !== null && !GOOD_TOKEN.test(token))
    throw new StartRefused(
      `DFS_GATEWAY_TOKEN has ${token.length} characters; allowed: 16 or more, visible ASCII without spaces. openssl rand -hex 24 makes one.`,
      ExitCode.badConfiguration,
    );

  const log = createLogger(id, config.logLevel);
  stopOnBrokenInvariant(log);
  logIgnoredEvents(log);
  startWatchdog(log);
  await startTracing({ nodeId: id, role: "gateway" }, log);
  const secret = loadSecret(config.dataDirectory);
  const backend = openBackend({ config, gatewayId: id, secret, log });
  const gateway: Gateway = { id, config, backend, log, token, stopping: false };
  const directory = settleNodeData(config.dataDirectory, checkNodeId(id));
  takePrivately(directory, log);
  const own = openRecords(directory, config.recording);
  const followed = own && openFollowedRecords(directory, config.recording);
  const console =
    own && followed
      ? openConsole({ gatewayId: id, config, secret, backend, machines: [uploadMachine], log, own, followed })
      : null;
  const app = serve(createGatewayServer(gateway, console), url);
  log.info({ event: "listening", url }, `gateway ${id} serves at ${url}`);

  onStopSignal(log, async () => {
    gateway.stopping = true;
    app.server?.stop();
    console?.stop();
    const busy = () => (app.server?.pendingRequests ?? 0) > 0 || transfersUnderWay(backend);
    for (const since = performance.now(); busy() && performance.now() - since < STOP_PATIENCE_MS; ) await Bun.sleep(50);
    await backend.close();
    stopRecording();
    app.server?.stop(true);
  });
});

function transfersUnderWay(backend: Backend): boolean {
  const { uploads, downloads } = backend.as(SYSTEM).transfers.activity();
  return uploads.length > 0 || downloads.length > 0;
}
