/** Reads and checks `config.json`. A configuration that makes no sense stops the start, with key, value and remedy. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import { Value, type ValueError } from "@sinclair/typebox/value";
import { Config } from "../messages/config.ts";
import { NodeId } from "../messages/primitives.ts";

export class ConfigError extends Error {
  override name = "ConfigError";
}

/** The project's own config.json, unless `--config` names another. */
export const DEFAULT_CONFIG_PATH = resolve(import.meta.dir, "../../config.json");

/** @returns the configuration with `dataDirectory` made absolute (relative paths start at the file's own folder) */
export function loadConfig(path: string = DEFAULT_CONFIG_PATH): Config {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConfigError(`Cannot read ${path}: ${(cause as Error).message}. Name a configuration with --config FILE.`);
  }
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new ConfigError(`${path} is not JSON: ${(cause as Error).message}`);
  }
  const config = checkConfig(raw, path);
  return { ...config, dataDirectory: resolve(dirname(resolve(path)), config.dataDirectory) };
}

/** The schema first, then contradictions that a schema cannot express. Reports every mistake. */
export function checkConfig(raw: unknown, source = "config.json"): Config {
  const mistakes = [...Value.Errors(Config, raw)].map((error) => describe(error));
  if (mistakes.length > 0)
    throw new ConfigError(`${source}:\n${[...new Set(mistakes)].map((m) => `  ${m}`).join("\n")}`);
  const config = raw as Config;
  const wrong = [...contradictions(config)];
  if (wrong.length > 0) throw new ConfigError(`${source}:\n${wrong.map((m) => `  ${m}`).join("\n")}`);
  return config;
}

function describe({ path, value, message, schema }: ValueError): string {
  const key = path.slice(1).replaceAll("/", ".") || "(the whole file)";
  const shown = value === undefined ? "missing" : JSON.stringify(value)?.slice(0, 80);
  return `${key} is ${shown}; allowed: ${allowed(schema) ?? message}${schema.description ? ` (${schema.description})` : ""}`;
}

function allowed(schema: TSchema): string | undefined {
  if (Array.isArray(schema.anyOf))
    return schema.anyOf.map((option: TSchema) => JSON.stringify(option.const)).join(", ");
  if (schema.pattern) return `a string like /${schema.pattern}/`;
  if (schema.type === "integer") {
    const { minimum = "…", maximum = "…" } = schema;
    return `a whole number from ${minimum} to ${maximum}`;
  }
  return undefined;
}

function* contradictions(config: Config): Generator<string> {
  const { minReplicas, replicationFactor, heartbeatMs, suspectAfterMs, deadAfterMs, chunkSizeBytes, blockSizeBytes } =
    config;
  if (minReplicas > replicationFactor)
    yield `minReplicas is ${minReplicas}; allowed: at most replicationFactor, ${replicationFactor}`;
  if (suspectAfterMs < 2 * heartbeatMs)
    yield `suspectAfterMs is ${suspectAfterMs}; allowed: at least two heartbeats, ${2 * heartbeatMs}`;
  if (deadAfterMs <= suspectAfterMs)
    yield `deadAfterMs is ${deadAfterMs}; allowed: more than suspectAfterMs, ${suspectAfterMs}`;
  if (config.raft.electionMs < 5 * config.raft.heartbeatMs)
    yield `raft.electionMs is ${config.raft.electionMs}; allowed: at least five beats, ${5 * config.raft.heartbeatMs}`;
  if (chunkSizeBytes % blockSizeBytes !== 0)
    yield `chunkSizeBytes is ${chunkSizeBytes}; allowed: a multiple of blockSizeBytes, ${blockSizeBytes}`;
  if (config.inlineChunkBytes > blockSizeBytes)
    yield `inlineChunkBytes is ${config.inlineChunkBytes}; allowed: at most blockSizeBytes, ${blockSizeBytes}`;
  if (config.limits.bufferBytes < 4 * blockSizeBytes)
    yield `limits.bufferBytes is ${config.limits.bufferBytes}; allowed: at least four blocks, ${4 * blockSizeBytes}`;
  const nodes = [...config.masters, ...config.workers, ...config.gateways];
  for (const key of ["id", "url"] as const) {
    const seen = new Set<string>();
    for (const node of nodes) {
      if (seen.has(node[key])) yield `${key} ${node[key]} is used twice; allowed: each node its own`;
      seen.add(node[key]);
    }
  }
  for (const { id, url } of [...config.masters, ...config.workers])
    if (isEverywhere(url)) yield `url of ${id} is ${url}; allowed: an address at which the other nodes reach it`;
  for (const { id, url } of nodes) if (!URL.canParse(url)) yield `url of ${id} is ${url}; allowed: http://host:port`;
}

/** An address to listen at, and not to call. */
export const isEverywhere = (url: string): boolean => /^https?:\/\/(0\.0\.0\.0|\[::\])(:|$)/.test(url);

/** @throws ConfigError if `nodeId` is no node id: it becomes a folder's name */
export function checkNodeId(nodeId: string): string {
  if (!Value.Check(NodeId, nodeId)) throw new ConfigError(`--id is ${nodeId}; allowed: ${NodeId.description}`);
  return nodeId;
}
