import { expect, test } from "bun:test";
import {
  chunkFileName,
  chunkIdOfFileName,
  decodeFooter,
  decodeTrailer,
  encodeTrailer,
  FOOTER_BYTES,
  type Trailer,
} from "../../actors/worker/store/shelves/chunk-file.ts";
import { wordsOf } from "../../actors/worker/store/shelves/flaw.ts";
import { blocksOf, crc32Of, randomBytes } from "./support.ts";

const content = randomBytes(3 * 4096 + 5);
const trailer: Trailer = {
  chunkId: 0x1234_5678_9abc,
  lengthBytes: content.length,
  blockSizeBytes: 4096,
  crc32: crc32Of(content),
  blockCrcs: Uint32Array.from(blocksOf(content), crc32Of),
  sealedAt: 1_795_404_975_994,
};
const bytes = encodeTrailer(trailer);
const fileBytes = content.length + bytes.length;
const footerOf = (all: Uint8Array) => all.subarray(all.length - FOOTER_BYTES);
const decodedFooter = () => {
  const { value, flaw } = decodeFooter(footerOf(bytes), fileBytes);
  if (flaw) throw new Error(wordsOf(flaw));
  return value;
};
const problemOf = (footer: Uint8Array, ofBytes: number): string => {
  const { flaw } = decodeFooter(footer, ofBytes);
  return flaw ? wordsOf(flaw) : "";
};

test("a trailer says what was written into it", () => {
  expect(decodeTrailer(decodedFooter(), bytes.subarray(0, -FOOTER_BYTES)).value).toEqual(trailer);
});

test("any flipped bit of a footer is noticed", () => {
  for (let at = 0; at < FOOTER_BYTES; at++) {
    const flipped = footerOf(bytes).slice();
    flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
    expect(decodeFooter(flipped, fileBytes).flaw?.kind).toBe("bad");
  }
});

test("any flipped bit of the block checksums is noticed", () => {
  const footer = decodedFooter();
  for (let at = 0; at < 16; at++) {
    const crcs = bytes.slice(0, 16);
    crcs[at] = (crcs[at] as number) ^ (1 << (at % 8));
    expect(decodeTrailer(footer, crcs).flaw?.kind).toBe("bad");
  }
});

test("a file of another size than its footer implies is refused", () => {
  expect(problemOf(footerOf(bytes), fileBytes - 1)).toContain("but its footer implies");
  expect(problemOf(bytes.subarray(0, 3), 3)).toContain("shorter");
});

test("file names lead back to their chunk, and other names to none", () => {
  expect(chunkFileName(0xabcd)).toBe("cd/000000000000abcd.chunk");
  expect(chunkIdOfFileName("000000000000abcd.chunk")).toBe(0xabcd);
  for (const name of ["000000000000abcd", "abcd.chunk", "000000000000abcd.chunk.tmp", "0000000000000000.chunk"])
    expect(chunkIdOfFileName(name)).toBeNull();
});
