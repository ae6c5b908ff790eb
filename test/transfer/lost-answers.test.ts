/** Masters that are away, answers that are lost, sessions and grants that end. */
import { expect, test } from "bun:test";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { stopwatch } from "../support/fair-time.ts";
import { BLOCK, CHUNK } from "../support/gateway-cluster.ts";
import { bytes, cluster, copies, put, startCluster, stopAfterEach } from "./one-file.ts";

stopAfterEach();

test("a master that is away for three seconds in the middle of an upload is not noticed", async () => {
  await startCluster();
  let back: Promise<void> | null = null;
  const before = (offset: number) => {
    if (offset < CHUNK || back) return;
    cluster.stopMaster();
    back = Bun.sleep(3000).then(() => cluster.startMaster());
  };
  await put(bytes, { body: bodyOf(bytes, { before }) });
  expect(back).not.toBeNull();
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
});

test("when no master takes a connection, nothing was done, and that is told within seconds", async () => {
  await startCluster();
  await put(sampleBytes(10));
  cluster.stopMaster();
  const elapsed = stopwatch();
  const { namespace } = cluster.data;
  const attempts = [namespace.stat("file"), namespace.makeDirectory("folder"), put(), put(sampleBytes(10))];
  expect(await Promise.all(attempts.map(codeOf))).toEqual(Array(4).fill("NO_LEADER"));
  expect(elapsed()).toBeLessThan(5000);
});

test("53d. a command whose answer is lost takes effect once", async () => {
  await startCluster();
  cluster.loseAnswers = 2;
  const { created } = await put(sampleBytes(10));
  expect(created).toBe(true);
  expect(cluster.loseAnswers).toBe(0);
});

test("an expired session is replaced, and nobody notices", async () => {
  await startCluster();
  await put(sampleBytes(10));
  cluster.endSessions();
  expect((await put(sampleBytes(11))).file.sizeBytes).toBe(11);
});

test("66b. a session that ends while a command is under way makes its outcome unknown, and it is not run again", async () => {
  await startCluster();
  await put(sampleBytes(10));
  cluster.loseAnswers = 1;
  cluster.onLostAnswer = () => cluster.endSessions();
  expect(await codeOf(cluster.data.namespace.makeDirectory("folder"))).toBe("OUTCOME_UNKNOWN");
  expect(await codeOf(cluster.data.namespace.makeDirectory("folder"))).toBe("fine");
});

test("hundreds of commands at once keep within the session's window", async () => {
  await startCluster();
  await Promise.all(Array.from({ length: 600 }, (_, n) => cluster.data.namespace.makeDirectory(`d/${n}`)));
  expect(cluster.mostInFlight).toBeLessThanOrEqual(64);
});

test("56g. a commit waits for the repair of chunks that lost copies since they were staged", async () => {
  await startCluster();
  const { transfers, namespace } = cluster.data;
  const { uploadId } = await transfers.openUpload({ path: "file" });
  await transfers.appendUpload(uploadId, 0, bodyOf(bytes));
  const chunkIds = cluster.worker("worker-3").sealedChunks();
  for (const workerId of ["worker-1", "worker-2"]) {
    const { url, zone } = cluster.worker(workerId);
    const disk = { incarnation: "another disk", capacityBytes: 1 << 30 };
    await cluster.propose({ type: "REGISTER_WORKER", workerId, url, zone, ...disk });
  }
  const before = cluster.asked.EXECUTE ?? 0;
  const completing = transfers.completeUpload(uploadId, bytes.length);
  while ((cluster.asked.EXECUTE ?? 0) < before + 2) await Bun.sleep(10);
  expect(await namespace.stat("file")).toBeNull();
  for (const chunkId of chunkIds) await cluster.worker("worker-4").copyFrom(cluster.worker("worker-3"), chunkId);
  const repaired = chunkIds.map((chunkId) => ({ chunkId, workerId: "worker-4", reason: "repair" }));
  await cluster.propose({ type: "ADD_REPLICAS", replicas: repaired });
  expect((await completing).file).toMatchObject({ sizeBytes: bytes.length });
  expect(copies()).toEqual([2, 2, 2]);
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
});

test("grants are renewed while a slow upload uses them", async () => {
  await startCluster({ grantLeaseMs: 6000 });
  const before = (offset: number) => (offset > 0 ? Bun.sleep(3500) : undefined);
  const content = sampleBytes(3 * BLOCK);
  await put(content, { body: bodyOf(content, { pieceBytes: BLOCK, before }) });
  expect(await readBack(cluster.data, "file")).toEqual(content);
});
