#!/usr/bin/env bun
/** The command line: `bun run dfs …` or `npm run dfs …`. It stands on the client library alone. */
import { resolve } from "node:path";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { ConfigError, loadConfig } from "../../actors/node/config.ts";
import { createClient, DfsError } from "../client/client.ts";
import { makeDirectories, remove, transferNames } from "./changes.ts";
import { EXIT_CODE_HELP, ExitCode, exitCodeOf } from "./exit-code.ts";
import { get } from "./get.ts";
import { explain, list, stat } from "./look.ts";
import { backup, MASTERS_ORDERS, masters } from "./masters.ts";
import { Output } from "./output.ts";
import { put } from "./put.ts";
import { machines, record, replay } from "./recordings.ts";
import type { Session } from "./session.ts";
import { orderWorker, status, top, WORKER_ORDERS } from "./watch.ts";

interface CommonOptions {
  url?: string;
  token?: string;
  json?: boolean;
  quiet?: boolean;
  progress?: boolean;
}

const atLeastOne = (text: string): number => {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("Give a whole number from 1 on.");
  return value;
};

const metadatum = (text: string, before: Record<string, string> = {}): Record<string, string> => {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError("Give it as name=value.");
  return { ...before, [name]: value };
};

/** `--url`, else DFS_URL, else the first gateway of config.json. */
function gatewayUrl(given?: string): string {
  const url = given ?? Bun.env.DFS_URL;
  if (url) return url.includes("://") ? url : `http://${url}`;
  const [gateway] = loadConfig().gateways;
  if (gateway) return gateway.url;
  throw new DfsError("INVALID_PARAMETER", "config.json lists no gateway.", 0, "Name one with --url or DFS_URL.");
}

let interrupted = false;
/** npm passes on the Ctrl-C that this process got from the terminal already: that is one press, not two. */
const SAME_PRESS_MS = 400;

/** Makes a command's action: opens a session, runs, and leaves with the right exit code. */
const action =
  <A extends unknown[]>(work: (session: Session, ...args: A) => Promise<number>) =>
  async (...given: unknown[]): Promise<void> => {
    const command = given.pop() as Command;
    given.pop();
    const { url, token, json, quiet } = command.optsWithGlobals<CommonOptions>();
    const output = new Output({ json, quiet });
    const stop = new AbortController();
    let interruptedAtMs = 0;
    const interrupt = (): void => {
      if (interrupted && performance.now() - interruptedAtMs > SAME_PRESS_MS) process.exit(ExitCode.interrupted);
      if (interrupted) return;
      interrupted = true;
      interruptedAtMs = performance.now();
      stop.abort();
    };
    process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
    try {
      const dfs = createClient({ url: gatewayUrl(url), token: token ?? Bun.env.DFS_TOKEN });
      process.exitCode = await work({ dfs, output, signal: stop.signal }, ...([...given, command] as unknown as A));
    } catch (error) {
      process.exitCode = interrupted ? ExitCode.interrupted : exitCodeOf(error);
      if (error instanceof ConfigError) {
        process.exitCode = ExitCode.usage;
        output.error(
          new DfsError("INVALID_CONFIGURATION", error.message, 0, "Correct it, or name a gateway with --url."),
        );
      } else if (!interrupted) output.error(error);
    }
    if (interrupted && command.name() !== "top") {
      process.exitCode = ExitCode.interrupted;
      const isTransfer = command.name() === "put" || command.name() === "get";
      output.note(`\nInterrupted.${isTransfer ? " The same command again goes on where it stopped." : ""}`);
    }
    process.exit();
  };

const wantsProgress = (command: Command): boolean => {
  const { json, quiet } = command.optsWithGlobals<CommonOptions>();
  const isWanted = [command, program].every((level) => level.opts<CommonOptions>().progress !== false);
  return process.stderr.isTTY === true && !json && !quiet && isWanted;
};

/** Options stand before or after a command's name; both are what people type. */
const withCommonOptions = (command: Command): Command =>
  command
    .option("--url <url>", "gateway (default: DFS_URL, else the first of config.json)")
    .addOption(new Option("--token <token>", "sent to the gateway (default: DFS_TOKEN)").hideHelp())
    .option("--json", "results as JSON, one document per line, on standard output")
    .option("-q, --quiet", "only results and errors")
    .option("--no-progress", "no progress bar");

const program = withCommonOptions(new Command("dfs"))
  .description("Files in the cluster. Paths like a/b/c name files, with or without a slash in front.")
  .addHelpText("after", EXIT_CODE_HELP)
  .showHelpAfterError("(dfs --help shows all commands, dfs COMMAND --help one of them)")
  .exitOverride();

const define = (usage: string, description: string): Command => {
  const command = withCommonOptions(program.command(usage)).description(description);
  return command.showHelpAfterError("(with --help it shows what is allowed)").exitOverride();
};

const destinationOf = (paths: string[]): { sources: string[]; destination: string | undefined } =>
  paths.length === 1
    ? { sources: paths, destination: undefined }
    : { sources: paths.slice(0, -1), destination: paths.at(-1) };

define("put", "Copy local files and directories into the cluster; - is standard input.")
  .argument("<paths...>", "sources, then where to: dfs put README.md photos backup/")
  .option("-p, --parallel <n>", "files at once", atLeastOne, 4)
  .option("-n, --no-clobber", "never replace a file")
  .option("-r, --recursive", "directories are taken whole in any case")
  .option("--replication <n>", "copies to keep", atLeastOne)
  .option("--chunk-size <bytes>", "cut files at this size", atLeastOne)
  .option("--type <type>", "content type (default: by the name)")
  .option("--meta <name=value>", "metadata to keep with the file; may be repeated", metadatum)
  .action(
    action((session, paths: string[], command: Command) => {
      const { sources, destination } = destinationOf(paths);
      const options = command.opts();
      return put(session, sources, destination, {
        parallel: options.parallel,
        clobber: options.clobber,
        replication: options.replication,
        chunkSize: options.chunkSize,
        type: options.type,
        meta: options.meta,
        progress: wantsProgress(command),
      });
    }),
  );

define("get", "Copy files and directories out of the cluster; - is standard output.")
  .argument("<paths...>", "sources, then where to: dfs get backup/photos . (left out: here)")
  .option("-p, --parallel <n>", "files at once", atLeastOne, 4)
  .option("-n, --no-clobber", "never replace a file")
  .option("-r, --recursive", "directories are taken whole in any case")
  .action(
    action((session, paths: string[], command: Command) => {
      const { sources, destination } = destinationOf(paths);
      const { parallel, clobber } = command.opts();
      return get(session, sources, destination, { parallel, clobber, progress: wantsProgress(command) });
    }),
  );

define("ls", "List names.")
  .argument("[paths...]", "directories or files (left out: the root)")
  .option("-l, --long", "with size and time")
  .option("-r, --recursive", "everything below")
  .option("-R", "the same as -r")
  .option("-b, --bytes", "sizes in bytes")
  .action(
    action((session, paths: string[], command: Command) => {
      const { long = false, recursive = false, R = false, bytes = false } = command.opts();
      const options = { long: long || bytes, recursive: recursive || R, bytes };
      return list(session, paths.length > 0 ? paths : ["/"], options);
    }),
  );

define("rm", "Remove files, and with -r directories.")
  .argument("<paths...>")
  .option("-r, --recursive", "directories with all that is in them")
  .option("-f, --force", "what is not there is no error")
  .action(
    action((session, paths: string[], command: Command) => {
      const { recursive = false, force = false } = command.opts();
      return remove(session, paths, { recursive, force });
    }),
  );

for (const [verb, description] of [
  ["mv", "Move files and directories within the cluster."],
  ["cp", "Copy files and directories within the cluster; no bytes move."],
] as const)
  define(verb, description)
    .argument("<paths...>", "sources, then the new name or a directory")
    .option("-f, --force", "replace a file that is there")
    .option("-r, --recursive", "directories are taken whole in any case")
    .action(
      action((session, paths: string[], command: Command) => {
        const { sources, destination } = destinationOf(paths);
        if (destination === undefined)
          throw new DfsError("INVALID_PARAMETER", "The destination is missing.", 0, `dfs ${verb} FROM TO`);
        return transferNames(session, verb, sources, destination, { force: command.opts().force ?? false });
      }),
    );

define("mkdir", "Make directories; their parents come by themselves.")
  .argument("<paths...>")
  .option("-p, --parents", "parents are made in any case")
  .action(action((session, paths: string[]) => makeDirectories(session, paths)));

define("stat", "What is known of a file.")
  .argument("<path>")
  .action(action((session, path: string) => stat(session, path)));

define("explain", "Where each chunk of a file is, how good its copies are, and why they are there.")
  .argument("<path>")
  .action(action((session, path: string) => explain(session, path)));

define("status", "Is all well? One sentence, then workers, masters, repairs.").action(
  action((session) => status(session)),
);

define("top", "The same, drawn again every second; q quits.")
  .option("-1, --once", "a single frame")
  .action(action((session, command: Command) => top(session, command.opts().once ?? false)));

define("worker", "Say what is wanted of a worker.")
  .argument("<order>", WORKER_ORDERS.join(", "))
  .argument("<id>", "worker, as `dfs status` shows it")
  .action(
    action((session, order: string, id: string) => {
      if (WORKER_ORDERS.includes(order)) return orderWorker(session, order, id);
      throw new DfsError(
        "INVALID_PARAMETER",
        `There is no order ${JSON.stringify(order)}.`,
        0,
        `dfs worker ${WORKER_ORDERS.join("|")} ${id}`,
      );
    }),
  );

define("masters", "Who keeps the metadata, and how far each is; add, remove, or hand leadership over.")
  .argument("[order]", MASTERS_ORDERS.join(", "), "list")
  .argument("[id]", "master")
  .argument("[url]", "with add: where it serves, http://host:port")
  .action(
    action((session, order: string, id: string | undefined, url: string | undefined) =>
      masters(session, order, id, url),
    ),
  );

define("backup", "Keep the metadata of this moment in a file; `master --restore FILE` begins with it.")
  .argument("<file>")
  .action(action((session, file: string) => backup(session, file)));

define("record", "Save the last minutes of the cluster as one file: what every state machine did, and why.")
  .option("-m, --minutes <n>", "so much of the past", atLeastOne, 10)
  .option("-o, --output <file>", "where to")
  .action(
    action((session, command: Command) => {
      const { minutes, output: file, url, token } = command.optsWithGlobals();
      return record(session, { url: gatewayUrl(url), token: token ?? Bun.env.DFS_TOKEN }, { minutes, file });
    }),
  );

define("replay", "Open a recording in the browser, with no cluster behind it.")
  .argument("<file>", "as `dfs record` or the console saved it")
  .option("--port <n>", "serve it there (default: any free port)", atLeastOne)
  .action(action((session, file: string, command: Command) => replay(session, file, command.opts().port ?? null)));

define("machines", "Print the state machines: as text, as --mermaid, or as --json for XState's editor.")
  .argument("[name]", "raft, liveness, steward, repair, worker or upload (left out: all)")
  .option("--mermaid", "as a Mermaid state diagram")
  .action(
    action(async (session, ...given: unknown[]) => {
      const command = given.pop() as Command;
      return machines(session, given[0] as string | undefined, { mermaid: command.opts().mermaid ?? false });
    }),
  );

program
  .command("reset")
  .description("Destroy the node data of this machine and begin anew (bun run reset); says what, and asks.")
  .argument("[args...]", "as `dfs reset --help` shows")
  .helpOption(false)
  .allowUnknownOption()
  .action(async (args: string[]) => {
    const reset = Bun.spawn([process.execPath, resolve(import.meta.dir, "../../actors/reset.ts"), ...args], {
      stdio: ["inherit", "inherit", "inherit"],
    });
    process.exit(await reset.exited);
  });

// A proxy for the internet does not lead to a gateway on this machine.
for (const name of ["NO_PROXY", "no_proxy"])
  process.env[name] = [process.env[name], "127.0.0.1", "localhost", "[::1]"].filter(Boolean).join(",");

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exit(error.exitCode === 0 ? ExitCode.ok : ExitCode.usage);
}
