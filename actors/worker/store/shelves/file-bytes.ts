/**
 * Bytes of a file as the body of an answer, so that the event loop does not wait for the disk. What the kernel has in its page
 * cache, the runtime sends by itself, without a copy. All else another thread reads, as fast as the reader takes it.
 */
import { FFIType, ptr } from "bun:ffi";
import { closeSync, openSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { openCLibrary } from "../../../node/c-library.ts";

/** Bytes as an answer can carry them. */
export type Bytes = Blob | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>>;

const SLICE_BYTES = 512 << 10;

const C_FUNCTIONS = {
  mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: FFIType.i64_fast },
  mincore: { args: ["i64", "u64", "ptr"], returns: "i32" },
  munmap: { args: ["i64", "u64"], returns: "i32" },
  getpagesize: { args: [], returns: "i32" },
} as const;
const [PROT_READ, MAP_SHARED, MAP_FAILED] = [1, 1, -1];

export class PageCache {
  #libc: ReturnType<typeof openCLibrary<typeof C_FUNCTIONS>> | undefined;
  /** A byte per page; its lowest bit says whether the page can be read at once. */
  #pages = new Uint8Array(1024);

  /** Whether all of the file's bytes `[start, end)` can be read without the disk. False, if the kernel cannot tell. */
  holds(path: string, start: number, end: number): boolean {
    let file: number | undefined;
    try {
      file = openSync(path, "r");
      return this.#holds(file, start, end);
    } catch {
      return false; // whoever reads it finds out why
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  /** A page that is only on its way from the disk does not count, so the kernel is asked of pages, not of how many there are. */
  #holds(file: number, start: number, end: number): boolean {
    this.#libc ??= openCLibrary(C_FUNCTIONS);
    const libc = this.#libc;
    if (libc === null) return false;
    const pageBytes = libc.getpagesize();
    const offset = start - (start % pageBytes);
    const length = end - offset;
    const pages = Math.ceil(length / pageBytes);
    if (this.#pages.length < pages) this.#pages = new Uint8Array(pages);
    const address = libc.mmap(null, length, PROT_READ, MAP_SHARED, file, offset);
    if (Number(address) === MAP_FAILED) return false;
    try {
      return libc.mincore(address, length, ptr(this.#pages)) === 0 && !this.#pages.subarray(0, pages).includes(0);
    } finally {
      libc.munmap(address, length);
    }
  }
}

const pageCache = new PageCache();

/** Bytes `[start, end)` of a file. */
export const fileBytes = (path: string, start: number, end: number): Bytes =>
  pageCache.holds(path, start, end) ? Bun.file(path).slice(start, end) : readByThread(path, start, end);

function readByThread(path: string, start: number, end: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  let file: FileHandle | null = null;
  let at = start;
  let reading: Promise<unknown> = Promise.resolve();
  /** Never under a read: its descriptor could be another file's by then. */
  const close = async () => {
    await reading.catch(() => {});
    await file?.close();
    file = null;
  };
  const readSome = async (): Promise<Uint8Array<ArrayBuffer>> => {
    file ??= await open(path, "r");
    const slice = new Uint8Array(Math.min(SLICE_BYTES, end - at));
    const { bytesRead } = await file.read(slice, 0, slice.length, at);
    if (bytesRead === 0) throw new Error(`${path} ends before byte ${end}`);
    at += bytesRead;
    return slice.subarray(0, bytesRead);
  };
  return new ReadableStream({
    async pull(controller) {
      const read = readSome();
      reading = read;
      try {
        controller.enqueue(await read);
        if (at < end) return;
      } catch (error) {
        await close();
        throw error;
      }
      await close();
      controller.close();
    },
    cancel: close,
  });
}
