/**
 * What a node remembers of itself, `<data>/records.db`, and what a gateway collected from all of them,
 * `<data>/followed-records.db`. Both are rings: the oldest rows go when there are too many, or too many bytes.
 *
 * WAL with `synchronous = NORMAL`: what was appended survives the process; with the power, the last moments may go (never
 * torn: the database stays whole). Records explain, they do not decide, so no write waits for the disk. A node copies its
 * own log into the database while another thread flushes both; the records of that time wait in memory.
 */
import type { Database } from "bun:sqlite";
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ActorState, RecordCursor, StepRecord } from "../actors/messages/records.ts";
import { DatabaseRefused, openDatabase } from "./sqlite.ts";
import { CHECKPOINT_AT_LAST_PAGES, type Flush, WriteAheadLog } from "./write-ahead-log.ts";

export interface RingSize {
  keepRecords: number;
  keepBytes?: number;
}

const KEEP_BYTES = 64 << 20;
/** The log is copied into the database when it has about this many bytes. */
const CHECKPOINT_BYTES = 4 << 20;
/** What a record adds to the log beside its own bytes, about: a commit writes whole pages, two or three for a few records. */
const [BYTES_OF_A_RECORD, BYTES_OF_A_COMMIT] = [100, 8192];
/** Records that wait in memory at most. */
const MOST_HELD = 10_000;
/** Trimmed once per this many appended rows. */
const TRIM_EVERY = 1000;

const OWN_SCHEMA = `
  CREATE TABLE boots (boot INTEGER PRIMARY KEY, started_at INTEGER NOT NULL) STRICT;
  CREATE TABLE records (b INTEGER NOT NULL, q INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (b, q)) STRICT, WITHOUT ROWID;
  CREATE TABLE lost (one INTEGER PRIMARY KEY CHECK (one = 1), b INTEGER NOT NULL, q INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
  INSERT INTO lost VALUES (1, 0, 0, 0);
  PRAGMA user_version = 1;
`;

const parse = ({ data }: { data: string }): StepRecord => JSON.parse(data) as StepRecord;

/** @returns null if nothing is to be recorded, or another process has this directory: its owner says so soon enough */
export function openRecords(
  directory: string,
  { enabled, keepRecords }: { enabled: boolean; keepRecords: number },
): NodeRecords | null {
  return enabled ? openAnyway(join(directory, "records.db"), (path) => new NodeRecords(path, { keepRecords })) : null;
}

/** @returns null as `openRecords` */
export function openFollowedRecords(
  directory: string,
  { enabled, keepRecords }: { enabled: boolean; keepRecords: number },
): FollowedRecords | null {
  const open = (path: string): FollowedRecords => new FollowedRecords(path, { keepRecords });
  return enabled ? openAnyway(join(directory, "followed-records.db"), open) : null;
}

/** A damaged record of the past is put aside: it is no reason not to start. */
function openAnyway<Store>(path: string, open: (path: string) => Store): Store | null {
  try {
    return open(path);
  } catch (cause) {
    if (!(cause instanceof DatabaseRefused) || / in use /.test(cause.message) || !existsSync(path)) return null;
    renameSync(path, `${path}.damaged-${Date.now()}`);
    for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
    return open(path);
  }
}

/** One node's own records. */
export class NodeRecords {
  readonly boot: number;
  readonly previous: StepRecord | null;
  readonly #db: Database;
  readonly #keep: Required<RingSize>;
  #count: number;
  #bytes: number;
  #untrimmed = 0;
  readonly #log: WriteAheadLog;
  /** Came while the log was copied. */
  #held: StepRecord[] = [];
  #isCopying = false;

  /** @throws DatabaseRefused if another process has it open */
  constructor(path: string, { keepRecords, keepBytes = KEEP_BYTES }: RingSize, flush?: Flush) {
    this.#keep = { keepRecords, keepBytes };
    const checkpointPages = CHECKPOINT_AT_LAST_PAGES;
    this.#db = openDatabase({ path, schema: OWN_SCHEMA, schemaVersion: 1, synchronous: "NORMAL", checkpointPages });
    this.#log = new WriteAheadLog(this.#db, path, CHECKPOINT_BYTES, flush);
    this.#db.exec("PRAGMA cache_size = -2048");
    const last = this.#db.query<{ boot: number }, []>("SELECT max(boot) AS boot FROM boots").get();
    this.boot = (last?.boot ?? 0) + 1;
    this.#db.query("INSERT INTO boots VALUES (?, ?)").run(this.boot, Date.now());
    const row = this.#db.query<{ data: string }, []>("SELECT data FROM records ORDER BY b DESC, q DESC LIMIT 1").get();
    this.previous = row ? parse(row) : null;
    const size = this.#db
      .query<{ count: number; bytes: number | null }, []>(
        "SELECT count(*) AS count, sum(length(data)) AS bytes FROM records",
      )
      .get();
    this.#count = size?.count ?? 0;
    this.#bytes = size?.bytes ?? 0;
  }

  /** @throws if they cannot be written, or too many wait */
  append(records: readonly StepRecord[]): void {
    if (this.#isCopying) {
      if (this.#held.length + records.length > MOST_HELD) throw new Error(`${this.#held.length} records wait already`);
      this.#held.push(...records);
      return;
    }
    this.#insert(records);
    if (this.#log.isLong) void this.#copyLog();
  }

  #insert(records: readonly StepRecord[]): void {
    this.#log.beforeTransaction();
    const insert = this.#db.query("INSERT INTO records VALUES (?, ?, ?)");
    let bytes = 0;
    this.#db.transaction(() => {
      for (const record of records) {
        const data = JSON.stringify(record);
        insert.run(record.b, record.q, data);
        this.#count++;
        bytes += data.length;
      }
      this.#bytes += bytes;
      this.#untrimmed += records.length;
      if (this.#untrimmed >= Math.min(TRIM_EVERY, this.#keep.keepRecords)) this.#trim();
    })();
    this.#log.committed(false);
    this.#log.grow(bytes + BYTES_OF_A_RECORD * records.length + BYTES_OF_A_COMMIT);
  }

  async #copyLog(): Promise<void> {
    this.#isCopying = true;
    try {
      await this.#log.checkpoint();
    } catch {
      // What the disk refuses, the node's own work finds out. From now on `append` throws.
    }
    this.#isCopying = false;
    this.#insertHeld();
  }

  #insertHeld(): void {
    const held = this.#held;
    this.#held = [];
    try {
      if (held.length > 0) this.#insert(held);
    } catch {
      // they are lost, as with a process that is killed
    }
  }

  #trim(): void {
    this.#untrimmed = 0;
    const { keepRecords, keepBytes } = this.#keep;
    const average = this.#bytes / Math.max(1, this.#count);
    const tooMany = Math.max(this.#count - keepRecords, Math.ceil((this.#bytes - keepBytes) / average));
    if (tooMany <= 0) return;
    const last = this.#db
      .query<{ b: number; q: number }, [number]>("SELECT b, q FROM records ORDER BY b, q LIMIT 1 OFFSET +?")
      .get(tooMany - 1);
    if (!last) return;
    const gone = this.#db
      .query<{ count: number; bytes: number }, [number, number]>(
        "SELECT count(*) AS count, sum(length(data)) AS bytes FROM records WHERE (b, q) <= (?, ?)",
      )
      .get(last.b, last.q);
    this.#db.query("DELETE FROM records WHERE (b, q) <= (?, ?)").run(last.b, last.q);
    this.#db.query("UPDATE lost SET b = ?, q = ?").run(last.b, last.q);
    this.#count -= gone?.count ?? 0;
    this.#bytes -= gone?.bytes ?? 0;
  }

  /** `lost`: whether records after the cursor are gone already, as far as is known how many. */
  after({ boot, seq }: RecordCursor, limit: number): { records: StepRecord[]; oldest: RecordCursor; lost: number } {
    const records = this.#db
      .query<{ data: string }, [number, number, number]>(
        "SELECT data FROM records WHERE (b, q) > (+?, +?) ORDER BY b, q LIMIT +?",
      )
      .all(boot, seq, limit)
      .map(parse);
    const trimmed = this.#db.query<{ b: number; q: number }, []>("SELECT b, q FROM lost").get() ?? { b: 0, q: 0 };
    const missed = boot > 0 && (trimmed.b > boot || (trimmed.b === boot && trimmed.q > seq));
    return {
      records,
      oldest: { boot: trimmed.b, seq: trimmed.q },
      lost: missed ? (trimmed.b === boot ? trimmed.q - seq : trimmed.q) : 0,
    };
  }

  close(): void {
    this.#insertHeld();
    if (!this.#log.close()) return;
    this.#db.close();
    this.#log.closeFiles();
  }
}

const FOLLOWED_SCHEMA = `
  CREATE TABLE identity (store TEXT NOT NULL) STRICT;
  CREATE TABLE followed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    h TEXT NOT NULL, n TEXT NOT NULL, b INTEGER NOT NULL, q INTEGER NOT NULL,
    m TEXT NOT NULL, a TEXT NOT NULL, k TEXT NOT NULL, w TEXT, late INTEGER NOT NULL, data TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX followed_once ON followed (n, b, q);
  CREATE INDEX followed_in_order ON followed (h, n, b, q);
  CREATE INDEX followed_by_cause ON followed (w) WHERE w IS NOT NULL;
  CREATE INDEX followed_by_machine ON followed (m, h);
  CREATE INDEX followed_by_actor ON followed (n, a, h);
  CREATE TABLE actors (
    n TEXT NOT NULL, a TEXT NOT NULL, first_h TEXT NOT NULL, last_h TEXT NOT NULL, ended INTEGER NOT NULL,
    PRIMARY KEY (n, a)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE cursors (n TEXT PRIMARY KEY, boot INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT;
  PRAGMA user_version = 1;
`;

/** `id` grows in the order in which the gateway passed the records on; a stream resumes from it. */
export type FollowedRecord = StepRecord & { id: number; late: boolean };

interface FollowedRow {
  id: number;
  late: number;
  data: string;
}
const followed = ({ id, late, data }: FollowedRow): FollowedRecord => ({
  ...(JSON.parse(data) as StepRecord),
  id,
  late: late === 1,
});

/** The records of all nodes, merged. */
export class FollowedRecords {
  /** Made with the file: cursors of another file mean nothing here. */
  readonly storeId: string;
  readonly #db: Database;
  readonly #keepRecords: number;
  #untrimmed = 0;

  constructor(path: string, { keepRecords }: RingSize) {
    this.#keepRecords = keepRecords;
    this.#db = openDatabase({ path, schema: FOLLOWED_SCHEMA, schemaVersion: 1, synchronous: "NORMAL" });
    this.#db.exec("PRAGMA cache_size = -4096");
    const known = this.#db.query<{ store: string }, []>("SELECT store FROM identity").get();
    this.storeId = known?.store ?? crypto.randomUUID().slice(0, 8);
    if (!known) this.#db.query("INSERT INTO identity VALUES (?)").run(this.storeId);
  }

  /** @returns the records that were not known yet, with their places in the stream */
  append(records: readonly (StepRecord & { late?: boolean })[]): FollowedRecord[] {
    const insert = this.#db.query(
      "INSERT OR IGNORE INTO followed (h, n, b, q, m, a, k, w, late, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    const touch = this.#db.query(
      `INSERT INTO actors VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         first_h = min(first_h, excluded.first_h),
         ended = CASE WHEN excluded.last_h >= last_h THEN excluded.ended ELSE ended END,
         last_h = max(last_h, excluded.last_h)`,
    );
    // A process that starts anew takes nothing over: whatever ran in it before has ended.
    const endEarlier = this.#db.query("UPDATE actors SET ended = 1 WHERE n = ? AND last_h < ? AND a <> 'process'");
    const told: FollowedRecord[] = [];
    this.#db.transaction(() => {
      for (const { late = false, ...record } of records) {
        const { h, n, b, q, m, a, k, w } = record;
        const { changes, lastInsertRowid } = insert.run(
          h,
          n,
          b,
          q,
          m,
          a,
          k,
          w ?? null,
          late ? 1 : 0,
          JSON.stringify(record),
        );
        if (changes === 0) continue;
        if (k === "proc" && record.e === "started") endEarlier.run(n, h);
        if (k !== "sum" && k !== "refused" && k !== "mark" && k !== "gap") touch.run(n, a, h, h, record.z ?? 0);
        told.push({ ...record, id: Number(lastInsertRowid), late });
      }
      this.#untrimmed += told.length;
      if (this.#untrimmed >= TRIM_EVERY) this.#trim();
    })();
    return told;
  }

  #trim(): void {
    this.#untrimmed = 0;
    const newest = this.lastId();
    this.#db.query("DELETE FROM followed WHERE id <= ?").run(newest - this.#keepRecords);
    const oldest = this.oldest();
    if (oldest) this.#db.query("DELETE FROM actors WHERE ended = 1 AND last_h < ?").run(oldest.h);
  }

  cursorOf(n: string): RecordCursor {
    const row = this.#db.query<RecordCursor, [string]>("SELECT boot, seq FROM cursors WHERE n = ?").get(n);
    return row ?? { boot: 0, seq: 0 };
  }

  setCursor(n: string, { boot, seq }: RecordCursor): void {
    this.#db.query("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)").run(n, boot, seq);
  }

  lastId(): number {
    return this.#db.query<{ id: number | null }, []>("SELECT max(id) AS id FROM followed").get()?.id ?? 0;
  }

  oldest(): FollowedRecord | null {
    const row = this.#db
      .query<FollowedRow, []>("SELECT id, late, data FROM followed ORDER BY h, n, b, q LIMIT 1")
      .get();
    return row && followed(row);
  }

  /** In the order in which they were passed on. */
  since(id: number, limit: number): FollowedRecord[] {
    return this.#db
      .query<FollowedRow, [number, number]>("SELECT id, late, data FROM followed WHERE id > +? ORDER BY id LIMIT +?")
      .all(id, limit)
      .map(followed);
  }

  /** In causal order, clocks from `from` to `to`, both included. */
  between(from: string, to: string, limit: number, machine?: string): FollowedRecord[] {
    return machine === undefined
      ? this.#db
          .query<FollowedRow, [string, string, number]>(
            "SELECT id, late, data FROM followed WHERE h BETWEEN +? AND +? ORDER BY h, n, b, q LIMIT +?",
          )
          .all(from, to, limit)
          .map(followed)
      : this.#db
          .query<FollowedRow, [string, string, string, number]>(
            "SELECT id, late, data FROM followed WHERE m = +? AND h BETWEEN +? AND +? ORDER BY h, n, b, q LIMIT +?",
          )
          .all(machine, from, to, limit)
          .map(followed);
  }

  find(n: string, b: number, q: number): FollowedRecord | null {
    const row = this.#db
      .query<FollowedRow, [string, number, number]>(
        "SELECT id, late, data FROM followed WHERE n = ? AND b = ? AND q = ?",
      )
      .get(n, b, q);
    return row && followed(row);
  }

  causedBy(id: string, limit: number): FollowedRecord[] {
    return this.#db
      .query<FollowedRow, [string, number]>(
        "SELECT id, late, data FROM followed WHERE w = +? ORDER BY h, n, b, q LIMIT +?",
      )
      .all(id, limit)
      .map(followed);
  }

  /** The latest record of an actor before `h`. */
  before(n: string, a: string, h: string): FollowedRecord | null {
    const row = this.#db
      .query<FollowedRow, [string, string, string]>(
        "SELECT id, late, data FROM followed WHERE n = +? AND a = +? AND h < +? ORDER BY h DESC, q DESC LIMIT 1",
      )
      .get(n, a, h);
    return row && followed(row);
  }

  /** Every actor at that clock reading, and those that ended at `endedSince` or later. */
  statesAt(h: string, endedSince: string, limit: number): ActorState[] {
    const actors = this.#db
      .query<{ n: string; a: string }, [string, string, number]>(
        `SELECT n, a FROM actors WHERE first_h <= +? AND (ended = 0 OR last_h >= +?) LIMIT +?`,
      )
      .all(h, endedSince, limit);
    const found = actors.flatMap(({ n, a }): ActorState[] => {
      const row = this.#db
        .query<FollowedRow, [string, string, string]>(
          "SELECT id, late, data FROM followed WHERE n = +? AND a = +? AND h <= +? ORDER BY h DESC, q DESC LIMIT 1",
        )
        .get(n, a, h);
      if (!row) return [];
      const { b, q, h: at, t, m, s, v, c, tm, z } = followed(row);
      if (z && at < endedSince) return [];
      return [{ n, b, q, h: at, t, m, a, s, v, ...(c && { c }), ...(tm && { tm }), ...(z && { z }) }];
    });
    const boots = new Map<string, number>();
    for (const { n, b } of found) boots.set(n, Math.max(b, boots.get(n) ?? 0));
    return found.filter(({ n, b }) => b === boots.get(n));
  }

  close(): void {
    this.#db.close();
  }
}
