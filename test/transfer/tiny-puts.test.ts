/** Tiny files at the gateway: one command and one question, and through workers where the masters take no bytes. */
import { expect, test } from "bun:test";
import type { HashName } from "../../gateway/ports/transfers.ts";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { cluster, put, startCluster, stopAfterEach } from "./one-file.ts";

const TINY = 4096;
const content = sampleBytes(TINY);
const start = (config = {}) => startCluster({ config: { tinyFileBytes: TINY, ...config } });
const lies = () => {
  const { entry, chunks, content: held } = cluster.locate("file");
  if (entry?.kind !== "file") return "nowhere";
  return held ? `${held.length} bytes in the metadata` : `${chunks.length} chunks`;
};

stopAfterEach();

test("a tiny file is one command, and read by one question; no place is asked for, no worker knows of it", async () => {
  await start();
  await put(content);
  const { EXECUTE: commands = 0 } = cluster.asked;
  await put(sampleBytes(10));
  expect(cluster.asked.EXECUTE).toBe(commands + 1);
  expect(await readBack(cluster.data, "file")).toEqual(sampleBytes(10));
  expect(cluster.asked).toMatchObject({ LOCATE: 1 });
  expect(cluster.asked.PLACE_CHUNKS).toBeUndefined();
  expect(cluster.workers.flatMap((worker) => worker.sealedChunks())).toEqual([]);
});

test("a body of unknown length is tiny if it ends in time; of a longer one nothing is lost", async () => {
  await start();
  for (const [length, where] of [
    [TINY, "4096 bytes in the metadata"],
    [TINY + 1, "1 chunks"],
    [20 * TINY, "2 chunks"],
    [0, "0 chunks"],
  ] as const) {
    await put(sampleBytes(length), { lengthBytes: undefined });
    expect([length, lies()]).toEqual([length, where]);
    expect(await readBack(cluster.data, "file")).toEqual(sampleBytes(length));
  }
});

test("ranges of it are streamed and taken whole, and counted", async () => {
  await start();
  await put(content);
  const { bytesOut } = cluster.data.transfers.activity();
  expect(await readBack(cluster.data, "file", 10, 20)).toEqual(content.subarray(10, 20));
  const file = await cluster.data.transfers.openFile("file");
  const ranges = [
    { start: 4000, endExclusive: 4096 },
    { start: 0, endExclusive: 3 },
  ];
  const both = Buffer.concat([content.subarray(4000), content.subarray(0, 3)]);
  expect(Buffer.from(await file.bytes(ranges, new AbortController().signal))).toEqual(both);
  expect(await new Response(file.streamRanges(ranges)).bytes()).toEqual(new Uint8Array(both));
  expect(cluster.data.transfers.activity().bytesOut).toBe(bytesOut + 10 + 2 * both.length);
});

test("a body that is too short or too long, breaks off, or is not what its digest says leaves what was there", async () => {
  await start();
  await put(content);
  const other = sampleBytes(100, 2);
  const expectedHashes = new Map<HashName, string>([["sha256", "00".repeat(32)]]);
  const broken = bodyOf(other, { before: (offset) => (offset > 0 ? Promise.reject(new Error("cut")) : undefined) });
  expect(await codeOf(put(other, { lengthBytes: 101 }))).toBe("BODY_INCOMPLETE");
  expect(await codeOf(put(other, { lengthBytes: 99 }))).toBe("INVALID_BODY");
  expect(await codeOf(put(other, { body: broken, lengthBytes: 101 }))).toBe("BODY_INCOMPLETE");
  expect(await codeOf(put(other, { expectedCrc32: 1 }))).toBe("DIGEST_MISMATCH");
  expect(await codeOf(put(other, { expectedHashes }))).toBe("DIGEST_MISMATCH");
  expect(await codeOf(put(other, { signal: AbortSignal.abort() }))).toBe("BODY_INCOMPLETE");
  expect(await readBack(cluster.data, "file")).toEqual(content);
});

test("SHA-256 is kept if it is wanted", async () => {
  await start();
  const sha256 = new Bun.CryptoHasher("sha256").update(content).digest("hex");
  expect((await put(content, { wantSha256: true })).file.sha256).toBe(sha256);
});

test("a command whose answer is lost takes effect once", async () => {
  await start();
  await put(content, { path: "other" });
  cluster.loseAnswers = 2;
  expect(await put(content, { condition: { ifNoneMatchAny: true } })).toMatchObject({ created: true });
  expect(cluster.loseAnswers).toBe(0);
});

test("bytes that the masters do not take go to workers, once, also under a key", async () => {
  await start({ tinyTotalBytes: TINY });
  await put(content);
  cluster.loseAnswers = 1;
  const request = { path: "second", idempotencyKey: "key", condition: { ifNoneMatchAny: true } };
  const first = await put(content, request);
  expect(first).toMatchObject({ created: true, file: { chunkCount: 1 } });
  expect(await put(content, request)).toEqual(first);
  expect(await readBack(cluster.data, "second")).toEqual(content);
});

test("a refused kind is not offered again at once; another one is", async () => {
  await start();
  await put(content, { replicationFactor: 5 });
  const { EXECUTE: commands = 0 } = cluster.asked;
  await put(content, { replicationFactor: 5 });
  expect(cluster.asked.EXECUTE).toBe(commands + 1);
  await put(content);
  expect(lies()).toBe("4096 bytes in the metadata");
});

test("to masters below the version no bytes are sent; once they are there, they are", async () => {
  await startCluster();
  cluster.config.tinyFileBytes = TINY;
  const early = cluster.openGateway("gateway-2");
  const store = (gateway = early) => gateway.transfers.put({ path: "file", body: bodyOf(content) });
  await store();
  await store();
  expect(lies()).toBe("1 chunks");
  // It has asked which version they are of, and then to which cluster its session belongs: the same question.
  expect(cluster.asked.CLUSTER_STATE).toBe(1);
  await cluster.takeTinyFiles();
  const late = cluster.openGateway("gateway-3");
  await store(late);
  expect(lies()).toBe("4096 bytes in the metadata");
  // Whatever else asks for the cluster's state lets a gateway know.
  await early.operations.clusterState();
  await store();
  expect(lies()).toBe("4096 bytes in the metadata");
  await early.close();
  await late.close();
});

test("bytes that are damaged where they lie are never given out", async () => {
  await start();
  await put(content);
  const { queries } = cluster.engine;
  const { locate } = queries;
  queries.locate = (...asked) => {
    const found = locate.apply(queries, asked);
    return { ...found, content: found.content?.map((byte) => byte ^ 1) };
  };
  expect(await codeOf(readBack(cluster.data, "file"))).toBe("DATA_UNAVAILABLE");
  queries.locate = locate;
  expect(await readBack(cluster.data, "file")).toEqual(content);
});

test("a client that is slow with its few bytes is among the uploads under way, and ends with the gateway", async () => {
  await start();
  const hanging = put(content, { body: bodyOf(content, { before: (at) => (at > 0 ? Bun.sleep(60_000) : undefined) }) });
  expect(cluster.data.transfers.activity().uploads).toMatchObject([
    { path: "file", state: "opening", lengthBytes: TINY },
  ]);
  await cluster.data.close();
  expect(await codeOf(hanging)).toBe("OVERLOADED");
});
