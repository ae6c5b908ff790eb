/**
 * The write-ahead log of a database: what of it is on the disk, and when it is copied into the database. SQLite itself flushes
 * nothing but a transaction that asks for it at once; all else is flushed by another thread, and nobody waits for it but those
 * who need it.
 */
import type { Database } from "bun:sqlite";
import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";
import { basename } from "node:path";
import { promisify } from "node:util";
import { writeAnew } from "./log-file.ts";

/** SQLite copies a log of so many pages by itself, and has the event loop wait for that, only if nobody has done it by then. */
export const CHECKPOINT_AT_LAST_PAGES = 16_000;

/** Makes a file durable without the event loop waiting for it. */
export type Flush = (file: number) => Promise<void>;
const flushByThread: Flush = promisify(fdatasync);

export class WriteAheadLog {
  readonly #database: Database;
  readonly #path: string;
  readonly #flush: Flush;
  readonly #longBytes: number;
  /** Kept open as long as the database: closing a file gives up the locks that this process has on it. */
  #files: { main: number; log: number } | null = null;
  /** In the log and not yet in the database, about. */
  #bytes = 0;
  /** The log has transactions that no flush has covered. */
  #isUnflushed = true;
  /** The log lies in the database, which is not flushed yet. */
  #isCopied = false;
  /** What could not be flushed. What SQLite believes of it is not so: no more transactions are taken. */
  #failed: "log" | "database" | null = null;
  /** Flushes under way. */
  #flushes = 0;
  #isClosed = false;

  /**
   * @param path of the database
   * @param longBytes the log is to be copied when it has about this many bytes
   */
  constructor(database: Database, path: string, longBytes: number, flush: Flush = flushByThread) {
    this.#database = database;
    this.#path = path;
    this.#longBytes = longBytes;
    this.#flush = flush;
  }

  get #logPath(): string {
    return `${this.#path}-wal`;
  }

  /** Bytes that a change is about to add, about. */
  grow(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Whether it is long enough to be copied into the database. */
  get isLong(): boolean {
    return this.#bytes >= this.#longBytes && this.#failed === null;
  }

  /** Whether no flush has failed since the log was last written anew. */
  get isSound(): boolean {
    return this.#failed === null;
  }

  /** @throws if what was committed may not be on the disk, and no flush is going to change that */
  assertDurable(): void {
    if (this.#failed === "log") throw this.#unflushed();
  }

  /** To be called before a transaction, which may overwrite the log. @throws if none is taken any more */
  beforeTransaction(): void {
    if (this.#failed !== null) throw this.#unflushed();
    if (!this.#isCopied || this.#files === null) return;
    try {
      fdatasyncSync(this.#files.main);
      this.#isCopied = false;
    } catch (error) {
      this.#failed = "database";
      throw error;
    }
  }

  /** A transaction was committed. @param isFlushed SQLite has flushed it, and all before it */
  committed(isFlushed: boolean): void {
    this.#isUnflushed = !isFlushed;
  }

  /** Makes durable all that was committed before the call. @throws if that failed: `rewrite` alone can mend it */
  async flush(): Promise<void> {
    if (this.#failed !== null) throw this.#unflushed();
    this.#isUnflushed = false;
    try {
      await this.#flushFile(this.#openFiles().log);
    } catch (error) {
      this.#failed = "log";
      throw error;
    }
  }

  /**
   * Copies the log into the database, as SQLite does, but leaves both flushes to another thread: log first, then database.
   * Only after the second one may the log begin anew. So no transaction should come meanwhile; one that does flushes first.
   *
   * @throws if one could not be flushed. If it is the database, SQLite believes that all is copied, and what the log has on
   *   disk is all there is to rely on: the next start copies it again
   */
  async checkpoint(): Promise<void> {
    this.#bytes = 0;
    if (this.#isUnflushed) await this.flush();
    if (this.#isUnflushed || this.#isClosed) return; // a transaction came after all: the next time
    const { main } = this.#openFiles();
    this.#copy();
    this.#isCopied = true;
    try {
      await this.#flushFile(main);
      this.#isCopied = false;
    } catch (error) {
      this.#failed = "database";
      throw error;
    }
  }

  /** Into the page cache. */
  #copy(): void {
    this.#database.run("PRAGMA synchronous = OFF");
    try {
      this.#database.query("PRAGMA wal_checkpoint(PASSIVE)").all();
    } finally {
      this.#database.run("PRAGMA synchronous = NORMAL");
    }
  }

  /**
   * Writes all that was committed anew, and flushes it. To be called at the start, for the flush of a process before may have
   * failed; and after a failed flush, when the disk takes writes again. Then transactions are taken again.
   *
   * @throws if that failed; or if the copy in the database could not be flushed before
   */
  async rewrite(): Promise<void> {
    if (this.#failed === "database") throw new Error("what was copied is not on the disk: start the worker again");
    const { log: frames } = this.#database.query("PRAGMA wal_checkpoint(NOOP)").get() as { log: number };
    const { page_size } = this.#database.query("PRAGMA page_size").get() as { page_size: number };
    await writeAnew(this.#logPath, frames, page_size);
    this.#failed = null;
  }

  /** @returns whether the database may be closed: with it the log would go, which alone has everything if a flush failed */
  close(): boolean {
    this.#isClosed = true;
    if (this.#failed !== null) return false;
    this.beforeTransaction();
    this.#database.run("PRAGMA synchronous = FULL");
    this.#database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    return true;
  }

  /** To be called once the database is closed. A file that is being flushed is closed after that. */
  closeFiles(): void {
    if (this.#flushes > 0) return;
    if (this.#files) for (const file of Object.values(this.#files)) closeSync(file);
    this.#files = null;
  }

  async #flushFile(file: number): Promise<void> {
    this.#flushes++;
    try {
      await this.#flush(file);
    } finally {
      this.#flushes--;
      if (this.#isClosed && this.#failed === null) this.closeFiles();
    }
  }

  #openFiles(): { main: number; log: number } {
    this.#files ??= { main: openSync(this.#path, "r"), log: openSync(this.#logPath, "r") };
    return this.#files;
  }

  #unflushed(): Error {
    return Object.assign(new Error(`${basename(this.#path)} could not be flushed`), { code: "SQLITE_IOERR_FSYNC" });
  }
}
