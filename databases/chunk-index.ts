/**
 * A worker's SQLite database, `<data>/chunk-index.db`: one row per chunk that is not being written any more, the bytes
 * of small chunks, and the worker's identity. For chunks in files it is an index only, and can be made again from them: the
 * folder that a file lies in is its state, and the row follows. For inline chunks and the identity it is the truth.
 *
 * The connection is the process's own (`locking_mode=EXCLUSIVE`): a second worker on the same directory cannot start.
 */
import type { Database, SQLQueryBindings } from "bun:sqlite";
import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ChunkId } from "../actors/messages/primitives.ts";
import { DatabaseRefused, openDatabase } from "./sqlite.ts";
import { CHECKPOINT_AT_LAST_PAGES, type Flush, WriteAheadLog } from "./write-ahead-log.ts";

/** `missing`: the row is there, the bytes are not; kept until the leader knows. */
export type ChunkState = "sealed" | "trash" | "quarantined" | "missing";

/** What the bytes of a chunk lie in: a file of their own, or this database. The column is called `inline`: 0 or 1. */
export type ShelfName = "file" | "inline";

export interface ChunkRow {
  chunkId: ChunkId;
  state: ChunkState;
  shelf: ShelfName;
  lengthBytes: number;
  crc32: number;
  blockSizeBytes: number;
  /** Little-endian u32 per block. */
  blockCrcs: Uint8Array;
  sealedAt: number;
  /** 0: found as a file and not read back yet. */
  verifiedAt: number;
  /** Log index of the latest order to copy this chunk to here; 0: written by a gateway. Older orders to trash it are void. */
  copyDecidedAt: number;
}

/** A chunk in trash or quarantine. */
export interface DiscardedChunk extends Pick<ChunkRow, "chunkId" | "state" | "shelf" | "lengthBytes"> {
  /** When it came there, ms since 1970. */
  since: number;
}

export interface StoredIdentity {
  /** Made with the data directory, so a wiped disk comes back as another incarnation. */
  incarnation: string;
  /** Grows at each start. */
  epoch: number;
  clusterId: string | null;
  highestTerm: number;
}

export interface Totals {
  chunkCount: number;
  sealedBytes: number;
  /** Trash and quarantine: bytes that wait for their end. */
  trashBytes: number;
}

const SCHEMA_VERSION = 2;
/** The sums over all rows of `chunks`, kept so that a start need not count them. No row: they are not known. */
const TOTALS = `
  CREATE TABLE totals (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    chunk_count INTEGER NOT NULL,
    sealed_bytes INTEGER NOT NULL,
    trash_bytes INTEGER NOT NULL
  ) STRICT`;
const SCHEMA = `
  CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    incarnation TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    cluster_id TEXT,
    highest_term INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE chunks (
    chunk_id INTEGER PRIMARY KEY,
    state INTEGER NOT NULL,
    inline INTEGER NOT NULL,
    length INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    block_size INTEGER NOT NULL,
    block_crcs BLOB NOT NULL,
    sealed_at INTEGER NOT NULL,
    verified_at INTEGER NOT NULL,
    copy_decided_at INTEGER NOT NULL,
    state_since INTEGER NOT NULL,
    reported INTEGER NOT NULL
  ) STRICT;
  -- Kept apart, so that walking the rows of \`chunks\` never drags their bytes along.
  CREATE TABLE inline_chunks (chunk_id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
  CREATE INDEX chunks_by_verification ON chunks (verified_at, chunk_id) WHERE state = 0;
  CREATE INDEX chunks_discarded ON chunks (state_since, chunk_id) WHERE state <> 0;
  ${TOTALS};
  PRAGMA user_version = ${SCHEMA_VERSION}`;
/** Two chunks of 4 KiB do not fit a page of 8 KiB, and would take one each. Indexes that were made with those keep them. */
const PAGE_BYTES = 4096;
/** The write-ahead log is copied into the database when it has about this many bytes. */
const CHECKPOINT_BYTES = 16 << 20;
/** What a change adds to the log beside the bytes of a chunk, about. */
const BYTES_OF_A_CHANGE = 4096;
/** Free pages that one call gives back to the file system. */
const SHRINK_PAGES = 256;
/** Free pages are kept for new chunks, up to this share of all. */
const KEPT_FREE = 1 / 8;
const STATES: ChunkState[] = ["sealed", "trash", "quarantined", "missing"];
const shelfOf = (inline: number): ShelfName => (inline === 1 ? "inline" : "file");
const code = (state: ChunkState): number => STATES.indexOf(state);

interface RawRow {
  chunk_id: number;
  state: number;
  inline: number;
  length: number;
  crc32: number;
  block_size: number;
  block_crcs: Uint8Array;
  sealed_at: number;
  verified_at: number;
  copy_decided_at: number;
}

const COLUMNS =
  "chunk_id, state, inline, length, crc32, block_size, block_crcs, sealed_at, verified_at, copy_decided_at";
const fromRaw = (raw: RawRow): ChunkRow => ({
  chunkId: raw.chunk_id,
  state: STATES[raw.state] as ChunkState,
  shelf: shelfOf(raw.inline),
  lengthBytes: raw.length,
  crc32: raw.crc32,
  blockSizeBytes: raw.block_size,
  blockCrcs: raw.block_crcs,
  sealedAt: raw.sealed_at,
  verifiedAt: raw.verified_at,
  copyDecidedAt: raw.copy_decided_at,
});

/** Reads answer what has been applied; writes are to be called inside `ChunkIndex.transaction`. */
export class ChunkIndex {
  readonly path: string;
  /** A damaged index was put aside under this name at the start, and a new one begun. */
  readonly setAside: string | null = null;
  #database: Database;
  /** Its write-ahead log. */
  readonly log: WriteAheadLog;

  /** @throws DatabaseRefused */
  constructor(directory: string, flush?: Flush) {
    this.path = join(directory, "chunk-index.db");
    try {
      this.#database = open(this.path);
    } catch (error) {
      if (!(error instanceof DatabaseRefused)) throw error;
      if (error.why === "inUse") throw new DatabaseRefused(`${directory} is in use by another worker`, "inUse");
      if (error.why !== "damaged") throw error;
      this.setAside = `${this.path}.damaged-${Date.now()}`;
      renameSync(this.path, this.setAside);
      for (const suffix of ["-wal", "-shm"]) rmSync(this.path + suffix, { force: true });
      this.#database = open(this.path);
    }
    this.log = new WriteAheadLog(this.#database, this.path, CHECKPOINT_BYTES, flush);
  }

  #query<Row>(sql: string) {
    return this.#database.query<Row, SQLQueryBindings[]>(sql);
  }

  /**
   * @param durable whether it is flushed when the call returns, and all before it: the caller waits for the disk. If not, a
   *   loss of power may take it back, until `log.flush` or the next durable transaction has covered it
   */
  transaction(durable: boolean, change: () => void): void {
    this.log.beforeTransaction();
    this.#database.run(`PRAGMA synchronous = ${durable ? "FULL" : "NORMAL"}`);
    this.#database.run("BEGIN");
    try {
      change();
      this.#database.run("COMMIT");
      this.log.committed(durable);
    } catch (error) {
      if (this.#database.inTransaction) this.#database.run("ROLLBACK");
      throw error;
    }
  }

  find(chunkId: ChunkId): ChunkRow | null {
    const raw = this.#query<RawRow>(`SELECT ${COLUMNS} FROM chunks WHERE chunk_id = ?`).get(chunkId);
    return raw && fromRaw(raw);
  }

  inlineBytes(chunkId: ChunkId): Uint8Array<ArrayBuffer> | null {
    const row = this.#query<{ data: Uint8Array<ArrayBuffer> }>("SELECT data FROM inline_chunks WHERE chunk_id = ?").get(
      chunkId,
    );
    return row?.data ?? null;
  }

  /** Inserts a row, or replaces the chunk's row. A new inline chunk brings its bytes. */
  put(row: ChunkRow, data?: Uint8Array): void {
    this.log.grow(BYTES_OF_A_CHANGE + (data?.length ?? 0));
    this.#query(
      `INSERT OR REPLACE INTO chunks (${COLUMNS}, state_since, reported) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)`,
    ).run(
      row.chunkId,
      code(row.state),
      row.shelf === "inline" ? 1 : 0,
      row.lengthBytes,
      row.crc32,
      row.blockSizeBytes,
      row.blockCrcs,
      row.sealedAt,
      row.verifiedAt,
      row.copyDecidedAt,
      Date.now(),
    );
    if (data) this.#query("INSERT OR REPLACE INTO inline_chunks (chunk_id, data) VALUES (?, ?)").run(row.chunkId, data);
    else if (row.shelf === "file") this.#query("DELETE FROM inline_chunks WHERE chunk_id = ?").run(row.chunkId);
  }

  setState(chunkId: ChunkId, state: ChunkState, at: number): void {
    this.log.grow(BYTES_OF_A_CHANGE);
    this.#query("UPDATE chunks SET state = ?, state_since = ?, reported = 0 WHERE chunk_id = ?").run(
      code(state),
      at,
      chunkId,
    );
  }

  setVerified(chunkId: ChunkId, at: number): void {
    this.log.grow(BYTES_OF_A_CHANGE);
    this.#query("UPDATE chunks SET verified_at = ? WHERE chunk_id = ?").run(at, chunkId);
  }

  setCopyDecidedAt(chunkId: ChunkId, logIndex: number): void {
    this.#query("UPDATE chunks SET copy_decided_at = max(copy_decided_at, ?) WHERE chunk_id = ?").run(
      logIndex,
      chunkId,
    );
  }

  remove(chunkId: ChunkId): void {
    this.log.grow(BYTES_OF_A_CHANGE);
    this.#query("DELETE FROM chunks WHERE chunk_id = ?").run(chunkId);
    this.#query("DELETE FROM inline_chunks WHERE chunk_id = ?").run(chunkId);
  }

  /** Sealed chunks with ids above `after`, in rising order. */
  sealedAfter(after: ChunkId, limit: number): { chunkId: ChunkId; lengthBytes: number; crc32: number }[] {
    return this.#query<{ chunkId: number; lengthBytes: number; crc32: number }>(
      `SELECT chunk_id AS chunkId, length AS lengthBytes, crc32 FROM chunks
       WHERE state = 0 AND chunk_id > +? ORDER BY chunk_id LIMIT +?`,
    ).all(after, limit);
  }

  /** Chunks on the file shelf with ids above `after`, in rising order, without missing ones. */
  filesAfter(after: ChunkId, limit: number): { chunkId: ChunkId; state: ChunkState; lengthBytes: number }[] {
    return this.#query<{ chunkId: number; state: number; lengthBytes: number }>(
      `SELECT chunk_id AS chunkId, state, length AS lengthBytes FROM chunks
       WHERE inline = 0 AND state <> 3 AND chunk_id > +? ORDER BY chunk_id LIMIT +?`,
    )
      .all(after, limit)
      .map((row) => ({ ...row, state: STATES[row.state] as ChunkState }));
  }

  /** The sealed chunk whose last reading back is the oldest. */
  leastRecentlyVerified(): ChunkRow | null {
    const raw = this.#query<RawRow>(
      `SELECT ${COLUMNS} FROM chunks WHERE state = 0 ORDER BY verified_at, chunk_id LIMIT 1`,
    ).get();
    return raw && fromRaw(raw);
  }

  /** Chunks in trash and quarantine, those that lie there longest first. */
  discarded(limit: number): DiscardedChunk[] {
    return this.#query<{ chunkId: number; state: number; inline: number; lengthBytes: number; since: number }>(
      `SELECT chunk_id AS chunkId, state, inline, length AS lengthBytes, state_since AS since FROM chunks
       WHERE state <> 0 AND state IN (1, 2) ORDER BY state_since, chunk_id LIMIT +?`,
    )
      .all(limit)
      .map(({ inline, state, ...row }) => ({ ...row, state: STATES[state] as ChunkState, shelf: shelfOf(inline) }));
  }

  /** Quarantined copies that are due to be read again: first after `afterMs`, then each time after twice as long. */
  toRecheck(now: number, afterMs: number, limit: number): { chunkId: ChunkId }[] {
    return this.#query<{ chunkId: number }>(
      `SELECT chunk_id AS chunkId FROM chunks WHERE state <> 0 AND state = 2
         AND max(state_since, verified_at) + max(+?, verified_at - state_since) <= +?
       ORDER BY state_since, chunk_id LIMIT +?`,
    ).all(afterMs, now, limit);
  }

  /** Bad copies that the leader has not acknowledged. */
  unreported(limit: number): { chunkId: ChunkId; state: "corrupt" | "missing" }[] {
    return this.#query<{ chunkId: number; state: number }>(
      `SELECT chunk_id AS chunkId, state FROM chunks INDEXED BY chunks_discarded
       WHERE state <> 0 AND state IN (2, 3) AND reported = 0 ORDER BY chunk_id LIMIT +?`,
    )
      .all(limit)
      .map(({ chunkId, state }) => ({ chunkId, state: STATES[state] === "missing" ? "missing" : "corrupt" }));
  }

  /** The leader knows: a quarantined copy is not reported again, a missing one is forgotten. */
  acknowledge(chunkId: ChunkId): void {
    this.#query("UPDATE chunks SET reported = 1 WHERE chunk_id = ? AND state = 2").run(chunkId);
    this.#query("DELETE FROM chunks WHERE chunk_id = ? AND state = 3").run(chunkId);
  }

  /** Counts all rows. */
  countTotals(): Totals {
    return this.countAfter(-1, Number.MAX_SAFE_INTEGER).totals;
  }

  /** Counts rows with ids above `after`, in rising order. @returns the last of these ids too, null if there is none */
  countAfter(after: ChunkId, limit: number): { totals: Totals; last: ChunkId | null } {
    const totals = { chunkCount: 0, sealedBytes: 0, trashBytes: 0 };
    let last: ChunkId | null = null;
    for (const { state, chunks, bytes, highest } of this.#query<
      Record<"state" | "chunks" | "bytes" | "highest", number>
    >(
      `SELECT state, count(*) AS chunks, sum(length) AS bytes, max(chunk_id) AS highest
       FROM (SELECT chunk_id, state, length FROM chunks WHERE chunk_id > +? ORDER BY chunk_id LIMIT +?) GROUP BY state`,
    ).all(after, limit)) {
      last = Math.max(last ?? highest, highest);
      if (state === 0) Object.assign(totals, { chunkCount: chunks, sealedBytes: bytes });
      else if (state !== 3) totals.trashBytes += bytes;
    }
    return { totals, last };
  }

  /** @returns null if they are not known */
  storedTotals(): Totals | null {
    return this.#query<Totals>(
      "SELECT chunk_count AS chunkCount, sealed_bytes AS sealedBytes, trash_bytes AS trashBytes FROM totals",
    ).get();
  }

  storeTotals({ chunkCount, sealedBytes, trashBytes }: Totals): void {
    this.#query("INSERT OR REPLACE INTO totals (one, chunk_count, sealed_bytes, trash_bytes) VALUES (1, ?, ?, ?)").run(
      chunkCount,
      sealedBytes,
      trashBytes,
    );
  }

  /** To be called by changes that do not keep the totals, in their transaction. */
  forgetTotals(): void {
    this.#query("DELETE FROM totals").run();
  }

  /** Whether so much of the file is free that `shrink` gives some of it back. */
  get isLoose(): boolean {
    const { free } = this.#query<{ free: number }>(
      "SELECT freelist_count AS free FROM pragma_freelist_count",
    ).get() ?? {
      free: 0,
    };
    if (free === 0) return false;
    const { pages } = this.#query<{ pages: number }>("SELECT page_count AS pages FROM pragma_page_count").get() ?? {
      pages: 0,
    };
    return free > pages * KEPT_FREE;
  }

  /** Gives a few free pages back to the file system; nothing happens in an index that was made before that was possible. */
  shrink(): void {
    this.log.grow(SHRINK_PAGES * PAGE_BYTES);
    this.#query(`PRAGMA incremental_vacuum(${SHRINK_PAGES})`).all();
  }

  /** @returns the worker's identity, with an epoch of its own for this start */
  beginEpoch(): StoredIdentity {
    this.transaction(true, () => {
      this.#query("INSERT OR IGNORE INTO identity (one, incarnation, epoch, highest_term) VALUES (1, ?, 0, 0)").run(
        crypto.randomUUID(),
      );
      this.#query("UPDATE identity SET epoch = epoch + 1").run();
    });
    return this.identity();
  }

  identity(): StoredIdentity {
    const row = this.#query<StoredIdentity>(
      "SELECT incarnation, epoch, cluster_id AS clusterId, highest_term AS highestTerm FROM identity",
    ).get();
    if (!row) throw new Error("beginEpoch comes before identity");
    return row;
  }

  joinCluster(clusterId: string): void {
    this.#query("UPDATE identity SET cluster_id = ?").run(clusterId);
  }

  /** A lower term is stored too. */
  setTerm(term: number): void {
    this.#query("UPDATE identity SET highest_term = ?").run(term);
  }

  raiseTerm(term: number): void {
    this.#query("UPDATE identity SET highest_term = max(highest_term, ?)").run(term);
  }

  close(): void {
    if (!this.log.close()) return;
    this.#database.close();
    this.log.closeFiles();
  }
}

const open = (path: string): Database =>
  openDatabase({
    path,
    schema: SCHEMA,
    schemaVersion: SCHEMA_VERSION,
    upgrades: [TOTALS],
    synchronous: "FULL",
    pageBytes: PAGE_BYTES,
    canShrink: true,
    cacheBytes: 16 << 20,
    checkpointPages: CHECKPOINT_AT_LAST_PAGES,
  });
