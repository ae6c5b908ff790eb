/** Opening SQLite the way all our databases are: WAL, exclusive, checked. The only way in. */

import { Database } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

/** A database that cannot be used. */
export class DatabaseRefused extends Error {
  override name = "DatabaseRefused";

  /** @param why `inUse`: locked by another process; `newer`: a newer program's schema; `damaged`: no database, or a torn one */
  constructor(
    message: string,
    readonly why: "inUse" | "newer" | "damaged" | "unusable" = "unusable",
  ) {
    super(message);
  }
}

/** SQLite stays open, and its file locked, while a statement lives; this one takes its statements with it. */
class OwningDatabase extends Database {
  readonly #statements = new Set<{ finalize(): void }>();
  readonly #queries = new Map<string, unknown>();

  override prepare: Database["prepare"] = (...args: Parameters<Database["prepare"]>) => {
    const statement = super.prepare(...args);
    this.#statements.add(statement);
    return statement as never;
  };

  override query: Database["query"] = (sql: string) => {
    const statement = this.#queries.get(sql) ?? this.prepare(sql);
    this.#queries.set(sql, statement);
    return statement as never;
  };

  override close(): void {
    for (const statement of this.#statements) statement.finalize();
    super.close(true);
  }
}

export interface OpenOptions {
  path: string;
  schema: string;
  schemaVersion: number;
  /** SQL that leads from version n to n + 1, at place n - 1. */
  upgrades?: readonly string[];
  /** FULL: a COMMIT is on disk when it returns. NORMAL: it may be lost with the power, never torn. */
  synchronous: "FULL" | "NORMAL";
  /** Other connections of this process may read it too; something else must guard the folder against twin nodes. */
  isShared?: boolean;
  /** Of a new database; undefined: SQLite's own. */
  pageBytes?: number;
  /** Free pages at the end of a new database can be given back to the file system, some at a time. */
  canShrink?: boolean;
  cacheBytes?: number;
  /** The WAL is copied into the database when it has this many pages; undefined: SQLite's own. */
  checkpointPages?: number;
}

/**
 * Opens a database or makes it. WAL with `locking_mode=EXCLUSIVE`: a second process on the same file is refused, which
 * guards against twin nodes.
 */
export function openDatabase({
  path,
  schema,
  schemaVersion,
  upgrades = [],
  synchronous,
  isShared = false,
  pageBytes,
  canShrink = false,
  cacheBytes = 64 << 20,
  checkpointPages,
}: OpenOptions): Database {
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true });
  const db = new OwningDatabase(path, { create: true, strict: true });
  try {
    if (!isShared) db.exec("PRAGMA locking_mode = EXCLUSIVE");
    if (pageBytes !== undefined) db.exec(`PRAGMA page_size = ${pageBytes}`);
    // Asked of a database that is there, it would write to it.
    if (canShrink && schemaOf(db) === 0) db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    const { journal_mode } = db.query("PRAGMA journal_mode = WAL").get() as { journal_mode: string };
    if (path !== ":memory:" && journal_mode !== "wal") throw new DatabaseRefused(`${path} cannot use a WAL`);
    db.exec(
      `PRAGMA synchronous = ${synchronous}; PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -${Math.floor(cacheBytes / 1024)}`,
    );
    if (checkpointPages !== undefined) db.exec(`PRAGMA wal_autocheckpoint = ${checkpointPages}`);
    const version = schemaOf(db);
    if (version > schemaVersion)
      throw new DatabaseRefused(
        `${path} has schema ${version}; this program knows ${schemaVersion}. Use a newer program.`,
        "newer",
      );
    if (version === 0) db.transaction(() => db.exec(schema)).exclusive();
    else
      for (const [n, upgrade] of upgrades.slice(version - 1).entries())
        db.transaction(() => db.exec(`${upgrade}; PRAGMA user_version = ${version + n + 1}`)).exclusive();
    return db;
  } catch (cause) {
    db.close();
    if (cause instanceof DatabaseRefused) throw cause;
    const { message } = cause as Error;
    if (/locked|busy/i.test(message)) throw new DatabaseRefused(`${path} is in use by another process`, "inUse");
    throw new DatabaseRefused(`${path} cannot be opened: ${message}`, isDamage(cause) ? "damaged" : "unusable");
  }
}

/** 0: the database is new. */
const schemaOf = (db: Database): number =>
  (db.query("PRAGMA user_version").get() as { user_version: number }).user_version;

/** @returns true if another process has this database open as `openDatabase` opens it */
export function isInUse(path: string): boolean {
  const db = new Database(path, { readwrite: true, create: false });
  try {
    db.exec("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; ROLLBACK");
    return false;
  } catch (cause) {
    return /locked|busy/i.test((cause as Error).message);
  } finally {
    db.close(true);
  }
}

/** Writes a database as it stands at one moment into a new file. Other connections of this process go on using it. */
export function copyDatabase(from: string, to: string): void {
  const db = new Database(from, { readonly: true });
  try {
    db.query("VACUUM INTO ?").run(to);
  } finally {
    db.close();
  }
}

/** Reads the whole database, or one table with its indexes. @returns what is wrong, or null */
export function damageOf(db: Database, table?: string): string | null {
  const what = table === undefined ? "1" : `'${table}'`;
  const { quick_check: verdict } = db.query(`PRAGMA quick_check(${what})`).get() as { quick_check: string };
  return verdict === "ok" ? null : verdict;
}

/** Whether this error says that a database file is torn, and not that it is in use or of a newer program. */
export function isDamage(cause: unknown): boolean {
  if (cause instanceof DatabaseRefused) return cause.why === "damaged";
  return /^SQLITE_(NOTADB|CORRUPT)/.test((cause as { code?: string } | undefined)?.code ?? "");
}

/**
 * Checks a database beside a thread that goes on using it. One that has time goes table by table, and rests in between.
 *
 * @param dutyShare of the time; 1: in one go
 * @returns what is wrong, or null
 */
export async function checkDatabase(path: string, dutyShare: number): Promise<string | null> {
  const db = new OwningDatabase(path, { readonly: true });
  try {
    if (dutyShare >= 1) return damageOf(db);
    const tables = db.query("SELECT name FROM sqlite_schema WHERE type = 'table'").all() as { name: string }[];
    for (const { name } of tables) {
      const began = performance.now();
      const damage = damageOf(db, name);
      if (damage !== null) return `${name}: ${damage}`;
      await Bun.sleep((performance.now() - began) * (1 / dutyShare - 1));
    }
    return null;
  } finally {
    db.close();
  }
}
