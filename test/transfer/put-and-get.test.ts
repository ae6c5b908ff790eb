import { afterAll, beforeAll, expect, test } from "bun:test";
import type { HashName } from "../../gateway/ports/transfers.ts";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { BLOCK, CHUNK, GatewayCluster } from "../support/gateway-cluster.ts";

let cluster: GatewayCluster;
beforeAll(async () => {
  cluster = await new GatewayCluster().up();
});
afterAll(() => cluster.stop());

const put = (path: string, bytes: Uint8Array<ArrayBuffer>, more = {}) =>
  cluster.data.transfers.put({ path, body: bodyOf(bytes), lengthBytes: bytes.length, ...more });

const sizes = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, 20 * CHUNK + 5000];
for (const size of sizes)
  test(`${size} bytes come back as they went in, and lie on three workers`, async () => {
    const bytes = sampleBytes(size, size + 1);
    for (const lengthBytes of [size, undefined]) {
      const path = `sizes/${size}-${lengthBytes}`;
      const { file, created } = await put(path, bytes, { lengthBytes });
      expect({ created, size: file.sizeBytes, crc32: file.crc32, chunks: file.chunkCount }).toEqual({
        created: true,
        size,
        crc32: Bun.hash.crc32(bytes),
        chunks: Math.ceil(size / CHUNK),
      });
      for (const { workerIds } of cluster.locate(path).chunks) expect(workerIds).toHaveLength(3);
      expect(Bun.hash(await readBack(cluster.data, path))).toBe(Bun.hash(bytes));
    }
    expect(cluster.openChunks()).toBe(0);
    expect(cluster.data.transfers.activity().bufferBytesInUse).toBe(0);
  });

test("any range of a file can be read, across blocks and chunks", async () => {
  const bytes = sampleBytes(3 * CHUNK + 100);
  await put("ranges", bytes);
  const edges = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, bytes.length];
  for (const start of edges)
    for (const end of edges.filter((end) => end >= start))
      expect(Bun.hash(await readBack(cluster.data, "ranges", start, end))).toBe(Bun.hash(bytes.slice(start, end)));
});

test("every route brings every block to every worker", async () => {
  for (const route of ["fanout", "chain", "auto"] as const) {
    const other = await new GatewayCluster({ workers: 3, config: { route } }).up();
    try {
      for (const size of [100, CHUNK + 1]) {
        const bytes = sampleBytes(size);
        await other.data.transfers.put({ path: `file-${size}`, body: bodyOf(bytes) });
        for (const { chunkId, lengthBytes } of other.locate(`file-${size}`).chunks)
          for (const { store } of other.workers)
            expect(store.describe(chunkId)).toMatchObject({ state: "sealed", lengthBytes });
        expect(await readBack(other.data, `file-${size}`)).toEqual(bytes);
      }
    } finally {
      await other.stop();
    }
  }
});

test("F10. every digest is of all bytes, in one block or many chunks; one that is wrong stores nothing", async () => {
  for (const size of [0, 1, BLOCK, CHUNK + 5, 9 * CHUNK]) {
    const bytes = sampleBytes(size);
    const hexOf = (name: HashName) => new Bun.CryptoHasher(name).update(bytes).digest("hex");
    const right = new Map((["md5", "sha1", "sha256", "sha512"] as const).map((name) => [name, hexOf(name)] as const));
    for (const name of right.keys()) {
      const expectedHashes = new Map([...right, [name, hexOf(name).replace(/^./, (c) => (c === "0" ? "1" : "0"))]]);
      expect([name, await codeOf(put("digest", bytes, { expectedHashes }))]).toEqual([name, "DIGEST_MISMATCH"]);
    }
    const expectedCrc32 = Bun.hash.crc32(bytes);
    expect(await codeOf(put("digest", bytes, { expectedCrc32: expectedCrc32 ^ 1 }))).toBe("DIGEST_MISMATCH");
    expect(await cluster.data.namespace.stat("digest")).toBeNull();
    expect((await put("digest", bytes, { expectedHashes: right, expectedCrc32 })).file.sha256).toBe(hexOf("sha256"));
    await cluster.data.namespace.delete("digest");
    expect((await put("digest", bytes, { wantSha256: true })).file.sha256).toBe(hexOf("sha256"));
    await cluster.data.namespace.delete("digest");
  }
});

test("a body shorter than announced leaves nothing behind", async () => {
  for (const size of [10, BLOCK + 1, CHUNK + 5 * BLOCK, 12 * CHUNK]) {
    expect(await codeOf(put("short", sampleBytes(size), { lengthBytes: size + 1 }))).toBe("BODY_INCOMPLETE");
    expect(await cluster.data.namespace.stat("short")).toBeNull();
    await Bun.sleep(20);
    expect(cluster.openChunks()).toBe(0);
    expect(cluster.data.transfers.activity()).toMatchObject({ bufferBytesInUse: 0, uploads: [] });
  }
});

test("a longer body than announced is refused", async () => {
  expect(await codeOf(put("long", sampleBytes(3 * BLOCK), { lengthBytes: 2 * BLOCK }))).toBe("INVALID_BODY");
  expect(await codeOf(put("long", sampleBytes(3), { lengthBytes: 2 }))).toBe("INVALID_BODY");
});

test("a body of empty pieces is refused; some among others are nothing", async () => {
  const pieces = (count: number) =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(sampleBytes(count-- % 3 === 0 ? 10 : 0));
        if (count === 0) controller.close();
      },
    });
  const { file } = await cluster.data.transfers.put({ path: "gaps", body: pieces(300) });
  expect(file.sizeBytes).toBe(1000);
  const empty = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(0)) });
  expect(await codeOf(cluster.data.transfers.put({ path: "empty", body: empty }))).toBe("INVALID_BODY");
  expect(cluster.data.transfers.activity()).toMatchObject({ bufferBytesInUse: 0, uploads: [] });
});

test("a client that breaks off or goes away leaves nothing behind", async () => {
  const bytes = sampleBytes(CHUNK);
  const before = (offset: number) => {
    if (offset > CHUNK / 2) throw new Error("connection reset");
  };
  const broken = cluster.data.transfers.put({ path: "broken", body: bodyOf(bytes, { before }) });
  expect(await codeOf(broken)).toBe("BODY_INCOMPLETE");
  const gone = new AbortController();
  const never = bodyOf(bytes, { before: (offset) => (offset > CHUNK / 2 ? new Promise(() => {}) : undefined) });
  const waiting = codeOf(cluster.data.transfers.put({ path: "gone", body: never, signal: gone.signal }));
  await Bun.sleep(50);
  expect(cluster.data.transfers.activity().uploads).toMatchObject([{ path: "gone", state: "writing", chunkIndex: 0 }]);
  gone.abort();
  expect(await waiting).toBe("BODY_INCOMPLETE");
  await Bun.sleep(20);
  expect(cluster.openChunks()).toBe(0);
  expect(cluster.data.transfers.activity().bufferBytesInUse).toBe(0);
});

test("conditions hold at the commit", async () => {
  const { file } = await put("condition", sampleBytes(10));
  expect(await codeOf(put("condition", sampleBytes(11), { condition: { ifNoneMatchAny: true } }))).toBe(
    "PRECONDITION_FAILED",
  );
  const replaced = await put("condition", sampleBytes(12), { condition: { ifMatch: [file.etag] } });
  expect(replaced).toMatchObject({ created: false, file: { sizeBytes: 12 } });
  expect(await codeOf(cluster.data.transfers.openFile("condition", { etag: file.etag }))).toBe("PRECONDITION_FAILED");
});

test("the same key has one effect, for a small file and for one of many chunks", async () => {
  for (const size of [100, 12 * CHUNK]) {
    const bytes = sampleBytes(size);
    const request = { idempotencyKey: `key-${size}` };
    const first = await put(`keyed-${size}`, bytes, request);
    expect(await put(`keyed-${size}`, bytes, request)).toEqual(first);
  }
});

test("a missing file and a directory are told apart", async () => {
  await put("folder/file", sampleBytes(1));
  expect(await codeOf(cluster.data.transfers.openFile("nothing"))).toBe("NO_SUCH_FILE");
  expect(await codeOf(cluster.data.transfers.openFile("folder"))).toBe("IS_A_DIRECTORY");
});

test("small files take their places from a pool, not one question each", async () => {
  const before = cluster.asked.PLACE_CHUNKS ?? 0;
  await Promise.all(Array.from({ length: 200 }, (_, n) => put(`small/${n}`, sampleBytes(100, n))));
  expect((cluster.asked.PLACE_CHUNKS ?? 0) - before).toBeLessThan(40);
  expect(await readBack(cluster.data, "small/77")).toEqual(sampleBytes(100, 77));
});

test("a reader that stops early stops the fetching", async () => {
  await put("cancelled", sampleBytes(4 * CHUNK));
  const gets = () => cluster.workers.flatMap(({ steps }) => steps.filter(({ kind }) => kind === "get")).length;
  const before = gets();
  const { stream } = await cluster.data.transfers.openFile("cancelled");
  const reader = stream(0, 4 * CHUNK).getReader();
  const { value } = await reader.read();
  await reader.cancel();
  await Bun.sleep(50);
  expect(gets() - before).toBeLessThanOrEqual(((value as Uint8Array).length + cluster.config.readAheadBytes) / BLOCK);
  expect(cluster.data.transfers.activity()).toMatchObject({ downloads: [], bufferBytesInUse: 0 });
});

test("nothing is fetched for a reader that does not pull", async () => {
  await put("lazy", sampleBytes(4 * CHUNK));
  const { stream } = await cluster.data.transfers.openFile("lazy");
  const reader = stream(0, 4 * CHUNK).getReader();
  const { value } = await reader.read();
  await Bun.sleep(50);
  const inHand = (value as Uint8Array).length;
  const { bufferBytesInUse } = cluster.data.transfers.activity();
  expect(bufferBytesInUse).toBeLessThanOrEqual(inHand + cluster.config.readAheadBytes);
  await reader.cancel();
});
