/** Reads what chunk files say of themselves, and makes rows of it. */
import { type FileHandle, open } from "node:fs/promises";
import type { ChunkRow } from "../../../../databases/chunk-index.ts";
import { isSystemError } from "../disk.ts";
import { decodeFooter, decodeTrailer, FOOTER_BYTES, packCrcs, type Trailer } from "./chunk-file.ts";
import { bad, type Flaw, flawed, MISSING, type Read } from "./flaw.ts";

/** @throws what the file system says of this process, and not of the copy */
export async function readTrailer(path: string): Promise<Read<Trailer>> {
  try {
    const file = await open(path, "r");
    return await read(file).finally(() => file.close());
  } catch (error) {
    return flawed(flawOfError(error));
  }
}

async function read(file: FileHandle): Promise<Read<Trailer>> {
  const { size } = await file.stat();
  const footerBytes = new Uint8Array(FOOTER_BYTES);
  const { bytesRead } = await file.read(footerBytes, 0, FOOTER_BYTES, Math.max(0, size - FOOTER_BYTES));
  const footer = decodeFooter(footerBytes.subarray(0, bytesRead), size);
  if (footer.flaw) return footer;
  const { lengthBytes } = footer.value;
  const crcBytes = new Uint8Array(size - lengthBytes - FOOTER_BYTES);
  await file.read(crcBytes, 0, crcBytes.length, lengthBytes);
  return decodeTrailer(footer.value, crcBytes);
}

/** Errors of opening and reading that speak of this process and not of the copy. */
const OF_THE_PROCESS: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR"]);

/** @returns what an error of opening or reading says of the copy; @throws one that says nothing of it */
export function flawOfError(error: unknown): Flaw {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") return MISSING;
  if (isSystemError(error) && !OF_THE_PROCESS.has(String(code))) return bad(`it cannot be read: ${message}`);
  throw error;
}

/** The row of a sealed chunk file. */
export const rowOf = (trailer: Trailer, copyDecidedAt: number): ChunkRow => ({
  chunkId: trailer.chunkId,
  state: "sealed",
  shelf: "file",
  lengthBytes: trailer.lengthBytes,
  crc32: trailer.crc32,
  blockSizeBytes: trailer.blockSizeBytes,
  blockCrcs: packCrcs(trailer.blockCrcs),
  sealedAt: trailer.sealedAt,
  verifiedAt: trailer.sealedAt,
  copyDecidedAt,
});
