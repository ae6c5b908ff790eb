/** `dfs_metadata.db`: the applied state. One row per file, per chunk, and per group of chunks that share their workers. */
export const METADATA_SCHEMA_VERSION = 4;

/** What leads from each version to the next, the first from 1 to 2. */
export const METADATA_UPGRADES = [
  "ALTER TABLE workers ADD COLUMN lost_below INTEGER NOT NULL DEFAULT 0",
  `ALTER TABLE applied ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
   ALTER TABLE applied ADD COLUMN state_hash INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE applied ADD COLUMN mark_index INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE applied ADD COLUMN mark_hash INTEGER NOT NULL DEFAULT 0`,
  `ALTER TABLE totals ADD COLUMN tiny_bytes INTEGER NOT NULL DEFAULT 0;
   CREATE TABLE contents (file_id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
   CREATE INDEX buried_directories ON graveyard (id) WHERE kind = 'directory';
   ALTER TABLE grants ADD COLUMN account_id INTEGER;
   ALTER TABLE grants ADD COLUMN chosen TEXT NOT NULL DEFAULT '';
   CREATE TABLE accounts (id INTEGER PRIMARY KEY, made REAL NOT NULL, decision TEXT NOT NULL) STRICT;
   CREATE INDEX grants_ended ON grants (expires, id) WHERE open = 0`,
];

export const METADATA_SCHEMA = `
CREATE TABLE applied (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  idx INTEGER NOT NULL, term INTEGER NOT NULL, log_time REAL NOT NULL, wall_time REAL NOT NULL,
  version INTEGER NOT NULL, state_hash INTEGER NOT NULL, mark_index INTEGER NOT NULL, mark_hash INTEGER NOT NULL
) STRICT;
CREATE TABLE totals (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  files INTEGER NOT NULL, directories INTEGER NOT NULL, bytes INTEGER NOT NULL,
  next_chunk_id INTEGER NOT NULL, next_node_id INTEGER NOT NULL,
  tiny_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE entries (
  parent INTEGER NOT NULL, key TEXT NOT NULL, id INTEGER NOT NULL,
  size INTEGER NOT NULL, crc32 INTEGER NOT NULL, etag TEXT NOT NULL, content_type TEXT NOT NULL, sha256 TEXT,
  meta TEXT NOT NULL, replication INTEGER NOT NULL, chunk_count INTEGER NOT NULL,
  created INTEGER NOT NULL, modified INTEGER NOT NULL,
  PRIMARY KEY (parent, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE contents (file_id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE file_chunks (
  file_id INTEGER NOT NULL, offset INTEGER NOT NULL, idx INTEGER NOT NULL, chunk_id INTEGER NOT NULL,
  PRIMARY KEY (file_id, offset)
) STRICT, WITHOUT ROWID;
CREATE TABLE chunks (
  id INTEGER PRIMARY KEY, length INTEGER NOT NULL, crc32 INTEGER NOT NULL, refs INTEGER NOT NULL, set_id INTEGER NOT NULL
) STRICT;
CREATE INDEX chunks_by_set ON chunks (set_id, id);
CREATE TABLE replica_sets (
  id INTEGER PRIMARY KEY, target INTEGER NOT NULL, workers TEXT NOT NULL, chunk_count INTEGER NOT NULL
) STRICT;
CREATE INDEX replica_sets_by_workers ON replica_sets (target, workers, id);
CREATE TABLE replica_faults (
  chunk_id INTEGER NOT NULL, worker_id TEXT NOT NULL, state TEXT NOT NULL, since INTEGER NOT NULL,
  PRIMARY KEY (chunk_id, worker_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE replica_reasons (
  chunk_id INTEGER NOT NULL, worker_id TEXT NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (chunk_id, worker_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE garbage (
  worker_id TEXT NOT NULL, chunk_id INTEGER NOT NULL, freed_at REAL NOT NULL,
  PRIMARY KEY (worker_id, chunk_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE graveyard (id INTEGER PRIMARY KEY, kind TEXT NOT NULL) STRICT;
CREATE INDEX buried_directories ON graveyard (id) WHERE kind = 'directory';
CREATE TABLE grants (
  id INTEGER PRIMARY KEY, count INTEGER NOT NULL, gateway TEXT NOT NULL, expires REAL NOT NULL,
  open INTEGER NOT NULL, decision TEXT NOT NULL, account_id INTEGER, chosen TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX grants_by_expiry ON grants (expires, id) WHERE open = 1;
CREATE INDEX grants_ended ON grants (expires, id) WHERE open = 0;
CREATE TABLE accounts (id INTEGER PRIMARY KEY, made REAL NOT NULL, decision TEXT NOT NULL) STRICT;
CREATE TABLE uploads (
  id INTEGER PRIMARY KEY, file_id INTEGER NOT NULL, path TEXT NOT NULL, condition TEXT NOT NULL, attributes TEXT NOT NULL,
  replication INTEGER NOT NULL, min_replicas INTEGER NOT NULL, chunk_size INTEGER NOT NULL,
  offset INTEGER NOT NULL, crc32 INTEGER NOT NULL, chunk_count INTEGER NOT NULL, expires REAL NOT NULL
) STRICT;
CREATE INDEX uploads_by_expiry ON uploads (expires, id);
CREATE TABLE workers (
  id TEXT PRIMARY KEY, url TEXT NOT NULL, zone TEXT NOT NULL, incarnation TEXT NOT NULL, capacity INTEGER NOT NULL,
  liveness TEXT NOT NULL, mode TEXT NOT NULL, lost_below INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY, client TEXT NOT NULL, last_active REAL NOT NULL, lowest INTEGER NOT NULL
) STRICT;
CREATE TABLE outcomes (
  session_id INTEGER NOT NULL, seq INTEGER NOT NULL, result TEXT NOT NULL,
  PRIMARY KEY (session_id, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE keyed_outcomes (
  key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, result TEXT NOT NULL, expires REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX keyed_outcomes_by_expiry ON keyed_outcomes (expires);
INSERT INTO applied VALUES (1, 0, 0, 0, 0, 1, 0, 0, 0);
INSERT INTO totals VALUES (1, 0, 0, 0, 1, 1, 0);
PRAGMA user_version = ${METADATA_SCHEMA_VERSION};
`;
