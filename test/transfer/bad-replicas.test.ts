/** Downloads whose workers die, hang, or hold bad copies. */
import { expect, test } from "bun:test";
import { readBack } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { stopwatch } from "../support/fair-time.ts";
import { BLOCK, CHUNK, type ManualWorker, type Step } from "../support/gateway-cluster.ts";
import { bytes, cluster, put, startCluster, stopAfterEach } from "./one-file.ts";

stopAfterEach();

/** Harms the first two workers that are asked at such a moment, whichever those are, before they answer. */
function harmFirstTwo(isMoment: (step: Step) => boolean, harm: (worker: ManualWorker) => void | Promise<void>): void {
  const harmed = new Set<ManualWorker>();
  for (const worker of cluster.workers)
    worker.fault = (step) => {
      if (!isMoment(step) || harmed.size === 2 || harmed.has(worker)) return;
      harmed.add(worker);
      return harm(worker);
    };
}

test("a corrupt block never reaches the reader: another replica serves it, and the leader hears of it", async () => {
  await startCluster();
  await put();
  const second = cluster.locate("file").chunks[1]?.chunkId as number;
  harmFirstTwo(
    ({ kind, chunkId, block }) => kind === "get" && chunkId === second && block === 5,
    (worker) => worker.corrupt(second, 5),
  );
  for (let n = 0; n < 4; n++) expect(await readBack(cluster.data, "file")).toEqual(bytes);
  const reported = cluster.reports.map(({ chunkId, problem }) => ({ chunkId, problem }));
  expect(reported).toContainEqual({ chunkId: second, problem: "corrupt" });
});

test("a lost copy is reported as missing, and the file is read from another", async () => {
  await startCluster();
  await put();
  harmFirstTwo(
    ({ kind }) => kind === "get",
    (worker) => worker.lose(),
  );
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
  expect(cluster.reports.map(({ problem }) => problem)).toContain("missing");
});

test("when every copy is bad the stream breaks off, with no wrong byte before", async () => {
  await startCluster();
  await put();
  const [, second] = cluster.locate("file").chunks;
  for (const id of second?.workerIds ?? []) cluster.worker(id).corrupt(second?.chunkId as number, 5);
  const { stream } = await cluster.data.transfers.openFile("file");
  const received: Uint8Array[] = [];
  const reading = (async () => {
    for await (const piece of stream(0, bytes.length)) received.push(piece);
  })();
  expect(await codeOf(reading)).toBe("DATA_UNAVAILABLE");
  const before = new Uint8Array(await new Blob(received as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  expect(before).toEqual(bytes.slice(0, before.length));
  expect(before.length).toBeGreaterThanOrEqual(CHUNK);
  expect(before.length).toBeLessThanOrEqual(CHUNK + 5 * BLOCK);
  expect(cluster.data.transfers.activity().downloadsFailed).toBe(1);
});

test("replicas that are bad in different places make up for each other, also where a reader asks for both places at once", async () => {
  await startCluster();
  await put();
  const [, second] = cluster.locate("file").chunks;
  for (const [n, id] of (second?.workerIds ?? []).entries())
    cluster.worker(id).corrupt(second?.chunkId as number, 4 + n);
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
});

test("workers that die in the middle of a download are not noticed", async () => {
  await startCluster();
  await put();
  let gets = 0;
  harmFirstTwo(
    ({ kind }) => kind === "get" && ++gets > 10,
    (worker) => worker.kill(),
  );
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
  expect(cluster.data.transfers.activity().readFailovers).toBeGreaterThan(0);
});

test("a replica that hangs gets a competitor", async () => {
  await startCluster();
  await put();
  const isRead = ({ kind }: Step): boolean => kind === "get" || kind === "describe";
  const never = new Promise<void>(() => {});
  harmFirstTwo(isRead, (worker) => {
    worker.fault = (step) => (isRead(step) ? never : undefined);
    return never;
  });
  const elapsed = stopwatch();
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
  expect(elapsed()).toBeLessThan(3000);
});

test("replicas that moved since the file was opened are looked up again", async () => {
  await startCluster({ workers: 6 });
  await put();
  const { stream } = await cluster.data.transfers.openFile("file");
  for (const { chunkId, workerIds } of cluster.locate("file").chunks) {
    await cluster.worker("worker-6").copyFrom(cluster.worker("worker-1"), chunkId);
    await cluster.propose({ type: "ADD_REPLICAS", replicas: [{ chunkId, workerId: "worker-6", reason: "test" }] });
    for (const id of workerIds) await cluster.worker(id).lose(chunkId);
  }
  expect(new Uint8Array(await new Response(stream(0, bytes.length)).arrayBuffer())).toEqual(bytes);
});
