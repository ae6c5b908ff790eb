import { afterAll, beforeAll, expect, test } from "bun:test";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { NodeProcesses } from "../support/node-processes.ts";

let nodes: NodeProcesses;
beforeAll(async () => {
  nodes = await new NodeProcesses({ workers: 5 }).start();
});
afterAll(() => nodes.stop());

const MIB = 1 << 20;
const PIECE = 100_000;
/** Puts a file, and does something when its body is half through. */
const putWhile = async (path: string, bytes: Uint8Array<ArrayBuffer>, meanwhile: () => Promise<unknown>) => {
  let done: Promise<unknown> | null = null;
  const before = (offset: number) => {
    if (offset >= bytes.length / 2) done ??= meanwhile();
    return Bun.sleep(2);
  };
  const outcome = await nodes.data.transfers.put({ path, body: bodyOf(bytes, { before, pieceBytes: PIECE }) });
  await done;
  return outcome;
};

for (const size of [0, 1, 1 << 14, 1 << 16, MIB, MIB + 1, 12 * MIB + 345])
  test(`${size} bytes go through real nodes and come back`, async () => {
    const bytes = sampleBytes(size);
    const body = bodyOf(bytes, { pieceBytes: PIECE });
    const { file } = await nodes.data.transfers.put({ path: `sizes/${size}`, body });
    expect(file).toMatchObject({ sizeBytes: size, crc32: Bun.hash.crc32(bytes), chunkCount: Math.ceil(size / MIB) });
    expect(Bun.hash(await readBack(nodes.data, `sizes/${size}`))).toBe(Bun.hash(bytes));
    const { chunks } = await nodes.data.operations.explain(`sizes/${size}`, 0, 1000);
    for (const { replicas } of chunks) expect(replicas.filter(({ state }) => state === "good")).toHaveLength(3);
  });

test("an interrupted upload goes on where it stopped", async () => {
  const { transfers } = nodes.data;
  const bytes = sampleBytes(2 * MIB + 77);
  const { uploadId } = await transfers.openUpload({ path: "resumed" });
  const before = (offset: number) => {
    if (offset > MIB + 200_000) throw new Error("connection reset");
  };
  const { offset } = await transfers.appendUpload(uploadId, 0, bodyOf(bytes, { before, pieceBytes: PIECE }));
  expect(offset).toBeGreaterThan(MIB);
  await transfers.appendUpload(uploadId, offset, bodyOf(bytes.slice(offset), { pieceBytes: PIECE }));
  await transfers.completeUpload(uploadId, bytes.length, { expectedCrc32: Bun.hash.crc32(bytes) });
  expect(Bun.hash(await readBack(nodes.data, "resumed"))).toBe(Bun.hash(bytes));
});

test("kill -9 of the master in the middle of an upload, and a restart, are not noticed", async () => {
  const bytes = sampleBytes(12 * MIB, 2);
  await putWhile("master-away", bytes, async () => {
    await nodes.kill9("master-1");
    await Bun.sleep(1500);
    nodes.startNode("master-1");
  });
  expect(Bun.hash(await readBack(nodes.data, "master-away"))).toBe(Bun.hash(bytes));
});

test("kill -9 of a worker in the middle of an upload is not noticed, nor of another during the download", async () => {
  const bytes = sampleBytes(6 * MIB, 3);
  await putWhile("worker-dead", bytes, () => nodes.kill9("worker-1"));
  const { file, stream } = await nodes.data.transfers.openFile("worker-dead");
  const reader = stream(0, file.sizeBytes).getReader();
  const hasher = new Bun.CryptoHasher("sha256");
  for (let received = 0; ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    hasher.update(value);
    received += value.length;
    if (received >= 2 * MIB && received < 2 * MIB + (1 << 16)) await nodes.kill9("worker-2");
  }
  expect(hasher.digest("hex")).toBe(new Bun.CryptoHasher("sha256").update(bytes).digest("hex"));
});
