/** What the disk can still take, and what its errors mean. */
import { statfsSync } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { Refusal } from "../../messages/errors.ts";
import type { WorkerCondition } from "../../messages/primitives.ts";

/** A disk with fewer free inodes takes no new file, however many bytes are free. */
const RESERVED_INODES = 64;

export interface DiskOptions {
  directory: string;
  /** Use no more than this; undefined: what the disk has. */
  capacityBytes?: number;
  /** Free disk below which the worker is full. */
  reservedBytes: number;
  /** The file system's own account; for tests. */
  statfs?: (path: string) => Account;
}

interface Account {
  bsize: number;
  blocks: number;
  bavail: number;
  files: number;
  ffree: number;
}

export class Disk {
  #options: DiskOptions;
  /** Set by the first error other than a full disk, until a probe succeeds. */
  failure: string | null = null;
  /** A probe of the disk does not mend the database. */
  #index: "well" | "unflushed" | "damaged" = "well";
  #account: Account | null = null;

  constructor(options: DiskOptions) {
    this.#options = options;
  }

  /** @param usedBytes what our own files take, for the configured capacity */
  space(usedBytes: number): { capacityBytes: number; freeBytes: number; condition: WorkerCondition } {
    const { capacityBytes: limit, reservedBytes } = this.#options;
    const { bsize, blocks, bavail, files, ffree } = this.#look();
    // Some file systems have no fixed number of inodes, and report 0.
    const hasInodes = files === 0 || ffree > RESERVED_INODES;
    const onDisk = hasInodes ? Math.max(0, bavail * bsize - reservedBytes) : 0;
    const freeBytes = limit === undefined ? onDisk : Math.max(0, Math.min(onDisk, limit - usedBytes));
    return {
      capacityBytes: limit === undefined ? blocks * bsize : limit,
      freeBytes,
      condition: this.failure ? "readOnly" : freeBytes === 0 ? "full" : "normal",
    };
  }

  /** All chunks that begin at the same moment, as those of one message do, share one question to the file system. */
  #look(): Account {
    if (this.#account !== null) return this.#account;
    const { directory, statfs = statfsSync } = this.#options;
    const account = statfs(directory);
    this.#account = account;
    queueMicrotask(() => {
      this.#account = null;
    });
    return account;
  }

  /** Whether a new chunk may begin. @throws NO_SPACE when full, READ_ONLY */
  admit(usedBytes: number): void {
    if (this.failure) throw new Refusal("READ_ONLY", `The disk refuses writes: ${this.failure}`);
    if (this.space(usedBytes).freeBytes === 0) throw new Refusal("NO_SPACE", "The worker is full");
  }

  /** @throws NO_SPACE if `bytes` more would pass the configured capacity. The disk's own limit shows in the write. */
  claim(usedBytes: number, bytes: number): void {
    const limit = this.#options.capacityBytes;
    if (limit !== undefined && usedBytes + bytes > limit)
      throw new Refusal("NO_SPACE", `The worker holds ${usedBytes} of the ${limit} bytes it may use`);
    if (this.failure) throw new Refusal("READ_ONLY", `The disk refuses writes: ${this.failure}`);
  }

  /** Writes and flushes a small file. @returns whether that worked, and so ended the failure */
  async probe(): Promise<boolean> {
    if (this.#index !== "well") return false;
    const path = join(this.#options.directory, "parts", "probe");
    try {
      const file = await open(path, "w", 0o600);
      try {
        await file.write(new Uint8Array(4096));
        await file.sync();
      } finally {
        await file.close();
      }
      await unlink(path);
      this.failure = null;
      return true;
    } catch (error) {
      this.failure = (error as Error).message;
      return false;
    }
  }

  /** Notes why nothing may be written, until a probe succeeds. */
  fail(reason: string): void {
    this.failure = reason;
  }

  /** The index takes no more changes until it is mended, or the worker starts again. Nothing that was acknowledged is lost. */
  indexFailed(error: unknown): void {
    if (this.#index === "well") this.#index = "unflushed";
    this.fail(`the index could not be flushed: ${(error as Error).message}`);
  }

  /** The index takes changes again; a probe shows whether the disk does. */
  indexMended(): void {
    if (this.#index === "unflushed") this.#index = "well";
  }

  /** Turns an error of a store operation into the error for the sender. An error of the disk makes the worker read-only. */
  refusal(error: unknown): unknown {
    if (error instanceof Refusal) return error;
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT" || code === "SQLITE_FULL")
      return new Refusal("NO_SPACE", `The disk is full: ${message}`);
    if (!isSystemError(error)) return error;
    if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) {
      this.#index = "damaged";
      this.fail(
        `${message}: stop the worker and put chunk-index.db aside; the next start makes it again from the chunk files`,
      );
    } else if (this.#index === "well") this.fail(message);
    return new Refusal("READ_ONLY", `The disk refuses writes: ${message}`);
  }
}

/** Of SQLite's errors, those that a mistake of this program makes. */
const OUR_MISTAKES = /^SQLITE_(CONSTRAINT|MISUSE|RANGE|MISMATCH|TOOBIG)/;

/**
 * Whether an error comes from the operating system or from the database below the store. No list of these errors is complete,
 * so an unknown one counts as the disk's until a probe of the disk succeeds.
 */
export function isSystemError(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  if (typeof code !== "string") return false;
  return code.startsWith("SQLITE_") ? !OUR_MISTAKES.test(code) : /^E(?!RR_)[A-Z0-9]+$/.test(code);
}
