/** The data path's invariants: each is one that a mistake can break. */
import { expect, test } from "bun:test";
import type { LocatedChunk } from "../../actors/messages/questions.ts";
import { InvariantBroken } from "../../actors/rules/invariant.ts";
import type { Bytes } from "../../gateway/ports/transfers.ts";
import type { BlockSource } from "../../gateway/transfer/block-source.ts";
import { BlockBuffers } from "../../gateway/transfer/buffers.ts";
import { ByteBudget } from "../../gateway/transfer/byte-budget.ts";
import { ChunkWriter, type ChunkWriterOptions } from "../../gateway/transfer/chunk-writer.ts";
import type { LocatedFile } from "../../gateway/transfer/located-file.ts";
import { Download } from "../../gateway/transfer/reader.ts";
import { Slots } from "../../gateway/transfer/slots.ts";
import { bodyOf, sampleBytes } from "../support/bodies.ts";
import { CHUNK, GatewayCluster } from "../support/gateway-cluster.ts";

/** @returns the claim that broke */
const broken = (work: () => unknown): Promise<string> =>
  (async () => work())().then(
    () => "none",
    (error) => (error instanceof InvariantBroken ? error.claim : String(error)),
  );
const never = new AbortController().signal;
const nothing = () => {};

test("held bytes are never negative, and beyond the limit by the allowance at most", async () => {
  expect(await broken(() => new ByteBudget(10).give(1))).toBe("buffers: held bytes >= 0");
  const budget = new ByteBudget(10);
  budget.exceed(8, 0);
  budget.exceed(8, 6);
  expect(await broken(() => budget.exceed(1, 6))).toBe("buffers: held bytes <= limit + allowance");
});

test("a buffer is given back once, and by the share that took it", async () => {
  const claim = "buffers: a buffer is given back once, by the one that took it";
  const buffers = new BlockBuffers(64, 640);
  const [one, other] = [buffers.share(), buffers.share()];
  const buffer = await one.take(64, never);
  expect(await broken(() => other.give(buffer))).toBe(claim);
  one.give(buffer);
  expect(await broken(() => one.give(buffer))).toBe(claim);
  expect(await broken(() => one.arrived(-1))).toBe("buffers: bytes that arrived and are not filled in yet >= 0");
});

test("no more slots are given back than were taken", async () => {
  const slots = new Slots("downloads", 1);
  slots.take();
  expect(() => slots.take()).toThrow("1 downloads are under way");
  slots.give();
  expect(await broken(() => slots.give())).toBe("transfers: 0 <= slots taken <= slots");
});

const chunk: LocatedChunk = { chunkId: 1, offset: 0, lengthBytes: 100, crc32: 0, workerIds: ["a"] } as LocatedChunk;
function download(ranges: { start: number; endExclusive: number }[], located: LocatedChunk, blocks: Bytes) {
  const tools = {
    located: { chunkAt: async () => located } as unknown as LocatedFile,
    source: {
      layout: async () => ({ blockSizeBytes: 10, blockCrcs: new Uint32Array(10) }),
      blocks: async () => blocks,
    } as unknown as BlockSource,
    budget: new ByteBudget(1000),
    readAheadBytes: 10,
    firstByteMs: 1000,
    passing: false,
    onBytes: nothing,
    onEnd: nothing,
  };
  return new Download(tools, ranges).stream(undefined).getReader();
}

test("a download's chunks overlap its range, its blocks follow each other, and no more is sent than was asked for", async () => {
  const beyond = download([{ start: 0, endExclusive: 10 }], { ...chunk, offset: 50 }, sampleBytes(10));
  expect(await broken(() => beyond.read())).toBe("downloads: a located chunk overlaps the range");
  const short = download([{ start: 5, endExclusive: 10 }], chunk, sampleBytes(3));
  expect(await broken(() => short.read())).toBe("downloads: fetched blocks hold the next byte to send");
  const range = { start: 0, endExclusive: 5 };
  const widened = download([range], chunk, sampleBytes(10));
  range.endExclusive = 10;
  expect(await broken(() => widened.read())).toBe("downloads: bytes sent <= bytes asked");
});

function chunkWriter() {
  const options = {
    placed: { chunkId: 1, workerIds: [], release: nothing },
    copies: { replicationFactor: 0, minReplicas: 0 },
    blockSizeBytes: 10,
    chunkSizeBytes: 100,
    route: "auto",
    onHeld: nothing,
    onWorkerLost: nothing,
    onWorkerReplaced: nothing,
  };
  return new ChunkWriter(options as unknown as ChunkWriterOptions);
}

test("a chunk's blocks are full but the last, and together as long as the chunk", async () => {
  const writer = chunkWriter();
  expect(await broken(() => writer.write(sampleBytes(3), 0))).toStartWith("Refusal: Cannot store chunk");
  expect(await broken(() => writer.write(sampleBytes(3), 0))).toBe("uploads: only the last block of a chunk is short");
  const claim = "uploads: a sealed chunk is as long as its blocks together";
  expect(await broken(() => chunkWriter().writeWhole(sampleBytes(11), 0))).toBe(claim);
});

test("an upload's chunks follow each other and make up its size", async () => {
  const cluster = await new GatewayCluster().up();
  const { seal } = ChunkWriter.prototype;
  ChunkWriter.prototype.seal = async function () {
    return { ...(await seal.call(this)), lengthBytes: 1 };
  };
  try {
    const put = (bytes: number) => cluster.data.transfers.put({ path: "f", body: bodyOf(sampleBytes(bytes)) });
    expect(await broken(() => put(2 * CHUNK))).toBe("uploads: each chunk begins where the one before ends");
    expect(await broken(() => put(CHUNK))).toBe("uploads: the size is the sum of the chunks");
  } finally {
    ChunkWriter.prototype.seal = seal;
    await cluster.stop();
  }
});
