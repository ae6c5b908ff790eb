/**
 * The file of a write-ahead log of SQLite, read without it: which of its frames are whole. A frame is a page behind a header;
 * each one's checksum covers all before it.
 *
 * @see https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 */
import { type FileHandle, open } from "node:fs/promises";

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** At the beginning of a log whose checksums are sums of little-endian words, as SQLite makes them on the machines we know. */
const MAGIC = 0x377f0682;
const SLICE_BYTES = 512 << 10;

/** Two sums of 32 bits, of words taken in pairs. */
class Checksum {
  #first = 0;
  #second = 0;

  /** @param end in bytes, as `start`; both are multiples of eight */
  add(words: DataView, start: number, end: number): void {
    let [first, second] = [this.#first, this.#second];
    for (let at = start; at < end; at += 8) {
      first = (first + words.getUint32(at, true) + second) >>> 0;
      second = (second + words.getUint32(at + 4, true) + first) >>> 0;
    }
    [this.#first, this.#second] = [first, second];
  }

  isAt(words: DataView, at: number): boolean {
    return words.getUint32(at) === this.#first && words.getUint32(at + 4) === this.#second;
  }
}

/** @returns how many frames are whole, from the first one on */
export function wholeFrames(log: Uint8Array): number {
  const words = new DataView(log.buffer, log.byteOffset, log.byteLength);
  if (log.length < HEADER_BYTES || words.getUint32(0) !== MAGIC) return 0;
  const pageBytes = words.getUint32(8);
  const checksum = new Checksum();
  checksum.add(words, 0, 24);
  if (!checksum.isAt(words, 24)) return 0;
  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  let frames = 0;
  for (let at = HEADER_BYTES; at + frameBytes <= log.length; at += frameBytes, frames++) {
    const isOfThisLog =
      words.getUint32(at + 8) === words.getUint32(16) && words.getUint32(at + 12) === words.getUint32(20);
    if (!isOfThisLog) break;
    checksum.add(words, at, at + 8);
    checksum.add(words, at + FRAME_HEADER_BYTES, at + frameBytes);
    if (!checksum.isAt(words, at + 16)) break;
  }
  return frames;
}

/**
 * Writes the frames of a log over themselves, and flushes them. After a failed flush the kernel takes pages for written that
 * are not on the disk, and a second flush would pass them over. Written anew, they are not. Another thread does all of it.
 *
 * @param frames that the log must have; nothing is written if one of them is not whole
 */
export async function writeAnew(path: string, frames: number, pageBytes: number): Promise<void> {
  if (frames === 0) return;
  const file = await open(path, "r+");
  try {
    const log = await readLog(file, HEADER_BYTES + frames * (FRAME_HEADER_BYTES + pageBytes));
    const whole = wholeFrames(log);
    if (whole < frames)
      throw new Error(`only ${whole} of ${frames} frames of ${path} are whole: start the worker again`);
    for (let done = 0; done < log.length; ) {
      const { bytesWritten } = await file.write(log, done, Math.min(SLICE_BYTES, log.length - done), done);
      done += bytesWritten;
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** @returns fewer bytes where the file ends before */
async function readLog(file: FileHandle, lengthBytes: number): Promise<Uint8Array> {
  const log = new Uint8Array(lengthBytes);
  for (let done = 0; done < lengthBytes; ) {
    const { bytesRead } = await file.read(log, done, Math.min(SLICE_BYTES, lengthBytes - done), done);
    if (bytesRead === 0) return log.subarray(0, done);
    done += bytesRead;
  }
  return log;
}
