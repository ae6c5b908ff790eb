/** Reads what chunk files say of themselves, and makes rows of it. */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import type { ChunkRow } from "../../../../databases/chunk-index.ts";
import { isSystemError } from "../disk.ts";
import { decodeFooter, decodeTrailer, FOOTER_BYTES, packCrcs, type Trailer } from "./chunk-file.ts";

/** @returns in words what is wrong with it. Throws what the file system throws. */
export function readTrailer(path: string): Trailer | string {
  const file = openSync(path, "r");
  try {
    const { size } = statSync(path);
    const footerBytes = new Uint8Array(FOOTER_BYTES);
    const got = readSync(file, footerBytes, 0, FOOTER_BYTES, Math.max(0, size - FOOTER_BYTES));
    const footer = decodeFooter(footerBytes.subarray(0, got), size);
    if (typeof footer === "string") return footer;
    const crcBytes = new Uint8Array(size - footer.lengthBytes - FOOTER_BYTES);
    readSync(file, crcBytes, 0, crcBytes.length, footer.lengthBytes);
    return decodeTrailer(footer, crcBytes);
  } finally {
    closeSync(file);
  }
}

/** @returns the trailer, or in words what keeps it from being read; `missing` if there is no file */
export function trailerOrProblem(path: string): Trailer | string {
  try {
    return readTrailer(path);
  } catch (error) {
    return readProblem(error);
  }
}

/** Errors of opening and reading that speak of this process and not of the copy. */
const OF_THE_PROCESS: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR"]);

/** What an error of reading says of the copy; one that does not is thrown on. */
export function readProblem(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return "missing";
  if (isSystemError(error) && !OF_THE_PROCESS.has(String(code))) return `it cannot be read: ${message}`;
  throw error;
}

/** The row of a sealed chunk file. */
export const rowOf = (trailer: Trailer, copyDecidedAt: number): ChunkRow => ({
  chunkId: trailer.chunkId,
  state: "sealed",
  inline: false,
  lengthBytes: trailer.lengthBytes,
  crc32: trailer.crc32,
  blockSizeBytes: trailer.blockSizeBytes,
  blockCrcs: packCrcs(trailer.blockCrcs),
  sealedAt: trailer.sealedAt,
  verifiedAt: trailer.sealedAt,
  copyDecidedAt,
});
