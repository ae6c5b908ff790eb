import { afterAll, beforeAll, expect, test } from "bun:test";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { BLOCK, CHUNK, GatewayCluster } from "../support/gateway-cluster.ts";

let cluster: GatewayCluster;
beforeAll(async () => {
  cluster = await new GatewayCluster().up();
});
afterAll(() => cluster.stop());

test("an upload in pieces becomes one file", async () => {
  const { transfers } = cluster.data;
  const bytes = sampleBytes(3 * CHUNK + 10);
  const { uploadId, offset } = await transfers.openUpload({ path: "pieces", contentType: "text/plain" });
  expect(offset).toBe(0);
  let at = 0;
  for (const end of [10, BLOCK + 1, 2 * CHUNK, bytes.length]) {
    const upload = await transfers.appendUpload(uploadId, at, bodyOf(bytes.slice(at, end)), { lengthBytes: end - at });
    expect(upload).toMatchObject({ offset: end, crc32: Bun.hash.crc32(bytes.slice(0, end)), path: "pieces" });
    at = end;
  }
  expect(await cluster.data.namespace.stat("pieces")).toBeNull();
  const { file, created } = await transfers.completeUpload(uploadId, bytes.length);
  expect({ created, crc32: file.crc32, type: file.contentType }).toEqual({
    created: true,
    crc32: Bun.hash.crc32(bytes),
    type: "text/plain",
  });
  expect(await readBack(cluster.data, "pieces")).toEqual(bytes);
  expect(await codeOf(transfers.uploadStatus(uploadId))).toBe("NO_SUCH_UPLOAD");
});

test("what came before the connection broke is kept, and the upload goes on from there", async () => {
  const { transfers } = cluster.data;
  const bytes = sampleBytes(2 * CHUNK + 10);
  const { uploadId } = await transfers.openUpload({ path: "resumed" });
  const before = (offset: number) => {
    if (offset > CHUNK + BLOCK) throw new Error("connection reset");
  };
  const lengthBytes = bytes.length;
  const { offset } = await transfers.appendUpload(uploadId, 0, bodyOf(bytes, { before, pieceBytes: 1000 }), {
    lengthBytes,
  });
  expect(offset).toBe(Math.ceil((CHUNK + BLOCK + 1) / 1000) * 1000);
  await transfers.appendUpload(uploadId, offset, bodyOf(bytes.slice(offset)));
  await transfers.completeUpload(uploadId, bytes.length, { expectedCrc32: Bun.hash.crc32(bytes) });
  expect(await readBack(cluster.data, "resumed")).toEqual(bytes);
});

test("an append elsewhere than at the end is refused and says where the end is", async () => {
  const { transfers } = cluster.data;
  const { uploadId } = await transfers.openUpload({ path: "offset" });
  await transfers.appendUpload(uploadId, 0, bodyOf(sampleBytes(5)));
  const error = await transfers.appendUpload(uploadId, 4, bodyOf(sampleBytes(5))).catch((error) => error);
  expect({ code: error.code, details: error.details }).toEqual({
    code: "UPLOAD_OFFSET_MISMATCH",
    details: { offset: 5 },
  });
  expect(await codeOf(transfers.completeUpload(uploadId, 6))).toBe("UPLOAD_OFFSET_MISMATCH");
  expect(await codeOf(transfers.completeUpload(uploadId, 5, { expectedCrc32: 1 }))).toBe("DIGEST_MISMATCH");
});

test("an aborted upload is gone", async () => {
  const { transfers } = cluster.data;
  const { uploadId } = await transfers.openUpload({ path: "aborted" });
  await transfers.appendUpload(uploadId, 0, bodyOf(sampleBytes(5)));
  await transfers.abortUpload(uploadId);
  expect(await codeOf(transfers.appendUpload(uploadId, 5, bodyOf(sampleBytes(5))))).toBe("NO_SUCH_UPLOAD");
  expect(await codeOf(transfers.completeUpload(uploadId, 5))).toBe("NO_SUCH_UPLOAD");
});

for (const expectedCrc32 of [Bun.hash.crc32(sampleBytes(5)), undefined])
  test(`53k. a completion sent twice under one key gets one answer, ${expectedCrc32 ? "with" : "without"} a checksum`, async () => {
    const { transfers } = cluster.data;
    const { uploadId } = await transfers.openUpload({ path: "twice" });
    await transfers.appendUpload(uploadId, 0, bodyOf(sampleBytes(5)));
    const options = { idempotencyKey: `twice-${expectedCrc32}`, expectedCrc32 };
    const first = await transfers.completeUpload(uploadId, 5, options);
    expect(await transfers.completeUpload(uploadId, 5, options)).toEqual(first);
  });
