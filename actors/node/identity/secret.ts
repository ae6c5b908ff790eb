/**
 * The cluster secret: 32 random bytes, shared by all nodes, never sent. It lies in `<dataDirectory>/cluster.secret`,
 * readable by its owner only, and is made when the first node of a machine starts; other machines get a copy of the
 * file, or `DFS_CLUSTER_SECRET`.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { formerDataDirectory } from "../../rules/former-place.ts";
import { ConfigError } from "../config.ts";

const SECRET_PATTERN = /^[0-9a-f]{64}$/;

export const secretPath = (dataDirectory: string): string => join(dataDirectory, "cluster.secret");

/** @returns 64 hex digits. Nodes that start at the same moment agree on one secret: the file is linked into place whole. */
export function loadSecret(dataDirectory: string, env: Record<string, string | undefined> = Bun.env): string {
  const given = env.DFS_CLUSTER_SECRET?.trim();
  if (given !== undefined) return checked(given, "DFS_CLUSTER_SECRET");
  const path = secretPath(dataDirectory);
  try {
    return read(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
  }
  mkdirSync(dataDirectory, { recursive: true, mode: 0o700 });
  if (takeFormerSecret(dataDirectory)) return read(path);
  const draft = `${path}.${process.pid}`;
  const file = openSync(draft, "wx", 0o600);
  writeSync(file, `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex")}\n`);
  fsyncSync(file);
  closeSync(file);
  try {
    linkSync(draft, path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
  } finally {
    unlinkSync(draft);
  }
  return read(path);
}

/** A secret of before node data had a folder of its own belongs to the same cluster: it is moved, never made anew. */
function takeFormerSecret(dataDirectory: string): boolean {
  const place = formerDataDirectory(dataDirectory);
  try {
    if (place !== null) renameSync(secretPath(place), secretPath(dataDirectory));
    return place !== null;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw cause;
    return false;
  }
}

function read(path: string): string {
  const secret = checked(readFileSync(path, "utf8").trim(), path);
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600);
  return secret;
}

function checked(secret: string, source: string): string {
  if (!SECRET_PATTERN.test(secret))
    throw new ConfigError(`${source} does not hold a cluster secret; allowed: 64 hex digits`);
  return secret;
}
