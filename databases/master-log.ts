/**
 * `master_metadata.db`: who this master is, its term and vote, and the log of commands. A COMMIT here is the moment at
 * which a command is durable. Each row's checksum covers the one before, so a torn or swapped row is noticed.
 */
import type { Database, Statement } from "bun:sqlite";
import { openDatabase } from "./sqlite.ts";

export interface LogEntry {
  index: number;
  term: number;
  /** Encoded by the caller; opaque here. */
  data: Uint8Array;
}

export interface MasterIdentity {
  clusterId: string;
  nodeId: string;
}

const SCHEMA_VERSION = 1;
const SCHEMA = `
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id TEXT NOT NULL, node_id TEXT NOT NULL, term INTEGER NOT NULL, vote TEXT,
  base_index INTEGER NOT NULL, base_term INTEGER NOT NULL, base_crc INTEGER NOT NULL
) STRICT;
CREATE TABLE log (
  idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
PRAGMA user_version = ${SCHEMA_VERSION};
`;

export class LogDamaged extends Error {
  override name = "LogDamaged";
}

interface LogRow {
  idx: number;
  term: number;
  data: Uint8Array;
  crc: number;
}

interface MetaRow {
  cluster_id: string;
  node_id: string;
  term: number;
  base_index: number;
  base_term: number;
  base_crc: number;
}

/** Entries read at once when the log is walked. */
const PAGE = 1000;

export class MasterLog {
  readonly identity: MasterIdentity;
  readonly #db: Database;
  readonly #insert: Statement<unknown, [number, number, Uint8Array, number]>;
  readonly #page: Statement<LogRow, [number, number]>;
  #term: number;
  #lastIndex: number;
  #lastCrc: number;

  /** @param genesis identity to give a new, empty log */
  constructor(path: string, genesis: MasterIdentity) {
    this.#db = openDatabase({ path, schema: SCHEMA, schemaVersion: SCHEMA_VERSION, synchronous: "FULL" });
    this.#db
      .prepare("INSERT OR IGNORE INTO meta VALUES (1, ?, ?, 0, NULL, 0, 0, 0)")
      .run(genesis.clusterId, genesis.nodeId);
    const meta = this.#meta();
    this.identity = { clusterId: meta.cluster_id, nodeId: meta.node_id };
    this.#term = meta.term;
    this.#insert = this.#db.prepare("INSERT INTO log (idx, term, data, crc) VALUES (?, ?, ?, ?)");
    this.#page = this.#db.prepare("SELECT * FROM log WHERE idx > ? ORDER BY idx LIMIT ?");
    const last = this.#db.query("SELECT idx, crc FROM log ORDER BY idx DESC LIMIT 1").get() as LogRow | null;
    this.#lastIndex = last?.idx ?? meta.base_index;
    this.#lastCrc = last?.crc ?? meta.base_crc;
  }

  #meta(): MetaRow {
    return this.#db.query("SELECT * FROM meta").get() as MetaRow;
  }

  get term(): number {
    return this.#term;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Entries up to here have been compacted away. */
  get baseIndex(): number {
    return this.#meta().base_index;
  }

  /** Takes the next term, for good, before anything is said in it. */
  advanceTerm(): number {
    this.#db.prepare("UPDATE meta SET term = ?, vote = ?").run(this.#term + 1, this.identity.nodeId);
    this.#term++;
    return this.#term;
  }

  /** One transaction, one flush: on return all entries are on disk. They must follow the last one without a gap. */
  append(entries: readonly LogEntry[]): void {
    this.#db
      .transaction(() => {
        for (const { index, term, data } of entries) {
          if (index !== this.#lastIndex + 1) throw new Error(`log gap: ${index} after ${this.#lastIndex}`);
          const crc = chain(this.#lastCrc, index, term, data);
          this.#insert.run(index, term, data, crc);
          this.#lastIndex = index;
          this.#lastCrc = crc;
        }
      })
      .immediate();
  }

  /** Walks the log after `index`, checking the chain. @throws LogDamaged at the first row that does not fit */
  *entriesAfter(index: number): Generator<LogEntry> {
    const meta = this.#meta();
    let crc =
      index === meta.base_index
        ? meta.base_crc
        : (this.#db.query("SELECT crc FROM log WHERE idx = ?").get(index) as LogRow | null)?.crc;
    if (crc === undefined) throw new LogDamaged(`the log does not hold entry ${index}`);
    for (let after = index; ; ) {
      const rows = this.#page.all(after, PAGE);
      for (const row of rows) {
        crc = chain(crc, row.idx, row.term, row.data);
        if (row.idx !== after + 1 || row.crc !== crc)
          throw new LogDamaged(`log entry ${row.idx} does not fit its checksum`);
        after = row.idx;
        yield { index: row.idx, term: row.term, data: row.data };
      }
      if (rows.length < PAGE) return;
    }
  }

  /** Drops up to `limit` entries at or below `index`; the caller has made sure that nobody needs them. */
  compact(index: number, limit: number): number {
    return this.#db
      .transaction(() => {
        const { base_index } = this.#meta();
        const upTo = Math.min(index, base_index + limit, this.#lastIndex);
        if (upTo <= base_index) return 0;
        const row = this.#db.query("SELECT term, crc FROM log WHERE idx = ?").get(upTo) as LogRow;
        this.#db.prepare("UPDATE meta SET base_index = ?, base_term = ?, base_crc = ?").run(upTo, row.term, row.crc);
        this.#db.prepare("DELETE FROM log WHERE idx <= ?").run(upTo);
        return upTo - base_index;
      })
      .immediate();
  }

  close(): void {
    this.#db.close();
  }
}

function chain(previous: number, index: number, term: number, data: Uint8Array): number {
  const head = new Float64Array([previous, index, term]);
  return Bun.hash.crc32(data, Bun.hash.crc32(new Uint8Array(head.buffer)));
}
