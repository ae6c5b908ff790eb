/** The SQL behind every name in `rules/decide/state.ts`. Reads that can return several rows have a total order. */
import type { Reads, Writes } from "../../actors/rules/decide/state.ts";

const CHUNK = `SELECT c.id, c.length, c.crc32, c.refs, c.set_id, s.target, s.workers`;
const SET_OF = `(SELECT id FROM replica_sets WHERE target = ? AND workers = ? ORDER BY id LIMIT 1)`;

export const READ_SQL: Record<keyof Reads, string> = {
  entry: "SELECT * FROM entries WHERE parent = ? AND key = ?",
  anyChild: "SELECT key FROM entries WHERE parent = ? ORDER BY key LIMIT 1",
  children: "SELECT * FROM entries WHERE parent = ? ORDER BY key LIMIT ?",
  fileChunks: `${CHUNK}, f.file_id, f.idx, f.offset FROM file_chunks f
    JOIN chunks c ON c.id = f.chunk_id JOIN replica_sets s ON s.id = c.set_id
    WHERE f.file_id = ? ORDER BY f.offset LIMIT ?`,
  chunk: `${CHUNK} FROM chunks c JOIN replica_sets s ON s.id = c.set_id WHERE c.id = ?`,
  grantOf: "SELECT id, count, gateway, expires, open FROM grants WHERE id <= ? ORDER BY id DESC LIMIT 1",
  grant: "SELECT id, count, gateway, expires, open FROM grants WHERE id = ?",
  expiredGrants: `SELECT id, count, gateway, expires, open FROM grants
    WHERE open = 1 AND expires <= ? ORDER BY expires, id LIMIT ?`,
  anyChunkIn: "SELECT id FROM chunks WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1",
  upload: "SELECT * FROM uploads WHERE id = ?",
  expiredUploads: "SELECT * FROM uploads WHERE expires <= ? ORDER BY expires, id LIMIT ?",
  worker: "SELECT * FROM workers WHERE id = ?",
  workers: "SELECT * FROM workers ORDER BY id",
  replicaSets: "SELECT * FROM replica_sets ORDER BY id",
  garbage: "SELECT chunk_id FROM garbage WHERE worker_id = ? AND chunk_id = ?",
  faults: "SELECT worker_id FROM replica_faults WHERE chunk_id = ? ORDER BY worker_id",
  // Sets are few and seldom short: only if one is are the file's chunks gone through.
  shortChunk: `WITH short AS (SELECT id, workers FROM replica_sets WHERE chunk_count > 0
      AND length(workers) - length(replace(workers, ',', '')) + (workers <> '') < ?2)
    SELECT c.id, s.workers FROM file_chunks f JOIN chunks c ON c.id = f.chunk_id JOIN short s ON s.id = c.set_id
    WHERE f.file_id = ?1 AND EXISTS (SELECT 1 FROM short) ORDER BY f.offset LIMIT 1`,
  totals: "SELECT files, directories, bytes, next_chunk_id, next_node_id FROM totals",
  session: "SELECT id, client, lowest, last_active FROM sessions WHERE id = ?",
  outcome: "SELECT result FROM outcomes WHERE session_id = ? AND seq = ?",
  keyedOutcome: "SELECT fingerprint, result FROM keyed_outcomes WHERE key = ?",
  idleSessions: "SELECT id FROM sessions WHERE last_active < ? ORDER BY last_active, id LIMIT ?",
  mark: "SELECT mark_index AS idx, mark_hash AS hash FROM applied",
  graveyard: "SELECT id, kind FROM graveyard ORDER BY id LIMIT 1",
};

export const WRITE_SQL: Record<keyof Writes, string> = {
  putEntry: "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  moveEntry: "UPDATE entries SET parent = ?, key = ? WHERE parent = ? AND key = ?",
  dropEntry: "DELETE FROM entries WHERE parent = ? AND key = ?",
  addTotals:
    "UPDATE totals SET files = files + ?, directories = directories + ?, bytes = bytes + ? RETURNING files, directories, bytes",
  takeNodeIds: "UPDATE totals SET next_node_id = next_node_id + ? RETURNING next_node_id",
  takeChunkIds: "UPDATE totals SET next_chunk_id = next_chunk_id + ? RETURNING next_chunk_id",
  growSet: `INSERT INTO replica_sets (target, workers, chunk_count)
    SELECT ?, ?, 0 WHERE NOT EXISTS (SELECT 1 FROM replica_sets WHERE target = ? AND workers = ?)`,
  addToSet: `UPDATE replica_sets SET chunk_count = chunk_count + 1 WHERE id = ${SET_OF} RETURNING chunk_count`,
  shrinkSet: "UPDATE replica_sets SET chunk_count = chunk_count - 1 WHERE id = ? RETURNING id, chunk_count",
  renameSet: "UPDATE replica_sets SET workers = ? WHERE id = ?",
  dropEmptySets: "DELETE FROM replica_sets WHERE chunk_count = 0",
  putChunk: `INSERT INTO chunks (id, length, crc32, refs, set_id) VALUES (?, ?, ?, 1, ${SET_OF})`,
  moveChunkToSet: `UPDATE chunks SET set_id = ${SET_OF} WHERE id = ?`,
  dropChunk: "DELETE FROM chunks WHERE id = ?",
  addRef: "UPDATE chunks SET refs = refs + ? WHERE id = ? RETURNING id, refs",
  addRefs: "UPDATE chunks SET refs = refs + 1 WHERE id IN (SELECT chunk_id FROM file_chunks WHERE file_id = ?)",
  putFileChunk: "INSERT INTO file_chunks (file_id, offset, idx, chunk_id) VALUES (?, ?, ?, ?)",
  copyFileChunks: `INSERT INTO file_chunks (file_id, offset, idx, chunk_id)
    SELECT ?, offset, idx, chunk_id FROM file_chunks WHERE file_id = ?`,
  dropFileChunk: "DELETE FROM file_chunks WHERE file_id = ? AND offset = ?",
  putGrant: "INSERT INTO grants (id, count, gateway, expires, open, decision) VALUES (?, ?, ?, ?, 1, ?)",
  renewGrant: "UPDATE grants SET expires = ? WHERE id = ?",
  closeGrant: "UPDATE grants SET open = 0 WHERE id = ?",
  dropGrant: "DELETE FROM grants WHERE id = ?",
  putUpload: `INSERT INTO uploads (id, file_id, path, condition, attributes, replication, min_replicas, chunk_size,
    expires, offset, crc32, chunk_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0)`,
  advanceUpload: "UPDATE uploads SET offset = ?, crc32 = ?, chunk_count = ?, expires = ? WHERE id = ?",
  dropUpload: "DELETE FROM uploads WHERE id = ?",
  bury: "INSERT INTO graveyard (id, kind) VALUES (?, ?)",
  unbury: "DELETE FROM graveyard WHERE id = ?",
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
  dropGarbage: "DELETE FROM garbage WHERE worker_id = ? AND chunk_id = ?",
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
