/**
 * A chunk's file while it is written. Nothing here is waited for by the event loop: it is opened, written, flushed and closed
 * by the runtime's threads.
 *
 * Whole pages of big blocks go past the page cache (`O_DIRECT`) where the file system takes that: the kernel then neither
 * allocates pages for them nor writes them back later, which costs it more than the write itself. All else (short blocks,
 * the last one, the trailer) goes through the page cache. No page is written both ways while it has one length, so the two
 * never meet; and a flush covers both.
 */
import { ptr } from "bun:ffi";
import { close, constants, fdatasync, open, write } from "node:fs";
import { promisify } from "node:util";

const openAsync = promisify(open);
const fdatasyncAsync = promisify(fdatasync);
const closeAsync = promisify(close);

/** What a direct write has to be a multiple of, in memory and in the file: the largest that file systems ask for. */
const PAGE_BYTES = 4096;
/** Below this, a direct write costs more in waiting than it saves in copying. */
const DIRECT_FROM_BYTES = 128 << 10;
/** Aligned copies that are kept for the next block whose memory is not aligned. */
const MOST_SPARES = 4;

const { O_CREAT, O_DIRECT, O_TRUNC, O_WRONLY } = constants;

/** Whether blocks go past the page cache, for all files of one store: what one of them learns, holds for the others. */
export class DirectWrites {
  readonly #spares: Uint8Array[] = [];

  /** @param isOn false: the file system does not take them, or they are not wanted */
  constructor(public isOn: boolean) {}

  takes(bytes: Uint8Array, offset: number): boolean {
    return this.isOn && bytes.length >= DIRECT_FROM_BYTES && (bytes.length | offset) % PAGE_BYTES === 0;
  }

  /** @returns the bytes at an address that a direct write takes; to be given back by `release` */
  aligned(bytes: Uint8Array): Uint8Array {
    if (ptr(bytes) % PAGE_BYTES === 0) return bytes;
    let spare = this.#spares.pop();
    if (spare === undefined || spare.length < bytes.length) {
      const room = new Uint8Array(bytes.length + PAGE_BYTES);
      const start = (PAGE_BYTES - (ptr(room) % PAGE_BYTES)) % PAGE_BYTES;
      spare = room.subarray(start, start + bytes.length);
    }
    spare.set(bytes);
    return spare.length === bytes.length ? spare : spare.subarray(0, bytes.length);
  }

  /** @param copy what `aligned` returned for `bytes` */
  release(bytes: Uint8Array, copy: Uint8Array): void {
    if (copy !== bytes && this.#spares.length < MOST_SPARES) this.#spares.push(copy);
  }
}

export class PartFile {
  /** It could not be opened, and takes nothing. */
  isBroken = false;
  readonly #buffered: Promise<number>;
  /** Begun by the first block that is written past the page cache; null: the file system does not take that. */
  #direct: Promise<number | null> | null = null;
  readonly #directWrites: DirectWrites;
  /** Writes and flushes. */
  readonly #underWay = new Set<Promise<unknown>>();
  #isClosed = false;

  /** @param path where it lies; moves when the chunk is put on its shelf */
  constructor(
    public path: string,
    directWrites: DirectWrites,
  ) {
    this.#directWrites = directWrites;
    this.#buffered = openAsync(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600);
    this.#buffered.catch(() => {
      this.isBroken = true; // everyone who writes is told why
    });
  }

  /**
   * The bytes must stay as they are until it has settled: they are read by another thread.
   *
   * @returns how many bytes wait in the page cache for a flush
   */
  write(bytes: Uint8Array, offset: number): Promise<number> {
    return this.#use(async (buffered) => {
      const written = this.#directWrites.takes(bytes, offset) ? await this.#writeDirect(bytes, offset) : 0;
      for (let done = written; done < bytes.length; )
        done += await writeSome(buffered, bytes.subarray(done), offset + done);
      return bytes.length - written;
    });
  }

  /** Makes all bytes durable that were written before. */
  flush(): Promise<void> {
    return this.#use((file) => fdatasyncAsync(file));
  }

  /** Once its descriptor is closed, it may be that of another file: so it is not closed under a write or a flush. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#underWay);
    for (const opened of [this.#direct, this.#buffered]) {
      const file = (await opened?.catch(() => null)) ?? null;
      if (file !== null) await closeAsync(file);
    }
  }

  #use<T>(work: (file: number) => Promise<T>): Promise<T> {
    if (this.#isClosed) return Promise.reject(new Error(`${this.path} is closed`));
    const done = this.#buffered.then(work).finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
    return done;
  }

  /** @returns how many bytes it has written; the rest is to go through the page cache */
  async #writeDirect(bytes: Uint8Array, offset: number): Promise<number> {
    this.#direct ??= openAsync(this.path, O_WRONLY | O_DIRECT).catch((error) => {
      this.#direct = null;
      return this.#withoutDirect(error, null);
    });
    const direct = await this.#direct;
    if (direct === null) return 0;
    const copy = this.#directWrites.aligned(bytes);
    try {
      return await writeSome(direct, copy, offset);
    } catch (error) {
      return this.#withoutDirect(error, 0);
    } finally {
      this.#directWrites.release(bytes, copy);
    }
  }

  /** EINVAL says that the file system takes no direct writes, or none of this alignment. @throws any other error */
  #withoutDirect<T>(error: unknown, otherwise: T): T {
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
    this.#directWrites.isOn = false;
    return otherwise;
  }
}

/** @returns how many of the bytes were written */
const writeSome = (file: number, bytes: Uint8Array, offset: number): Promise<number> =>
  new Promise((resolve, reject) => {
    write(file, bytes, 0, bytes.length, offset, (error, written) => (error ? reject(error) : resolve(written)));
  });
