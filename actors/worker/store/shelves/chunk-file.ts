/**
 * The file of one sealed chunk, which describes itself: data first, so that block n starts at n × block size, then a
 * trailer. All numbers little-endian.
 *
 *     data                 length bytes
 *     block CRC-32s        u32 each, one per block
 *     footer, 64 bytes     0  "DFSCHUNK"
 *                          8  u32 version = 1
 *                         12  u32 block size
 *                         16  u64 chunk id
 *                         24  u64 length
 *                         32  u32 number of blocks
 *                         36  u32 CRC-32 of the data
 *                         40  u64 sealed at, ms since the epoch
 *                         48  12 bytes of zero
 *                         60  u32 CRC-32 of the footer's first 60 bytes
 *
 * The block CRCs combine into the data's CRC, so a reader of the trailer knows whether all of it is whole.
 */
import type { ChunkId } from "../../../messages/primitives.ts";
import { blockCount } from "../../../rules/byte-range.ts";
import { formatChunkId, parseChunkId } from "../../../rules/chunk-id.ts";
import { crc32OfBlocks } from "../../../rules/crc32.ts";
import { bad, flawed, good, type Read } from "./flaw.ts";

export const FOOTER_BYTES = 64;
const MAGIC = 0x4b4e_5548_4353_4644n; // "DFSCHUNK"
const VERSION = 1;

export interface Trailer {
  chunkId: ChunkId;
  lengthBytes: number;
  blockSizeBytes: number;
  crc32: number;
  blockCrcs: Uint32Array;
  sealedAt: number;
}

export const trailerBytes = (blocks: number): number => 4 * blocks + FOOTER_BYTES;

/** The spelling of block CRCs in files, rows and messages. */
export function packCrcs(crcs: Uint32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 * crcs.length);
  const view = new DataView(bytes.buffer);
  crcs.forEach((crc, n) => {
    view.setUint32(4 * n, crc, true);
  });
  return bytes;
}

export function unpackCrcs(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Uint32Array.from({ length: bytes.length >>> 2 }, (_, n) => view.getUint32(4 * n, true));
}

export function encodeTrailer(trailer: Trailer): Uint8Array<ArrayBuffer> {
  const crcBytes = 4 * trailer.blockCrcs.length;
  const bytes = new Uint8Array(crcBytes + FOOTER_BYTES);
  bytes.set(packCrcs(trailer.blockCrcs));
  const footer = new DataView(bytes.buffer, crcBytes);
  footer.setBigUint64(0, MAGIC, true);
  footer.setUint32(8, VERSION, true);
  footer.setUint32(12, trailer.blockSizeBytes, true);
  footer.setBigUint64(16, BigInt(trailer.chunkId), true);
  footer.setBigUint64(24, BigInt(trailer.lengthBytes), true);
  footer.setUint32(32, trailer.blockCrcs.length, true);
  footer.setUint32(36, trailer.crc32, true);
  footer.setBigUint64(40, BigInt(trailer.sealedAt), true);
  footer.setUint32(60, Bun.hash.crc32(bytes.subarray(crcBytes, crcBytes + 60)), true);
  return bytes;
}

/** @param footer the file's last FOOTER_BYTES; fewer if the file is shorter */
export function decodeFooter(footer: Uint8Array, fileBytes: number): Read<Omit<Trailer, "blockCrcs">> {
  const refuse = (problem: string): Read<never> => flawed(bad(problem));
  if (footer.length < FOOTER_BYTES) return refuse("the file is shorter than a footer");
  const view = new DataView(footer.buffer, footer.byteOffset, FOOTER_BYTES);
  if (view.getBigUint64(0, true) !== MAGIC) return refuse("the file does not end in a chunk footer");
  if (view.getUint32(60, true) !== Bun.hash.crc32(footer.subarray(0, 60)))
    return refuse("the footer's checksum is wrong");
  const version = view.getUint32(8, true);
  if (version !== VERSION) return refuse(`the format is version ${version}, not ${VERSION}`);
  const lengthBytes = Number(view.getBigUint64(24, true));
  const blockSizeBytes = view.getUint32(12, true);
  const blocks = view.getUint32(32, true);
  if (blockSizeBytes === 0 || blocks !== blockCount(lengthBytes, blockSizeBytes))
    return refuse(`${blocks} blocks of ${blockSizeBytes} bytes do not make ${lengthBytes} bytes`);
  const impliedBytes = lengthBytes + trailerBytes(blocks);
  if (fileBytes !== impliedBytes)
    return refuse(`the file has ${fileBytes} bytes, but its footer implies ${impliedBytes}`);
  return good({
    chunkId: Number(view.getBigUint64(16, true)),
    lengthBytes,
    blockSizeBytes,
    crc32: view.getUint32(36, true),
    sealedAt: Number(view.getBigUint64(40, true)),
  });
}

/** @param crcBytes the list of block CRCs that lies before the footer */
export function decodeTrailer(footer: Omit<Trailer, "blockCrcs">, crcBytes: Uint8Array): Read<Trailer> {
  const blockCrcs = unpackCrcs(crcBytes);
  if (crc32OfBlocks(blockCrcs, footer.lengthBytes, footer.blockSizeBytes) !== footer.crc32)
    return flawed(bad("the block checksums do not combine into the chunk's"));
  return good({ ...footer, blockCrcs });
}

/** `ab/00000000000000ab.chunk`: spread over 256 folders by the id's last byte, which consecutive ids fill evenly. */
export function chunkFileName(chunkId: ChunkId): string {
  const name = formatChunkId(chunkId);
  return `${name.slice(-2)}/${name}.chunk`;
}

/** @returns null if that is the name of no chunk's file */
export const chunkIdOfFileName = (name: string): ChunkId | null =>
  name.endsWith(".chunk") ? parseChunkId(name.slice(0, -".chunk".length)) : null;
