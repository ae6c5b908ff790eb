/**
 * A backup of the metadata: eight bytes of mark, four of length (little-endian), a manifest in JSON, and behind it the
 * whole `dfs_metadata.db` as it was at one log index.
 */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Static, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { ByteCount, LogIndex, Milliseconds, Term } from "../../actors/messages/primitives.ts";
import { Configuration } from "../../actors/messages/raft.ts";
import { TERMS_AHEAD } from "../../actors/rules/term.ts";
import { LogDamaged, MasterLog } from "../master-log.ts";
import { SqliteMetadata } from "./sqlite-metadata.ts";

const MARK = new TextEncoder().encode("DFSBACK1");
const MAX_MANIFEST_BYTES = 1 << 20;

export const BackupManifest = Type.Object({
  clusterId: Type.String(),
  /** The entry that the state stands at. */
  index: LogIndex,
  term: Term,
  /** Who belonged to the masters then; a restored group begins with one. */
  configuration: Configuration,
  /** When it was made, ms since the epoch; for people. */
  at: Milliseconds,
  sizeBytes: ByteCount,
  /** Of the database behind the manifest. */
  sha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
});
export type BackupManifest = Static<typeof BackupManifest>;

/**
 * A restored history must not give out again what the lost one may have: numbers of chunks, of log entries (sessions and
 * uploads are named by them) and of terms (workers refuse orders of lower ones) go on far ahead.
 */
const AHEAD = { chunkIds: 2 ** 32, index: 2 ** 32, term: TERMS_AHEAD } as const;

export class BackupUnusable extends Error {
  override name = "BackupUnusable";
}

/** All that comes before the database. */
export function backupHead(manifest: BackupManifest): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(manifest));
  const head = new Uint8Array(MARK.length + 4 + json.length);
  head.set(MARK);
  new DataView(head.buffer).setUint32(MARK.length, json.length, true);
  head.set(json, MARK.length + 4);
  return head;
}

/** Writes the database of a backup to `path` and flushes it. @throws BackupUnusable if it is damaged or cut off */
export async function unpackBackup(source: AsyncIterable<Uint8Array>, path: string): Promise<BackupManifest> {
  mkdirSync(dirname(path), { recursive: true });
  const hasher = new Bun.CryptoHasher("sha256");
  const file = await open(path, "w", 0o600);
  let manifest: BackupManifest | null = null;
  let head = new Uint8Array();
  let bytes = 0;
  const keep = async (piece: Uint8Array) => {
    bytes += piece.length;
    hasher.update(piece);
    await file.writeFile(piece);
  };
  try {
    for await (const piece of source) {
      if (manifest) {
        await keep(piece);
        continue;
      }
      head = new Uint8Array(Buffer.concat([head, piece]));
      const read = readHead(head);
      if (!read) continue;
      manifest = read.manifest;
      await keep(head.subarray(read.length));
    }
    if (!manifest || bytes !== manifest.sizeBytes || hasher.digest("hex") !== manifest.sha256)
      throw new BackupUnusable("the backup is damaged, or was cut off");
    await file.sync();
    return manifest;
  } finally {
    await file.close();
  }
}

/** @returns null while more bytes are needed */
function readHead(head: Uint8Array): { manifest: BackupManifest; length: number } | null {
  const fits = MARK.every((byte, n) => n >= head.length || head[n] === byte);
  if (!fits) throw new BackupUnusable("this is no backup of the metadata");
  if (head.length < MARK.length + 4) return null;
  const jsonBytes = new DataView(head.buffer, head.byteOffset).getUint32(MARK.length, true);
  if (jsonBytes > MAX_MANIFEST_BYTES) throw new BackupUnusable("the backup's manifest is too long to be one");
  const length = MARK.length + 4 + jsonBytes;
  if (head.length < length) return null;
  const manifest: unknown = JSON.parse(new TextDecoder().decode(head.subarray(MARK.length + 4, length)));
  if (!Value.Check(BackupManifest, manifest)) throw new BackupUnusable("the backup's manifest is not one of ours");
  return { manifest, length };
}

/** Does a data directory hold anything of a master? */
const holdsMaster = (dataDirectory: string): boolean =>
  ["master_metadata.db", "dfs_metadata.db", "state"].some((name) => existsSync(join(dataDirectory, name)));

/**
 * Makes the data directory of the first master of a new history that begins with a backup.
 *
 * @throws BackupUnusable if the directory is not empty, or the backup is damaged or of another cluster
 */
export async function restoreBackup(
  source: AsyncIterable<Uint8Array>,
  { dataDirectory, nodeId, clusterId }: { dataDirectory: string; nodeId: string; clusterId: string },
): Promise<BackupManifest> {
  if (holdsMaster(dataDirectory))
    throw new BackupUnusable(`${dataDirectory} holds a master's data already; a backup is restored into an empty one`);
  const draft = join(dataDirectory, "restoring.db");
  const manifest = await unpackBackup(source, draft);
  if (manifest.clusterId !== clusterId)
    throw new BackupUnusable(
      `the backup is of cluster ${manifest.clusterId}, the cluster secret here is of ${clusterId}: restore that file, too`,
    );
  const index = manifest.index + AHEAD.index;
  const term = manifest.term + AHEAD.term;
  const state = new SqliteMetadata(draft);
  try {
    const damage = state.damage();
    if (damage || state.applied().index !== manifest.index)
      throw new BackupUnusable(`the backup does not hold what its manifest says: ${damage ?? "another log index"}`);
    state.beginHistory({ index, term, skippedChunkIds: AHEAD.chunkIds });
  } finally {
    state.close();
  }
  renameSync(draft, join(dataDirectory, "dfs_metadata.db"));
  const configuration = { voters: [[nodeId]], learners: [] };
  const log = new MasterLog(join(dataDirectory, "master_metadata.db"), { clusterId, nodeId, configuration });
  log.adoptSnapshot({ index, term, configuration, generation: 0 });
  log.write({ hard: { term, vote: null }, changes: [] });
  log.close();
  return manifest;
}

/** The applied state of a master is gone or of no use; its log and its votes are there. */
export class StateMissing extends LogDamaged {
  override name = "StateMissing";
}

/**
 * Gives the leader's state to a master that lost its own; its log and its votes stay. What is left of the old state is
 * put aside by its next generation.
 */
export async function rebuildState(
  source: AsyncIterable<Uint8Array>,
  { dataDirectory, nodeId, clusterId }: { dataDirectory: string; nodeId: string; clusterId: string },
): Promise<BackupManifest> {
  const log = new MasterLog(join(dataDirectory, "master_metadata.db"), {
    clusterId,
    nodeId,
    configuration: { voters: [[]], learners: [] },
  });
  try {
    const generation = log.stateGeneration + 1;
    const manifest = await unpackBackup(source, join(dataDirectory, "state", String(generation), "dfs_metadata.db"));
    const { index, term, configuration } = manifest;
    if (manifest.clusterId !== clusterId) throw new BackupUnusable("the state is of another cluster");
    if (index < log.baseIndex) throw new BackupUnusable("the leader's state is older than this master's log");
    log.adoptSnapshot({ index, term, configuration, generation });
    return manifest;
  } finally {
    log.close();
  }
}
