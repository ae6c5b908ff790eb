/**
 * The SQL behind every name in `rules/decide/state.ts`.
 *
 * Parameters of a query that orders, joins or limits are written `+?`: SQLite looks at the value of a bare one when it
 * plans, and so plans anew each time. That costs three to ten times the query. `+` changes no value.
 */
import type { ChunkRow, EntryRow, GrantRow, OutcomeRow, UploadRow } from "../../actors/rules/decide/rows.ts";
import type { Reads, Writes } from "../../actors/rules/decide/state.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";
import { splitWorkers, type Value } from "./write-encoding.ts";

/** A row as SQLite has it. */
// biome-ignore lint/suspicious/noExplicitAny: columns are what the statement beside the function selects
export type Columns = any;

export interface ReadStatement<K extends keyof Reads> {
  sql: string;
  /** The parameters of the statement. */
  bind(where: Reads[K][0]): Value[];
  /** Left out: the columns are the row. */
  row?(columns: Columns): Reads[K][1];
}

export const ENTRY = `SELECT parent, key, id, size AS sizeBytes, crc32, etag, content_type AS contentType, sha256, meta AS userMetadata,
  replication AS replicationFactor, chunk_count AS chunkCount, created AS createdAt, modified AS modifiedAt FROM entries`;
const CHUNK = `SELECT c.id, c.length AS lengthBytes, c.crc32, c.refs, c.set_id AS setId, s.target AS scheme, s.workers`;
export const FILE_CHUNK = `${CHUNK}, f.file_id AS fileId, f.idx AS "index", f.offset FROM file_chunks f
  JOIN chunks c ON c.id = f.chunk_id JOIN replica_sets s ON s.id = c.set_id`;
export const SETS = "SELECT id, target AS scheme, workers, chunk_count AS chunkCount FROM replica_sets";
export const SET_OF = "SELECT id FROM replica_sets WHERE target = +? AND workers = +? ORDER BY id LIMIT 1";
const GRANT = `SELECT id, count, gateway AS gatewayId, expires AS expiresAt, open AS isOpen FROM grants`;
const UPLOAD = `SELECT id, file_id AS fileId, path, condition, attributes, replication AS replicationFactor,
  min_replicas AS minReplicas, chunk_size AS chunkSizeBytes, offset, crc32, chunk_count AS chunkCount,
  expires AS expiresAt FROM uploads`;
const WORKER = `SELECT id, url, zone, incarnation, capacity AS capacityBytes, liveness, mode, lost_below AS lostBelow
  FROM workers`;

const NO_METADATA: Record<string, string> = {};

// SQLite's answer is a fresh object, so it becomes the row as it is: a listing makes thousands of them.

export function entryRow(columns: Columns): EntryRow {
  const meta = columns.userMetadata;
  columns.userMetadata = meta === "{}" ? NO_METADATA : JSON.parse(meta);
  return columns;
}

export function withPieces<Row extends Pick<ChunkRow, "scheme" | "workers">>(columns: Columns): Row {
  columns.scheme = copies(columns.scheme);
  columns.workers = splitWorkers(columns.workers);
  return columns;
}

function grantRow(columns: Columns): GrantRow {
  columns.isOpen = columns.isOpen === 1;
  return columns;
}

const uploadRow = ({ condition, attributes, ...upload }: Columns): UploadRow => ({
  ...upload,
  ...JSON.parse(attributes),
  condition: JSON.parse(condition),
});

function outcomeRow<Row extends OutcomeRow>(columns: Columns): Row {
  columns.result = JSON.parse(columns.result);
  return columns;
}

/** Of a list in JSON. */
const LISTED = "(SELECT value FROM json_each(+?))";

const nothing = (): Value[] => [];

export const READS: { [K in keyof Reads]: ReadStatement<K> } = {
  entry: { sql: `${ENTRY} WHERE parent = ? AND key = ?`, bind: ({ parent, key }) => [parent, key], row: entryRow },
  anyChild: { sql: "SELECT key FROM entries WHERE parent = +? ORDER BY key LIMIT 1", bind: ({ parent }) => [parent] },
  children: {
    sql: `${ENTRY} WHERE parent = +? ORDER BY key LIMIT +?`,
    bind: ({ parent, limit }) => [parent, limit],
    row: entryRow,
  },
  fileChunks: {
    sql: `${FILE_CHUNK} WHERE f.file_id = +? ORDER BY f.offset LIMIT +?`,
    bind: ({ fileId, limit }) => [fileId, limit],
    row: withPieces,
  },
  chunk: {
    sql: `${CHUNK} FROM chunks c JOIN replica_sets s ON s.id = c.set_id WHERE c.id = +?`,
    bind: ({ chunkId }) => [chunkId],
    row: withPieces,
  },
  grantOf: {
    sql: `${GRANT} WHERE id <= +? ORDER BY id DESC LIMIT 1`,
    bind: ({ chunkId }) => [chunkId],
    row: grantRow,
  },
  grant: { sql: `${GRANT} WHERE id = ?`, bind: ({ grantId }) => [grantId], row: grantRow },
  expiredGrants: {
    sql: `${GRANT} WHERE open = 1 AND expires <= +? ORDER BY expires, id LIMIT +?`,
    bind: ({ logTime, limit }) => [logTime, limit],
    row: grantRow,
  },
  agedGrants: {
    sql: `${GRANT} WHERE open = 0 AND expires <= +? ORDER BY expires, id LIMIT +?`,
    bind: ({ before, limit }) => [before, limit],
    row: grantRow,
  },
  sameAccount: {
    sql: `SELECT id FROM (SELECT id, made, decision FROM accounts ORDER BY id DESC LIMIT 4)
      WHERE decision = +? AND made >= +? LIMIT 1`,
    bind: ({ decision, since }) => [JSON.stringify(decision), since],
  },
  // Ids rise with time, so the oldest come first, and no index is needed to see that none is old enough.
  agedAccounts: {
    sql: "SELECT id FROM (SELECT id, made FROM accounts ORDER BY id LIMIT +?) WHERE made <= +?",
    bind: ({ before, limit }) => [limit, before],
  },
  anyChunkIn: {
    sql: "SELECT id FROM chunks WHERE id BETWEEN +? AND +? ORDER BY id LIMIT 1",
    bind: ({ first, last }) => [first, last],
  },
  upload: { sql: `${UPLOAD} WHERE id = ?`, bind: ({ uploadId }) => [uploadId], row: uploadRow },
  expiredUploads: {
    sql: `${UPLOAD} WHERE expires <= +? ORDER BY expires, id LIMIT +?`,
    bind: ({ logTime, limit }) => [logTime, limit],
    row: uploadRow,
  },
  worker: { sql: `${WORKER} WHERE id = ?`, bind: ({ workerId }) => [workerId] },
  workers: { sql: `${WORKER} ORDER BY id`, bind: nothing },
  replicaSets: {
    sql: `${SETS} ORDER BY id`,
    bind: nothing,
    row: withPieces,
  },
  garbage: {
    sql: "SELECT chunk_id AS chunkId FROM garbage WHERE worker_id = ? AND chunk_id = ?",
    bind: ({ workerId, chunkId }) => [workerId, chunkId],
  },
  faults: {
    sql: "SELECT worker_id AS workerId FROM replica_faults WHERE chunk_id = +? ORDER BY worker_id",
    bind: ({ chunkId }) => [chunkId],
  },
  // Sets are few and seldom short: only if one is are the file's chunks gone through.
  shortChunk: {
    sql: `WITH short AS (SELECT id, workers FROM replica_sets WHERE chunk_count > 0
        AND length(workers) - length(replace(workers, ',', '')) + (workers <> '') < +?2)
      SELECT c.id, s.workers FROM file_chunks f JOIN chunks c ON c.id = f.chunk_id JOIN short s ON s.id = c.set_id
      WHERE f.file_id = +?1 AND EXISTS (SELECT 1 FROM short) ORDER BY f.offset LIMIT 1`,
    bind: ({ fileId, minReplicas }) => [fileId, minReplicas],
    row: ({ id, workers }) => ({ id, workers: splitWorkers(workers) }),
  },
  totals: {
    sql: `SELECT files, directories, bytes, next_chunk_id AS nextChunkId, next_node_id AS nextNodeId,
      tiny_bytes AS tinyBytes FROM totals`,
    bind: nothing,
  },
  session: {
    sql: `SELECT id, client AS clientId, lowest AS lowestSeq, last_active AS lastActiveAt FROM sessions WHERE id = ?`,
    bind: ({ sessionId }) => [sessionId],
  },
  outcome: {
    sql: "SELECT result FROM outcomes WHERE session_id = ? AND seq = ?",
    bind: ({ sessionId, seq }) => [sessionId, seq],
    row: outcomeRow,
  },
  keyedOutcome: {
    sql: "SELECT fingerprint, result FROM keyed_outcomes WHERE key = ?",
    bind: ({ key }) => [key],
    row: outcomeRow,
  },
  idleSessions: {
    sql: "SELECT id FROM sessions WHERE last_active < +? ORDER BY last_active, id LIMIT +?",
    bind: ({ before, limit }) => [before, limit],
  },
  mark: { sql: 'SELECT mark_index AS "index", mark_hash AS hash FROM applied', bind: nothing },
  graveyard: { sql: "SELECT id, kind FROM graveyard ORDER BY id LIMIT 1", bind: nothing },
  buriedFiles: {
    sql: `SELECT id, kind FROM graveyard WHERE kind = 'file'
      AND id < coalesce((SELECT min(id) FROM graveyard WHERE kind = 'directory'), 9e15) ORDER BY id LIMIT +?`,
    bind: ({ limit }) => [limit],
  },
  chunksOfFiles: {
    sql: `SELECT c.id, c.refs, c.set_id AS setId, f.file_id AS fileId, f.offset FROM file_chunks f
      JOIN chunks c ON c.id = f.chunk_id WHERE f.file_id IN ${LISTED} ORDER BY f.file_id, f.offset LIMIT +?`,
    bind: ({ fileIds, limit }) => [JSON.stringify(fileIds), limit],
  },
  replicaSet: {
    sql: `${SETS} WHERE id = ?`,
    bind: ({ setId }) => [setId],
    row: withPieces,
  },
};

/** Ids are handed out once, and are exact numbers. */
const takeIds = (column: string): string =>
  `UPDATE totals SET ${column} = ${column} + ?1 WHERE ${column} + ?1 <= ${Number.MAX_SAFE_INTEGER}`;

/**
 * Parameters are those of `write-encoding.ts`, in its order. A write that must hold something finds its row only where that
 * holds (`invariants.ts`): a `RETURNING` would cost four times the update.
 */
export const WRITES: Record<keyof Writes, string> = {
  putEntry: "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  moveEntry: "UPDATE entries SET parent = ?, key = ? WHERE parent = ? AND key = ?",
  dropEntry: "DELETE FROM entries WHERE parent = ? AND key = ?",
  addTotals: `UPDATE totals SET files = files + ?1, directories = directories + ?2, bytes = bytes + ?3
    WHERE files + ?1 >= 0 AND directories + ?2 >= 0 AND bytes + ?3 >= 0`,
  addTinyBytes: "UPDATE totals SET tiny_bytes = tiny_bytes + ?1 WHERE tiny_bytes + ?1 >= 0",
  putContent: "INSERT INTO contents (file_id, bytes) VALUES (?, ?)",
  copyContent: "INSERT INTO contents (file_id, bytes) SELECT ?, bytes FROM contents WHERE file_id = ?",
  dropContent: "DELETE FROM contents WHERE file_id = ?",
  takeNodeIds: takeIds("next_node_id"),
  takeChunkIds: takeIds("next_chunk_id"),
  growSet: `INSERT INTO replica_sets (target, workers, chunk_count)
    SELECT ?, ?, 0 WHERE NOT EXISTS (SELECT 1 FROM replica_sets WHERE target = ? AND workers = ?)`,
  addToSet: `UPDATE replica_sets SET chunk_count = chunk_count + 1 WHERE id = (${SET_OF})`,
  shrinkSet: "UPDATE replica_sets SET chunk_count = chunk_count - 1 WHERE id = ? AND chunk_count > 0",
  shrinkSetBy: "UPDATE replica_sets SET chunk_count = chunk_count - ?1 WHERE id = ?2 AND chunk_count >= ?1",
  renameSet: "UPDATE replica_sets SET workers = ? WHERE id = ?",
  dropEmptySets: "DELETE FROM replica_sets WHERE chunk_count = 0",
  putChunk: `INSERT INTO chunks (id, length, crc32, refs, set_id) VALUES (?, ?, ?, 1, (${SET_OF}))`,
  moveChunkToSet: `UPDATE chunks SET set_id = (${SET_OF}) WHERE id = ?`,
  dropChunk: "DELETE FROM chunks WHERE id = ?",
  dropChunks: `DELETE FROM chunks WHERE id IN ${LISTED}`,
  dropFaultsOfChunks: `DELETE FROM replica_faults WHERE chunk_id IN ${LISTED}`,
  dropReasonsOfChunks: `DELETE FROM replica_reasons WHERE chunk_id IN ${LISTED}`,
  addRef: "UPDATE chunks SET refs = refs + ?1 WHERE id = ?2 AND refs + ?1 >= 1",
  addRefs: "UPDATE chunks SET refs = refs + 1 WHERE id IN (SELECT chunk_id FROM file_chunks WHERE file_id = ?)",
  putFileChunk: "INSERT INTO file_chunks (file_id, offset, idx, chunk_id) VALUES (?, ?, ?, ?)",
  copyFileChunks: `INSERT INTO file_chunks (file_id, offset, idx, chunk_id)
    SELECT ?, offset, idx, chunk_id FROM file_chunks WHERE file_id = ?`,
  dropFileChunk: "DELETE FROM file_chunks WHERE file_id = ? AND offset = ?",
  dropFileChunks: `DELETE FROM file_chunks WHERE file_id IN ${LISTED}`,
  putGrant: "INSERT INTO grants (id, count, gateway, expires, open, decision) VALUES (?, ?, ?, ?, 1, ?)",
  putPlacedGrant: `INSERT INTO grants (id, count, gateway, expires, open, decision, account_id, chosen)
    VALUES (?, ?, ?, ?, 1, '', ?, ?)`,
  putAccount: "INSERT INTO accounts (id, made, decision) VALUES (?, ?, ?)",
  dropAccount: "DELETE FROM accounts WHERE id = ?",
  renewGrant: "UPDATE grants SET expires = ? WHERE id = ?",
  closeGrant: "UPDATE grants SET open = 0 WHERE id = ?",
  dropGrant: "DELETE FROM grants WHERE id = ?",
  putUpload: `INSERT INTO uploads (id, file_id, path, condition, attributes, replication, min_replicas, chunk_size,
    expires, offset, crc32, chunk_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)`,
  advanceUpload: "UPDATE uploads SET offset = ?, crc32 = ?, chunk_count = ?, expires = ? WHERE id = ?",
  dropUpload: "DELETE FROM uploads WHERE id = ?",
  bury: "INSERT INTO graveyard (id, kind) VALUES (?, ?)",
  unbury: "DELETE FROM graveyard WHERE id = ?",
  unburyAll: `DELETE FROM graveyard WHERE id IN ${LISTED}`,
  putWorker: `INSERT OR REPLACE INTO workers (id, url, zone, incarnation, capacity, liveness, mode, lost_below)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  setLiveness: "UPDATE workers SET liveness = ? WHERE id = ?",
  setMode: "UPDATE workers SET mode = ? WHERE id = ?",
  dropGarbageOfWorker: "DELETE FROM garbage WHERE worker_id = ?",
  dropFaultsOfWorker: "DELETE FROM replica_faults WHERE worker_id = ?",
  putFault: "INSERT OR REPLACE INTO replica_faults (chunk_id, worker_id, state, since) VALUES (?, ?, ?, ?)",
  dropFault: "DELETE FROM replica_faults WHERE chunk_id = ? AND worker_id = ?",
  dropFaults: "DELETE FROM replica_faults WHERE chunk_id = ?",
  dropFaultsOfUnused: `DELETE FROM replica_faults WHERE chunk_id BETWEEN ? AND ?
    AND chunk_id NOT IN (SELECT id FROM chunks WHERE id BETWEEN ? AND ?)`,
  putReason: "INSERT OR REPLACE INTO replica_reasons (chunk_id, worker_id, reason) VALUES (?, ?, ?)",
  dropReasons: "DELETE FROM replica_reasons WHERE chunk_id = ?",
  putGarbage: "INSERT OR REPLACE INTO garbage (worker_id, chunk_id, freed_at) VALUES (?, ?, ?)",
  putGarbageOf: `INSERT OR REPLACE INTO garbage (worker_id, chunk_id, freed_at)
    SELECT w.value, c.value, ? FROM json_each(?) w CROSS JOIN json_each(?) c`,
  dropGarbage: "DELETE FROM garbage WHERE worker_id = ? AND chunk_id = ?",
  dropGarbageOf: `DELETE FROM garbage WHERE worker_id = ? AND chunk_id IN ${LISTED}`,
  putSession: "INSERT INTO sessions (id, client, last_active, lowest) VALUES (?, ?, ?, 0)",
  touchSession: "UPDATE sessions SET last_active = ?, lowest = ? WHERE id = ?",
  dropSession: "DELETE FROM sessions WHERE id = ?",
  putOutcome: "INSERT INTO outcomes (session_id, seq, result) VALUES (?, ?, ?)",
  dropOutcomes: "DELETE FROM outcomes WHERE session_id = ? AND seq < ?",
  putKeyedOutcome: "INSERT INTO keyed_outcomes (key, fingerprint, result, expires) VALUES (?, ?, ?, ?)",
  setVersion: "UPDATE applied SET version = ?",
  setMark: "UPDATE applied SET mark_index = ?, mark_hash = ?",
  dropKeyedOutcomes: "DELETE FROM keyed_outcomes WHERE expires <= ?",
};
