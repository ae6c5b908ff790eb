/**
 * `master_metadata.db`: who this master is, its term and vote, and the log of commands. A COMMIT here is the moment at
 * which something is durable. Each row's checksum covers the one before, so a torn or swapped row is noticed.
 */
import type { Database, Statement } from "bun:sqlite";
import type { Configuration, RaftEntry } from "../actors/messages/raft.ts";
import { declareInvariant, type Invariant } from "../actors/rules/invariant.ts";
import { decodeConfiguration } from "../actors/rules/raft/membership.ts";
import { openDatabase } from "./sqlite.ts";

export interface MasterIdentity {
  clusterId: string;
  nodeId: string;
}

/** Where a new log starts: at nothing, or at a state that was restored. */
export interface Genesis extends MasterIdentity {
  configuration: Configuration;
}

/** One transaction: hard state, truncations and entries, all of it or nothing (P7). */
export interface LogWrite {
  hard: { term: number; vote: string | null } | null;
  changes: { truncateFrom: number | null; entries: readonly RaftEntry[] }[];
}

/** All that a master finds when it starts. */
export interface RecoveredLog {
  term: number;
  vote: string | null;
  baseIndex: number;
  baseTerm: number;
  entries: RaftEntry[];
  configuration: Configuration;
  configurationIndex: number;
  earlierConfigurations: { index: number; configuration: Configuration }[];
  /** Which generation of the applied state belongs to this log. */
  stateGeneration: number;
}

const SCHEMA_VERSION = 1;
const SCHEMA = `
CREATE TABLE meta (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  cluster_id TEXT NOT NULL, node_id TEXT NOT NULL, term INTEGER NOT NULL, vote TEXT,
  base_index INTEGER NOT NULL, base_term INTEGER NOT NULL, base_crc INTEGER NOT NULL,
  base_configuration TEXT NOT NULL, base_configuration_index INTEGER NOT NULL, state_generation INTEGER NOT NULL
) STRICT;
CREATE TABLE log (
  idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
PRAGMA user_version = ${SCHEMA_VERSION};
`;

/** Beside version 1, so that logs that are older than it go on. */
const INCARNATION = `
CREATE TABLE IF NOT EXISTS incarnation (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL) STRICT;
INSERT OR IGNORE INTO incarnation VALUES (1, lower(hex(randomblob(8))));
`;

/**
 * What is known of the file of the applied state, beside version 1 as well. It lies here because a commit here is durable:
 * "open" is on disk before anything is written to the state, whose own transactions may be lost with the power.
 */
const STATE_FILE = `
CREATE TABLE IF NOT EXISTS state_file (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  closed_generation INTEGER, closed_index INTEGER, closed_bytes INTEGER,
  damaged_generation INTEGER, checked_at REAL
) STRICT;
INSERT OR IGNORE INTO state_file VALUES (1, NULL, NULL, NULL, NULL, NULL);
`;

/** A state as it was closed. Whoever finds it otherwise knows that somebody else has written to it. */
export interface ClosedState {
  generation: number;
  index: number;
  bytes: number;
}

export interface StateFile {
  /** null: it was not closed, whole and flushed. */
  closed: ClosedState | null;
  /** This generation was found damaged. */
  damagedGeneration: number | null;
  /** When it was last found whole, ms since the epoch; null: never. */
  checkedAt: number | null;
}

const entriesFollow: Invariant = declareInvariant("log: entries follow each other");
const termsNeverFall: Invariant = declareInvariant("log: terms never fall along the log");
const storedTermNeverFalls: Invariant = declareInvariant("log: the stored term never falls");
const baseIsKept: Invariant = declareInvariant("log: nothing is cut off at or below the base");
const checksumsAreChained: Invariant = declareInvariant("log: the next checksum covers the last one on disk");

export class LogDamaged extends Error {
  override name = "LogDamaged";
}

interface LogRow {
  idx: number;
  term: number;
  kind: RaftEntry["kind"];
  data: Uint8Array;
  crc: number;
}

interface MetaRow {
  cluster_id: string;
  node_id: string;
  term: number;
  vote: string | null;
  base_index: number;
  base_term: number;
  base_crc: number;
  base_configuration: string;
  base_configuration_index: number;
  state_generation: number;
}

/** Entries read at once when the log is walked. */
const PAGE = 1000;

export class MasterLog {
  readonly identity: MasterIdentity;
  readonly #db: Database;
  readonly #insert: Statement<unknown, [number, number, string, Uint8Array, number]>;
  readonly #page: Statement<LogRow, [number, number]>;
  #baseIndex = 0;
  #lastIndex = 0;
  #lastTerm = 0;
  #lastCrc = 0;

  /** Names this data directory: a new one is another master, whatever its id. */
  readonly incarnation: string;

  /** @param genesis what to write into a new, empty log */
  constructor(path: string, genesis: Genesis) {
    this.#db = openDatabase({ path, schema: SCHEMA, schemaVersion: SCHEMA_VERSION, synchronous: "FULL" });
    this.#db
      .prepare("INSERT OR IGNORE INTO meta VALUES (1, ?, ?, 0, NULL, 0, 0, 0, ?, 0, 0)")
      .run(genesis.clusterId, genesis.nodeId, JSON.stringify(genesis.configuration));
    this.#db.exec(INCARNATION);
    this.#db.exec(STATE_FILE);
    this.incarnation = (this.#db.query("SELECT value FROM incarnation").get() as { value: string }).value;
    const meta = this.#meta();
    this.identity = { clusterId: meta.cluster_id, nodeId: meta.node_id };
    this.#insert = this.#db.prepare("INSERT INTO log (idx, term, kind, data, crc) VALUES (?, ?, ?, ?, ?)");
    this.#page = this.#db.prepare("SELECT * FROM log WHERE idx > +? ORDER BY idx LIMIT +?");
    this.#findEnd();
  }

  #meta(): MetaRow {
    return this.#db.query("SELECT * FROM meta").get() as MetaRow;
  }

  #findEnd(): void {
    const meta = this.#meta();
    const last = this.#db.query("SELECT idx, term, crc FROM log ORDER BY idx DESC LIMIT 1").get() as LogRow | null;
    this.#baseIndex = meta.base_index;
    this.#lastIndex = last?.idx ?? meta.base_index;
    this.#lastTerm = last?.term ?? meta.base_term;
    this.#lastCrc = last?.crc ?? meta.base_crc;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  /** Entries up to here have been compacted away. */
  get baseIndex(): number {
    return this.#meta().base_index;
  }

  get term(): number {
    return this.#meta().term;
  }

  get stateGeneration(): number {
    return this.#meta().state_generation;
  }

  /**
   * Reads all of it, checking every row against the chain. What an earlier process wrote and did not live to see flushed is
   * flushed first: its readers count on it.
   * @throws LogDamaged at the first row that does not fit
   */
  recover(): RecoveredLog {
    this.#db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    const meta = this.#meta();
    const entries: RaftEntry[] = [];
    const earlierConfigurations: RecoveredLog["earlierConfigurations"] = [];
    let configuration = JSON.parse(meta.base_configuration) as Configuration;
    let configurationIndex = meta.base_configuration_index;
    let crc = meta.base_crc;
    for (let after = meta.base_index, more = true; more; ) {
      const rows = this.#page.all(after, PAGE);
      more = rows.length === PAGE;
      for (const { idx, term, kind, data, crc: stored } of rows) {
        crc = chain(crc, idx, term, kind, data);
        if (idx !== after + 1 || stored !== crc) throw new LogDamaged(`log entry ${idx} does not fit its checksum`);
        after = idx;
        entries.push({ index: idx, term, kind, data });
        if (kind !== "configuration") continue;
        earlierConfigurations.push({ index: configurationIndex, configuration });
        configuration = decodeConfiguration(data);
        configurationIndex = idx;
      }
    }
    // A state that was fetched may be of a later term than this master has heard of: its votes bind no master there.
    const hard = meta.term >= this.#lastTerm ? meta : { term: this.#lastTerm, vote: null };
    return {
      term: hard.term,
      vote: hard.vote,
      baseIndex: meta.base_index,
      baseTerm: meta.base_term,
      entries,
      configuration,
      configurationIndex,
      earlierConfigurations,
      stateGeneration: meta.state_generation,
    };
  }

  get stateFile(): StateFile {
    const row = this.#db.query("SELECT * FROM state_file").get() as Record<string, number | null>;
    const { closed_generation: generation, closed_index: index, closed_bytes: bytes } = row;
    const isClosed = typeof generation === "number" && typeof index === "number" && typeof bytes === "number";
    return {
      closed: isClosed ? { generation, index, bytes } : null,
      damagedGeneration: row.damaged_generation ?? null,
      checkedAt: row.checked_at ?? null,
    };
  }

  /** To be called before the state is opened. On return it is on disk that it was. */
  noteStateOpened(): void {
    this.#db.exec("UPDATE state_file SET closed_generation = NULL, closed_index = NULL, closed_bytes = NULL");
  }

  /** To be called once the state is flushed, closed, and was found whole when it was opened. */
  noteStateClosed({ generation, index, bytes }: ClosedState): void {
    this.#db
      .query("UPDATE state_file SET closed_generation = ?, closed_index = ?, closed_bytes = ?")
      .run(generation, index, bytes);
  }

  /** @param at ms since the epoch */
  noteStateWhole(at: number): void {
    this.#db.query("UPDATE state_file SET damaged_generation = NULL, checked_at = ?").run(at);
  }

  /** The next start puts the state of this generation aside. */
  noteStateDamaged(): void {
    this.#db.query("UPDATE state_file SET damaged_generation = ?").run(this.stateGeneration);
  }

  /** Of the last entry, or of what was compacted away before it. */
  get lastTerm(): number {
    return this.#lastTerm;
  }

  /** Forgets term and vote. The caller has made sure that no master counts on a vote of this term or a later one. */
  resetTerm(term: number): void {
    this.#db.query("UPDATE meta SET term = ?, vote = NULL").run(term);
  }

  /** One transaction, one flush: on return all of it is on disk. */
  write({ hard, changes }: LogWrite): void {
    this.#db
      .transaction(() => {
        if (hard) this.#writeHard(hard);
        if (changes.length > 0) this.#assertEnd();
        for (const { truncateFrom, entries } of changes) {
          if (truncateFrom !== null) {
            baseIsKept.check(truncateFrom > this.#baseIndex, { truncateFrom, baseIndex: this.#baseIndex });
            this.#db.query("DELETE FROM log WHERE idx >= ?").run(truncateFrom);
            this.#findEnd();
          }
          for (const { index, term, kind, data } of entries) {
            entriesFollow.check(index === this.#lastIndex + 1, { index, lastIndex: this.#lastIndex });
            termsNeverFall.check(term >= this.#lastTerm, { index, term, lastTerm: this.#lastTerm });
            const crc = chain(this.#lastCrc, index, term, kind, data);
            this.#insert.run(index, term, kind, data, crc);
            this.#lastIndex = index;
            this.#lastTerm = term;
            this.#lastCrc = crc;
          }
        }
      })
      .immediate();
  }

  #writeHard({ term, vote }: NonNullable<LogWrite["hard"]>): void {
    const { changes } = this.#db.query("UPDATE meta SET term = ?1, vote = ?2 WHERE term <= ?1").run(term, vote);
    storedTermNeverFalls.check(changes === 1, { term, stored: this.term });
  }

  /** The end of the log on disk is the one that the next entry's checksum will cover. */
  #assertEnd(): void {
    const [index, crc] = [this.#lastIndex, this.#lastCrc];
    this.#findEnd();
    checksumsAreChained.check(index === this.#lastIndex && crc === this.#lastCrc, {
      ...{ index, crc, storedIndex: this.#lastIndex, storedCrc: this.#lastCrc },
    });
  }

  /**
   * Drops up to `limit` entries at or below `index`; the caller has made sure that no master needs them.
   * @returns the new base
   */
  compact(index: number, limit: number): number {
    return this.#db
      .transaction(() => {
        const meta = this.#meta();
        const upTo = Math.min(index, meta.base_index + limit, this.#lastIndex);
        if (upTo <= meta.base_index) return meta.base_index;
        const row = this.#db.query("SELECT term, crc FROM log WHERE idx = ?").get(upTo) as LogRow;
        const configured = this.#db
          .query("SELECT idx, data FROM log WHERE kind = 'configuration' AND idx <= +? ORDER BY idx DESC LIMIT 1")
          .get(upTo) as LogRow | null;
        if (configured)
          this.#db
            .query("UPDATE meta SET base_configuration = ?, base_configuration_index = ?")
            .run(JSON.stringify(decodeConfiguration(configured.data)), configured.idx);
        this.#db.query("UPDATE meta SET base_index = ?, base_term = ?, base_crc = ?").run(upTo, row.term, row.crc);
        this.#db.query("DELETE FROM log WHERE idx <= ?").run(upTo);
        return upTo;
      })
      .immediate();
  }

  /**
   * The applied state was replaced by a snapshot: one transaction points to its generation and moves the base to it. What
   * the log holds behind it is kept if the log agrees with the snapshot, dropped otherwise (P8).
   */
  adoptSnapshot(snapshot: { index: number; term: number; configuration: Configuration; generation: number }): void {
    const { index, term, configuration, generation } = snapshot;
    this.#db
      .transaction(() => {
        const own = this.#db.query("SELECT term, crc FROM log WHERE idx = ?").get(index) as LogRow | null;
        const keeps = own?.term === term;
        this.#db.query(keeps ? "DELETE FROM log WHERE idx <= ?" : "DELETE FROM log WHERE idx > 0 OR ? < 0").run(index);
        this.#db
          .query(
            `UPDATE meta SET base_index = ?, base_term = ?, base_crc = ?, base_configuration = ?,
             base_configuration_index = ?, state_generation = ?`,
          )
          .run(index, term, keeps ? own.crc : 0, JSON.stringify(configuration), index, generation);
      })
      .immediate();
    this.#findEnd();
  }

  close(): void {
    this.#db.close();
  }
}

function chain(previous: number, index: number, term: number, kind: string, data: Uint8Array): number {
  const head = new Float64Array([previous, index, term, kind.length]);
  return Bun.hash.crc32(data, Bun.hash.crc32(new Uint8Array(head.buffer)));
}
