/**
 * Destroys the node data of this machine, so that a cluster begins anew. It lists the data first, and asks.
 *
 *     bun actors/reset.ts [ids...] [--config FILE] [--yes]
 */
import { existsSync, rmSync } from "node:fs";
import { bytesBelow, destroyNodeData, finishDestroying, isNodeRunning, nodesWithData } from "../databases/node-data.ts";
import { loadConfig } from "./node/config.ts";
import { secretPath } from "./node/identity/secret.ts";
import { ExitCode, nodeCommand, run, StartRefused } from "./node/lifecycle.ts";
import { formerDataDirectory } from "./rules/former-place.ts";

const CONFIRMATION = "destroy";

const command = nodeCommand("reset", "Destroys the data of the nodes of this machine, so that a cluster begins anew.")
  .argument("[ids...]", "only these nodes; the cluster secret is kept then")
  .option("-y, --yes", "do not ask")
  .parse();

const shown = (bytes: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const unit = Math.min(units.length - 1, bytes === 0 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
};

await run(async () => {
  const { config: path, yes = false } = command.opts<{ config: string; yes?: boolean }>();
  const { dataDirectory } = loadConfig(path);
  const all = nodesWithData(dataDirectory);
  const ids = new Set(command.args);
  const unknown = [...ids].filter((id) => !all.some((node) => node.id === id));
  if (unknown.length > 0)
    throw new StartRefused(
      `${dataDirectory} holds no data of ${unknown.join(", ")}; it holds: ${all.map(({ id }) => id).join(", ") || "nothing"}`,
      ExitCode.badConfiguration,
    );
  const nodes = ids.size > 0 ? all.filter(({ id }) => ids.has(id)) : all;
  const places = [dataDirectory, formerDataDirectory(dataDirectory)].filter((place) => place !== null);
  const secrets = ids.size > 0 ? [] : places.map(secretPath).filter((file) => existsSync(file));
  if (nodes.length + secrets.length === 0)
    return console.log(`Nothing to destroy: ${dataDirectory} holds no node data.`);
  const running = nodes.filter(({ directory }) => isNodeRunning(directory)).map(({ id }) => id);
  if (running.length > 0)
    throw new StartRefused(
      `${running.join(", ")} ${running.length === 1 ? "is" : "are"} running. Stop the cluster first (Ctrl-C where it was started). Nothing was destroyed.`,
      ExitCode.dataDirectoryRefused,
    );

  console.log("This destroys:\n");
  for (const { directory, holds } of nodes)
    console.log(`  ${directory}   ${shown(bytesBelow(directory))}: ${holds.join(", ")}`);
  for (const secret of secrets)
    console.log(`  ${secret}   the cluster's identity; nodes on other machines hold copies`);
  console.log(
    "\nThe files stored there are gone afterwards, unless nodes on other machines have copies. Nodes that were started\n" +
      "with --data keep theirs elsewhere; that is not touched.",
  );
  if (!yes && prompt(`\nType "${CONFIRMATION}" to go on:`)?.trim() !== CONFIRMATION) {
    console.log("\nNothing was destroyed.");
    process.exit(ExitCode.crashed);
  }
  for (const node of nodes) destroyNodeData(node);
  finishDestroying(dataDirectory);
  for (const secret of secrets) rmSync(secret);
  console.log("Destroyed. The next start begins with nothing.");
});
