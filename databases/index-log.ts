/**
 * The write-ahead log of a worker's index: what of it is on the disk, and when it is copied into the database. SQLite itself
 * flushes nothing but a transaction that asks for it at once; all else is flushed by another thread, and nobody waits for it
 * but those who need it.
 */
import type { Database } from "bun:sqlite";
import { closeSync, fdatasync, fdatasyncSync, openSync } from "node:fs";
import { promisify } from "node:util";
import { writeAnew } from "./log-file.ts";

/** The log is copied into the database when it has about this many bytes. */
const CHECKPOINT_BYTES = 16 << 20;

/** Makes a file durable without the event loop waiting for it. */
export type Flush = (file: number) => Promise<void>;
export const flushByThread: Flush = promisify(fdatasync);

export class IndexLog {
  readonly #database: Database;
  readonly #path: string;
  readonly #flush: Flush;
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

  /** @param path of the database */
  constructor(database: Database, path: string, flush: Flush) {
    this.#database = database;
    this.#path = path;
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
    return this.#bytes >= CHECKPOINT_BYTES && this.#failed === null;
  }

  /** Whether no flush has failed since the log was last written anew. */
  get isSound(): boolean {
    return this.#failed === null;
  }

  /** @throws if what was committed may not be on the disk, and no flush is going to change that */
  assertDurable(): void {
    if (this.#failed === "log") throw couldNotBeFlushed();
  }

  /** To be called before a transaction, which may overwrite the log. @throws if none is taken any more */
  beforeTransaction(): void {
    if (this.#failed !== null) throw couldNotBeFlushed();
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
    if (this.#failed !== null) throw couldNotBeFlushed();
    this.#isUnflushed = false;
    try {
      await this.#flush(this.#openFiles().log);
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
    if (this.#isUnflushed) return; // a transaction came after all: the next time
    const { main } = this.#openFiles();
    this.#copy();
    this.#isCopied = true;
    try {
      await this.#flush(main);
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
      this.#database.run("PRAGMA synchronous = FULL");
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
    if (this.#failed !== null) return false;
    this.beforeTransaction();
    this.#database.run("PRAGMA synchronous = FULL");
    this.#database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    return true;
  }

  /** To be called once the database is closed. */
  closeFiles(): void {
    if (this.#files) for (const file of Object.values(this.#files)) closeSync(file);
    this.#files = null;
  }

  #openFiles(): { main: number; log: number } {
    this.#files ??= { main: openSync(this.#path, "r"), log: openSync(this.#logPath, "r") };
    return this.#files;
  }
}

const couldNotBeFlushed = (): Error =>
  Object.assign(new Error("the index could not be flushed"), { code: "SQLITE_IOERR_FSYNC" });
