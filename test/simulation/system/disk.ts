/**
 * What may go wrong with the disk of a simulated computer. The files are real ones, in memory; this says how long a step
 * takes, which ones fail, and what a loss of power takes back: bytes written since the last flush, names given since their
 * folder was flushed, and transactions that were not asked to be durable.
 */

// Not imported by name: that would settle what the shipped code gets, before `disk-calls.ts` has changed it.
const { closeSync, existsSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } =
  process.getBuiltinModule("node:fs");

export type DiskStep = "flush" | "open" | "rename" | "remove" | "list" | "read";

export interface OpenDatabase {
  filename: string;
  close(): void;
}

const LOG = "-wal";
/** A write-ahead log of this length may have been copied into its database, which flushes it. */
const LONG_LOG_BYTES = 3_500_000;
/** The applied state of masters is flushed now and then; all others with every transaction. */
const isLazy = (path: string): boolean => path.endsWith("dfs_metadata.db");

export class SimulatedDisk {
  /** All files of the computer are below it. */
  directory = "";
  /** Longest time that a step takes, ms. */
  slowestMs = 0.5;
  /** What flushes and new files fail with; null: they work. */
  failure: "EIO" | "ENOSPC" | null = null;
  readonly databases = new Set<OpenDatabase>();
  /** Path by file descriptor, of files open for writing. */
  readonly opened = new Map<number, string>();
  /** Files with bytes that no flush has covered, and how many bytes one has. */
  readonly #unflushed = new Map<string, number>();
  /** Names that a loss of power may take back, by folder: to → from. */
  readonly #renamed = new Map<string, string>();
  /** Per database, how long its write-ahead log was when all in it was durable. */
  readonly #durableLog = new Map<string, number>();
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** @returns how long the step takes, ms. @throws what the disk says */
  step(kind: DiskStep, path: string): number {
    if (this.failure && (kind === "flush" || kind === "rename"))
      throw Object.assign(new Error(`${this.failure}: the simulated disk refuses, ${kind} '${path}'`), {
        code: this.failure,
      });
    return kind === "flush" ? this.#random() * this.slowestMs : 0.02;
  }

  wrote(path: string): void {
    if (!this.#unflushed.has(path)) this.#unflushed.set(path, statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  }

  /** How long the write-ahead log of a database is; 0 for any other file. */
  logLength(path: string): number {
    return path.endsWith(LOG) ? sizeOf(path) : 0;
  }

  /**
   * A file was flushed, or a folder: then the names in it are as durable as its files.
   *
   * @param covered the length of a write-ahead log when its flush began
   */
  flushed(path: string, covered: number): void {
    if (path.endsWith(LOG)) this.#logFlushed(path.slice(0, -LOG.length), covered);
    this.#unflushed.delete(path);
    for (const to of this.#renamed.keys()) if (to.startsWith(`${path}/`)) this.#renamed.delete(to);
  }

  #logFlushed(database: string, covered: number): void {
    this.#durableLog.set(database, Math.max(this.#durableLog.get(database) ?? 0, covered));
  }

  renamed(from: string, to: string): void {
    const size = this.#unflushed.get(from);
    if (size !== undefined) {
      this.#unflushed.delete(from);
      this.#unflushed.set(to, size);
    }
    this.#renamed.set(to, from);
  }

  /** From here on a loss of power takes nothing back of what this database holds now. */
  becameDurable(database: string): void {
    this.#durableLog.set(database, sizeOf(`${database}-wal`));
  }

  /** The programs are gone, the computer runs on: everything written is there. */
  closeAll(): void {
    for (const database of this.databases) database.close();
    this.databases.clear();
    for (const file of this.opened.keys()) closeSync(file);
    this.opened.clear();
  }

  /** The power is gone, and with it any part of what was not flushed. */
  losePower(): void {
    const paths = new Set([...this.databases].map(({ filename }) => filename).filter((path) => existsSync(path)));
    const kept = [...paths].map((path) => {
      const log = existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : null;
      const size = log?.length ?? 0;
      const durable = size > LONG_LOG_BYTES ? size : (this.#durableLog.get(path) ?? (isLazy(path) ? 0 : size));
      const length = Math.min(size, Math.floor(durable + this.#random() * Math.max(0, size - durable)));
      return { path, main: readFileSync(path), log: log?.subarray(0, length) };
    });
    this.closeAll();
    for (const { path, main, log } of kept) {
      rmSync(`${path}-wal`, { force: true });
      rmSync(`${path}-shm`, { force: true });
      writeFileSync(path, main);
      if (log) writeFileSync(`${path}-wal`, log);
    }
    for (const [path, size] of this.#unflushed)
      if (existsSync(path))
        truncateSync(path, Math.min(sizeOf(path), Math.floor(size + this.#random() * (sizeOf(path) - size))));
    for (const [to, from] of [...this.#renamed].reverse())
      if (this.#random() < 0.5 && existsSync(to) && !existsSync(from)) renameSync(to, from);
    this.#unflushed.clear();
    this.#renamed.clear();
  }
}

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
