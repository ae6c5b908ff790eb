import { afterAll, beforeAll, expect, test } from "bun:test";
import { BlockHeader } from "../../actors/messages/worker.ts";
import { refusalOf } from "../../actors/node/http/answers.ts";
import { getBlocks, type Hop, putBlock } from "../../actors/node/http/block-requests.ts";
import { blockContent, sign } from "../../actors/node/identity/signature.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { type BlockHost, blockRoutes, noTraffic } from "../../actors/worker/blocks/block-routes.ts";
import type { WorkerNode } from "../../actors/worker/host.ts";
import {
  BLOCK,
  crc32Of,
  freeUrl,
  randomBytes,
  SECRET,
  silent,
  startTestWorker,
  storeChunk,
  tell,
  temporaryFolder,
  tester,
  writeChunk,
} from "./support.ts";

const folders = [temporaryFolder(), temporaryFolder(), temporaryFolder()];
let workers: WorkerNode[] = [];
let [one, two, three]: Hop[] = [];
let nextChunkId = 1;

beforeAll(async () => {
  workers = await Promise.all(folders.map(({ path }, n) => startTestWorker(path, { id: `worker-${n + 1}` })));
  [one, two, three] = workers.map(({ url }, n) => ({ id: `worker-${n + 1}`, url }));
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  for (const folder of folders) folder[Symbol.dispose]();
});

const options = { timeoutMs: 5000 };
const block = (chunkId: number, n: number, bytes: Uint8Array<ArrayBuffer>) => ({
  chunkId,
  block: n,
  bytes,
  crc32: crc32Of(bytes),
  blockSizeBytes: BLOCK,
});

/** A signed PUT with some of it changed; answers the refusal's code, or the status. */
async function putRaw(change: {
  path?: string;
  headers?: Record<string, string | null>;
  body?: Uint8Array<ArrayBuffer>;
  secret?: string;
}): Promise<string> {
  const body = change.body ?? randomBytes(100);
  const path = change.path ?? `/chunks/${formatChunkId(nextChunkId++)}/blocks/0`;
  const headers = new Headers({
    [BlockHeader.crc32]: formatCrc32(crc32Of(body)),
    [BlockHeader.blockSize]: String(BLOCK),
  });
  for (const [name, value] of Object.entries(change.headers ?? {}))
    if (value === null) headers.delete(name);
    else headers.set(name, value);
  headers.set("authorization", sign(change.secret ?? SECRET, "tester", "PUT", path, blockContent(headers)));
  const response = await fetch(`${one?.url}${path}`, { method: "PUT", headers, body });
  return response.ok ? String(response.status) : (await refusalOf(response, one?.url ?? "")).code;
}

test("a chunk written block by block, sealed, described and read back is the same", async () => {
  const content = randomBytes(3 * BLOCK + 17);
  const stored = await storeChunk(one as Hop, 1001, content);
  expect(stored.crc32).toBe(crc32Of(content));
  const described = await tell((one as Hop).url, { type: "DESCRIBE_CHUNK", chunkId: 1001 });
  expect(described).toMatchObject({ state: "sealed", lengthBytes: content.length, crc32: stored.crc32 });
  expect(described.blockCrcs.length).toBe(16);
  expect(await getBlocks(tester, (one as Hop).url, 1001, 0, 10, options)).toEqual(content);
  expect(await getBlocks(tester, (one as Hop).url, 1001, 3, 1, options)).toEqual(content.slice(3 * BLOCK));
});

test("an answer to a read names block size and checksums", async () => {
  const content = randomBytes(2 * BLOCK);
  await storeChunk(one as Hop, 1002, content);
  const path = `/chunks/${formatChunkId(1002)}/blocks/0`;
  const headers = { authorization: sign(SECRET, "tester", "GET", path, blockContent(new Headers())) };
  const response = await fetch(`${one?.url}${path}?count=2`, { headers });
  expect(response.headers.get(BlockHeader.blockSize)).toBe(String(BLOCK));
  const crcs = [content.slice(0, BLOCK), content.slice(BLOCK)].map((bytes) => formatCrc32(crc32Of(bytes)));
  expect(response.headers.get(BlockHeader.crc32)).toBe(crcs.join(","));
  await response.arrayBuffer();
});

test("small chunks share a message, and a damaged one is refused alone", async () => {
  const chunks = [1101, 1102, 1103].map((chunkId) => {
    const bytes = randomBytes(100 + chunkId);
    return { chunkId, bytes, crc32: crc32Of(bytes), blockSizeBytes: BLOCK };
  });
  const sent = chunks.map((chunk) => (chunk.chunkId === 1102 ? { ...chunk, crc32: (chunk.crc32 ^ 1) >>> 0 } : chunk));
  const put = () => tell((one as Hop).url, { type: "PUT_SMALL_CHUNKS", chunks: sent });
  for (const { outcomes } of [await put(), await put()])
    expect(outcomes.map(({ stored, code }) => code ?? stored)).toEqual([true, "CHECKSUM_MISMATCH", true]);
  for (const { chunkId, bytes, crc32 } of chunks.filter(({ chunkId }) => chunkId !== 1102)) {
    expect(await tell((one as Hop).url, { type: "DESCRIBE_CHUNK", chunkId })).toMatchObject({ state: "sealed", crc32 });
    expect(await getBlocks(tester, (one as Hop).url, chunkId, 0, 1, options)).toEqual(bytes);
  }
  expect(tell((one as Hop).url, { type: "DESCRIBE_CHUNK", chunkId: 1102 })).rejects.toMatchObject({
    code: "NO_SUCH_CHUNK",
  });
});

test("an open chunk can be read and described as far as it goes", async () => {
  const content = randomBytes(2 * BLOCK);
  await writeChunk(one as Hop, 1003, content);
  const described = await tell((one as Hop).url, { type: "DESCRIBE_CHUNK", chunkId: 1003 });
  expect(described).toMatchObject({ state: "open", lengthBytes: 2 * BLOCK, crc32: crc32Of(content), sealedAt: null });
  expect(await getBlocks(tester, (one as Hop).url, 1003, 1, 5, options)).toEqual(content.slice(BLOCK));
  expect(await tell((one as Hop).url, { type: "ABORT_CHUNK", chunkId: 1003 })).toEqual({ aborted: true });
  expect(tell((one as Hop).url, { type: "DESCRIBE_CHUNK", chunkId: 1003 })).rejects.toMatchObject({
    code: "NO_SUCH_CHUNK",
  });
});

const long = BLOCK + 1;
for (const [claim, change, code] of [
  ["an unsigned block", { secret: "0".repeat(64) }, "UNAUTHENTICATED"],
  ["a body other than its checksum says", { headers: { [BlockHeader.crc32]: "00000000" } }, "CHECKSUM_MISMATCH"],
  ["no checksum", { headers: { [BlockHeader.crc32]: null } }, "INVALID_HEADER"],
  ["no block size", { headers: { [BlockHeader.blockSize]: null } }, "INVALID_HEADER"],
  ["a block size of nonsense", { headers: { [BlockHeader.blockSize]: "1e9" } }, "INVALID_HEADER"],
  ["more bytes than the block size", { body: randomBytes(long) }, "PAYLOAD_TOO_LARGE"],
  ["an empty body", { body: new Uint8Array(0) }, "INVALID_HEADER"],
  ["a block beyond 4 GiB", { path: `/chunks/${formatChunkId(77)}/blocks/1048576` }, "INVALID_PARAMETER"],
  ["a block number of nonsense", { path: `/chunks/${formatChunkId(77)}/blocks/x` }, "INVALID_PARAMETER"],
  ["a chunk id of nonsense", { path: "/chunks/77/blocks/0" }, "INVALID_PARAMETER"],
  [
    "a seal on another block than 0",
    { path: `/chunks/${formatChunkId(77)}/blocks/1`, headers: { [BlockHeader.seal]: "1" } },
    "INVALID_HEADER",
  ],
  ["a route of nonsense", { headers: { [BlockHeader.route]: "worker-2" } }, "INVALID_HEADER"],
] as const)
  test(`${claim} is refused with ${code}, and nothing is stored`, async () => {
    const before = workers[0]?.store.totals;
    expect(await putRaw(change as Parameters<typeof putRaw>[0])).toBe(code);
    expect(workers[0]?.store.totals).toEqual(before as NonNullable<typeof before>);
  });

test("a signature does not serve for another route or seal", async () => {
  const bytes = randomBytes(100);
  const path = `/chunks/${formatChunkId(78)}/blocks/0`;
  const headers = new Headers({
    [BlockHeader.crc32]: formatCrc32(crc32Of(bytes)),
    [BlockHeader.blockSize]: String(BLOCK),
  });
  headers.set("authorization", sign(SECRET, "tester", "PUT", path, blockContent(headers)));
  headers.set(BlockHeader.seal, "1");
  expect((await fetch(`${one?.url}${path}`, { method: "PUT", headers, body: bytes })).status).toBe(401);
});

test("the same block twice is one block; after the seal too, and another one is refused", async () => {
  const content = randomBytes(BLOCK);
  await writeChunk(one as Hop, 1004, content);
  const stored = await storeChunk(one as Hop, 1004, content);
  await writeChunk(one as Hop, 1004, content);
  expect(await storeChunk(one as Hop, 1004, content)).toEqual(stored);
  expect(writeChunk(one as Hop, 1004, randomBytes(BLOCK))).rejects.toMatchObject({ code: "CHUNK_SEALED" });
  const seal = { type: "SEAL_CHUNK", chunkId: 1004, lengthBytes: BLOCK, blockSizeBytes: BLOCK, crc32: 1 } as const;
  expect(tell((one as Hop).url, seal)).rejects.toMatchObject({ code: "CHUNK_SEALED" });
});

test("a seal with a block missing, a wrong length or a wrong checksum is refused, and can be mended", async () => {
  const content = randomBytes(3 * BLOCK);
  const [a, b, c] = [0, 1, 2].map((n) => content.slice(n * BLOCK, (n + 1) * BLOCK)) as [
    typeof content,
    typeof content,
    typeof content,
  ];
  const put = (n: number, bytes: Uint8Array<ArrayBuffer>) =>
    putBlock(tester, one as Hop, [], block(1005, n, bytes), options);
  const seal = (lengthBytes: number, crc32: number) =>
    tell((one as Hop).url, { type: "SEAL_CHUNK", chunkId: 1005, lengthBytes, blockSizeBytes: BLOCK, crc32 });
  expect(seal(3 * BLOCK, crc32Of(content))).rejects.toMatchObject({ code: "NO_SUCH_CHUNK" });
  await put(0, a);
  await put(2, c);
  expect(seal(3 * BLOCK, crc32Of(content))).rejects.toMatchObject({ code: "CHUNK_INCOMPLETE", details: { block: 1 } });
  await put(1, b.slice(1));
  expect(seal(3 * BLOCK, crc32Of(content))).rejects.toMatchObject({ code: "CHUNK_INCOMPLETE", details: { block: 1 } });
  await put(1, b);
  expect(seal(2 * BLOCK, crc32Of(content.slice(0, 2 * BLOCK)))).rejects.toMatchObject({ code: "CHUNK_INCOMPLETE" });
  expect(seal(3 * BLOCK, 7)).rejects.toMatchObject({ code: "CHECKSUM_MISMATCH" });
  expect(await seal(3 * BLOCK, crc32Of(content))).toEqual({
    chunkId: 1005,
    lengthBytes: 3 * BLOCK,
    crc32: crc32Of(content),
  });
});

test("a block reaches every worker of its route", async () => {
  const content = randomBytes(BLOCK);
  const outcomes = await putBlock(tester, one as Hop, [two as Hop, three as Hop], block(1006, 0, content), options);
  expect(outcomes.map(({ stored }) => stored)).toEqual([true, true, true]);
  for (const { url } of workers) expect(await getBlocks(tester, url, 1006, 0, 1, options)).toEqual(content);
});

test("small and large chunks are stored and sealed in one request, along a route", async () => {
  for (const [chunkId, length] of [
    [1007, 100],
    [1008, BLOCK],
  ] as const) {
    const content = randomBytes(length);
    const sealing = { ...block(chunkId, 0, content), seal: true };
    for (let twice = 0; twice < 2; twice++)
      expect((await putBlock(tester, one as Hop, [two as Hop], sealing, options)).every((o) => o.stored)).toBeTrue();
    for (const { url } of [one as Hop, two as Hop]) {
      expect(await tell(url, { type: "DESCRIBE_CHUNK", chunkId })).toMatchObject({
        state: "sealed",
        lengthBytes: length,
      });
      expect(await getBlocks(tester, url, chunkId, 0, 1, options)).toEqual(content);
    }
    const other = { ...block(chunkId, 0, randomBytes(length)), seal: true };
    expect(putBlock(tester, one as Hop, [], other, options)).rejects.toMatchObject({ code: "CHUNK_SEALED" });
  }
});

test("a dead worker on the route is told of, and stepped over", async () => {
  const dead: Hop = { id: "worker-9", url: freeUrl() };
  const content = randomBytes(BLOCK);
  const outcomes = await putBlock(tester, one as Hop, [dead, three as Hop], block(1009, 0, content), options);
  expect(outcomes).toMatchObject([
    { workerId: "worker-1", stored: true },
    { workerId: "worker-9", stored: false, code: "PEER_UNREACHABLE" },
    { workerId: "worker-3", stored: true },
  ]);
  expect(await getBlocks(tester, (three as Hop).url, 1009, 0, 1, options)).toEqual(content);
});

test("a worker that cannot store a block still passes it on", async () => {
  const content = randomBytes(BLOCK);
  await storeChunk(one as Hop, 1010, content);
  const outcomes = await putBlock(tester, one as Hop, [two as Hop], block(1010, 0, randomBytes(BLOCK)), options);
  expect(outcomes).toMatchObject([
    { workerId: "worker-1", stored: false, code: "CHUNK_SEALED" },
    { workerId: "worker-2", stored: true },
  ]);
});

test("a block that is not there is not answered", async () => {
  const content = randomBytes(BLOCK);
  await storeChunk(one as Hop, 1011, content);
  expect(getBlocks(tester, (one as Hop).url, 1011, 1, 1, options)).rejects.toMatchObject({ code: "INVALID_PARAMETER" });
  expect(getBlocks(tester, (one as Hop).url, 1012, 0, 1, options)).rejects.toMatchObject({ code: "NO_SUCH_CHUNK" });
  const unsigned = await fetch(`${one?.url}/chunks/${formatChunkId(1011)}/blocks/0`);
  expect(unsigned.status).toBe(401);
});

test("probes and metrics answer without a signature, and readiness names what it waits for", async () => {
  expect(await (await fetch(`${one?.url}/health/live`)).json()).toEqual({ status: "live", node: "worker-1" });
  const ready = await fetch(`${one?.url}/health/ready`);
  expect(ready.status).toBe(503);
  expect(((await ready.json()) as { waitsFor: string[] }).waitsFor[0]).toContain("a leader that registers it");
  const metrics = await (await fetch(`${one?.url}/metrics`)).text();
  expect(metrics).toMatch(/dfs_worker_blocks_written_total \d+/);
});

test("F8. a block that claims more bytes than numbers count leaves the count of bytes in flight as it was", async () => {
  const traffic = { ...noTraffic(), bytesInFlight: 4096 };
  const host: Partial<BlockHost> = { identity: tester, traffic, log: silent };
  const app = blockRoutes(host as BlockHost);
  const path = `http://localhost/chunks/${formatChunkId(1)}/blocks/0`;
  for (const length of ["9007199254740991", "1e300", "134217729"]) {
    const { status } = await app.handle(new Request(path, { method: "PUT", headers: { "content-length": length } }));
    expect([length, status, traffic.bytesInFlight]).toEqual([length, 401, 4096]);
  }
});
