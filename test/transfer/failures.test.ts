import { afterEach, expect, test } from "bun:test";
import { MasterClient } from "../../gateway/cluster/master-client.ts";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { stopwatch } from "../support/fair-time.ts";
import {
  BLOCK,
  CHUNK,
  type ClusterOptions,
  MemoryCluster,
  type MemoryWorker,
  SECRET,
  type Step,
} from "../support/memory-cluster.ts";

let cluster: MemoryCluster;
const startCluster = async (options: ClusterOptions = {}) => {
  cluster = await new MemoryCluster(options).start();
  return cluster;
};
afterEach(async () => {
  expect(cluster.data.transfers.activity()).toMatchObject({ bufferBytesInUse: 0, uploads: [], downloads: [] });
  await cluster.stop();
});

const bytes = sampleBytes(2 * CHUNK + 100);
const put = (content = bytes, more = {}) =>
  cluster.data.transfers.put({ path: "file", body: bodyOf(content), lengthBytes: content.length, ...more });
const codeOf = (promise: Promise<unknown>) => promise.then(() => "fine").catch((error) => error.code);
const copies = () => cluster.locate("file").chunks.map(({ workerIds }) => workerIds.length);

/** Kills the worker at a step of the first chunk, before the step takes effect. */
const killAt = (worker: MemoryWorker, isMoment: (step: Step) => boolean) => {
  worker.fault = (step) => (isMoment(step) ? worker.kill() : undefined);
};

/** Harms the first two workers that are asked at such a moment, whichever those are, before they answer. */
function harmFirstTwo(isMoment: (step: Step) => boolean, harm: (worker: MemoryWorker) => void | Promise<void>): void {
  const harmed = new Set<MemoryWorker>();
  for (const worker of cluster.workers)
    worker.fault = (step) => {
      if (!isMoment(step) || harmed.size === 2 || harmed.has(worker)) return;
      harmed.add(worker);
      return harm(worker);
    };
}

const moments: Record<string, (step: Step) => boolean> = {
  "at the first block": ({ kind, block }) => kind === "put" && block === 0,
  "in the middle of a chunk": ({ kind, block }) => kind === "put" && block === 7,
  "at the seal": ({ kind }) => kind === "seal",
};

for (const route of ["chain", "fanout"] as const)
  for (const [moment, isMoment] of Object.entries(moments))
    for (const id of ["worker-1", "worker-2", "worker-3"])
      test(`${route}: ${id} dies ${moment}, and the upload goes on`, async () => {
        await startCluster({ config: { route } });
        killAt(cluster.worker(id), isMoment);
        await put();
        for (const count of copies()) expect(count).toBeGreaterThanOrEqual(2);
        expect(cluster.locate("file").chunks[0]?.workerIds).not.toContain(id);
        expect(await readBack(cluster.data, "file")).toEqual(bytes);
        expect(cluster.data.transfers.activity().writeFailovers).toBeGreaterThan(0);
      });

for (const route of ["chain", "fanout"] as const)
  for (const [moment, isMoment] of Object.entries(moments))
    test(`42c. ${route}: two of three workers die ${moment}, and a replacement gets the chunk from the survivor`, async () => {
      await startCluster({ config: { route } });
      killAt(cluster.worker("worker-1"), isMoment);
      killAt(cluster.worker("worker-3"), isMoment);
      await put();
      const [first] = cluster.locate("file").chunks;
      expect(first?.workerIds).toContain("worker-2");
      expect(first?.workerIds).toContain("worker-4");
      expect(await readBack(cluster.data, "file")).toEqual(bytes);
    });

test("a small file whose workers die under it goes to others", async () => {
  await startCluster();
  for (const id of ["worker-1", "worker-2"]) killAt(cluster.worker(id), ({ kind }) => kind === "put");
  const small = sampleBytes(100);
  await put(small);
  expect(copies()[0]).toBeGreaterThanOrEqual(2);
  expect(await readBack(cluster.data, "file")).toEqual(small);
});

test("a small file is placed anew when all its workers die at once", async () => {
  await startCluster({ workers: 6 });
  for (const id of ["worker-1", "worker-2", "worker-3"]) killAt(cluster.worker(id), ({ kind }) => kind === "put");
  const small = sampleBytes(100);
  await put(small);
  expect(copies()).toEqual([3]);
});

test("when all workers of a chunk die, the upload fails with the reason and leaves nothing visible", async () => {
  await startCluster();
  for (const worker of cluster.workers) killAt(worker, ({ kind, block }) => kind === "put" && block === 7);
  expect(await codeOf(put())).toBe("TOO_FEW_REPLICAS");
  expect(await cluster.data.masters.stat("file")).toBeNull();
});

test("fewer live workers than minReplicas are told at once", async () => {
  await startCluster({ workers: 3 });
  for (const id of ["worker-1", "worker-2"]) void cluster.worker(id).kill();
  const elapsed = stopwatch();
  expect(await codeOf(put())).toBe("NOT_ENOUGH_WORKERS");
  expect(await codeOf(put(sampleBytes(5)))).toBe("NOT_ENOUGH_WORKERS");
  expect(elapsed()).toBeLessThan(1000);
});

for (const route of ["chain", "fanout"] as const)
  test(`${route}: a worker that hangs is dropped after its timeout`, async () => {
    await startCluster({ config: { route }, blockTimeoutMs: 2000 });
    cluster.worker("worker-2").fault = ({ kind, block }) =>
      kind === "put" && block >= 3 ? new Promise(() => {}) : undefined;
    await put();
    expect(await readBack(cluster.data, "file")).toEqual(bytes);
    expect(Object.keys(cluster.data.transfers.activity().avoidedWorkers)).toContain("worker-2");
  });

test("a worker that is silent at the seal is not waited for when enough others have flushed", async () => {
  await startCluster();
  cluster.worker("worker-2").fault = ({ kind }) => (kind === "seal" ? new Promise(() => {}) : undefined);
  const elapsed = stopwatch();
  await put(sampleBytes(CHUNK));
  expect(elapsed()).toBeLessThan(5000);
  expect(copies()).toEqual([2]);
  expect(cluster.data.transfers.activity().avoidedWorkers).toHaveProperty("worker-2");
});

for (const content of [sampleBytes(CHUNK), sampleBytes(100)]) {
  const size = content.length === CHUNK ? "a chunk" : "a small file";
  const flush = content.length === CHUNK ? "seal" : "put";
  const config = { replicationFactor: 2 };

  test(`a worker that freezes over ${size} is replaced as soon as it is seen to answer nothing, though nobody is to spare`, async () => {
    await startCluster({ workers: 3, config });
    cluster.worker("worker-2").fault = ({ kind }) =>
      kind === flush || kind === "describe" ? new Promise(() => {}) : undefined;
    await put(content);
    expect(cluster.locate("file").chunks[0]?.workerIds).toEqual(["worker-1", "worker-3"]);
  });

  test(`a worker that flushes ${size} for long, and answers meanwhile, is waited for when nobody is to spare`, async () => {
    await startCluster({ workers: 3, config });
    cluster.worker("worker-2").fault = ({ kind }) => (kind === flush ? Bun.sleep(3300) : undefined);
    await put(content);
    expect(cluster.locate("file").chunks[0]?.workerIds).toEqual(["worker-1", "worker-2"]);
    expect(cluster.data.transfers.activity().writeFailovers).toBe(0);
  });
}

test("a worker that is silent does not hold up small files either", async () => {
  await startCluster();
  cluster.worker("worker-2").fault = ({ kind }) => (kind === "put" ? new Promise(() => {}) : undefined);
  const elapsed = stopwatch();
  await put(sampleBytes(100));
  await put(sampleBytes(101));
  expect(elapsed()).toBeLessThan(5000);
  expect(cluster.locate("file").chunks[0]?.workerIds).not.toContain("worker-2");
});

test("a worker that is merely slow slows the upload, and nothing else", async () => {
  await startCluster();
  cluster.worker("worker-2").fault = () => Bun.sleep(10);
  await put();
  expect(copies()).toEqual([3, 3, 3]);
  expect(cluster.data.transfers.activity().writeFailovers).toBe(0);
});

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
    ({ chunks }) => chunks.clear(),
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
  expect(before).toEqual(bytes.slice(0, CHUNK + 5 * BLOCK));
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
    const copy = cluster.worker("worker-1").chunks.get(chunkId);
    if (copy) cluster.worker("worker-6").chunks.set(chunkId, copy);
    await cluster.propose({ type: "ADD_REPLICAS", replicas: [{ chunkId, workerId: "worker-6", reason: "test" }] });
    for (const id of workerIds) cluster.worker(id).chunks.delete(chunkId);
  }
  expect(new Uint8Array(await new Response(stream(0, bytes.length)).arrayBuffer())).toEqual(bytes);
});

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
  const { masters } = cluster.data;
  const attempts = [masters.stat("file"), masters.makeDirectory("folder"), put(), put(sampleBytes(10))];
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
  expect(await codeOf(cluster.data.masters.makeDirectory("folder"))).toBe("OUTCOME_UNKNOWN");
  expect(await codeOf(cluster.data.masters.makeDirectory("folder"))).toBe("fine");
});

test("hundreds of commands at once keep within the session's window", async () => {
  await startCluster();
  await Promise.all(Array.from({ length: 600 }, (_, n) => cluster.data.masters.makeDirectory(`d/${n}`)));
  expect(cluster.mostInFlight).toBeLessThanOrEqual(64);
});

test("56g. a commit waits for the repair of chunks that lost copies since they were staged", async () => {
  await startCluster();
  const { transfers, masters } = cluster.data;
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
  expect(await masters.stat("file")).toBeNull();
  for (const chunkId of chunkIds) {
    const copy = cluster.worker("worker-3").chunks.get(chunkId);
    if (copy) cluster.worker("worker-4").chunks.set(chunkId, copy);
  }
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

test("32 uploads at once stay within the bound on buffers", async () => {
  const bufferBytes = 1 << 20;
  await startCluster({ config: { limits: { ...LIMITS, bufferBytes } }, blockTimeoutMs: 5000 });
  for (const worker of cluster.workers) worker.fault = () => Bun.sleep(2);
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, cluster.data.transfers.activity().bufferBytesInUse);
  }, 1);
  const contents = Array.from({ length: 32 }, (_, n) => sampleBytes(CHUNK + 100, n));
  await Promise.all(
    contents.map((content, n) => cluster.data.transfers.put({ path: `many/${n}`, body: bodyOf(content) })),
  );
  clearInterval(watch);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(bufferBytes);
  for (const [n, content] of contents.entries()) expect(await readBack(cluster.data, `many/${n}`)).toEqual(content);
});

test("67c. more uploads than config.json allows are refused", async () => {
  await startCluster({ config: { limits: { ...LIMITS, maxUploads: 2 } } });
  const release = Promise.withResolvers<void>();
  const slow = () => bodyOf(sampleBytes(10), { before: () => release.promise });
  const two = [1, 2].map((n) => cluster.data.transfers.put({ path: `slow/${n}`, body: slow() }));
  expect(await codeOf(put(sampleBytes(1)))).toBe("OVERLOADED");
  release.resolve();
  await Promise.all(two);
  expect(await codeOf(put(sampleBytes(1)))).toBe("fine");
});

test("67d. more downloads than config.json allows are refused, and those under way go on", async () => {
  await startCluster({ config: { limits: { ...LIMITS, maxDownloads: 2 } } });
  await put();
  const opened = await cluster.data.transfers.openFile("file");
  const readers = await Promise.all(
    [1, 2].map(async () => (await cluster.data.transfers.openFile("file")).stream(0, bytes.length).getReader()),
  );
  for (const reader of readers) await reader.read();
  expect(await codeOf(cluster.data.transfers.openFile("file"))).toBe("OVERLOADED");
  expect(() => opened.stream(0, 10)).toThrow("2 downloads are under way");
  await readers[0]?.cancel();
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
  await readers[1]?.cancel();
});

test("67e. requests that wait for the masters are bounded; what a transfer under way needs is let through", async () => {
  await startCluster();
  const masters = new MasterClient(cluster.config, "gateway-2", SECRET, 10);
  cluster.stopMaster();
  const waiting = Array.from({ length: 10 }, (_, n) => masters.makeDirectory(`d${n}`));
  const refused = [masters.stat("d"), masters.look("d", "eventual"), masters.makeDirectory("d")];
  const needed = masters.ask({ type: "CLUSTER_STATE" }, { underWay: true });
  expect(await Promise.all(refused.map(codeOf))).toEqual(Array(3).fill("OVERLOADED"));
  cluster.startMaster();
  expect((await needed).clusterId).toBe("memory-cluster");
  await Promise.all(waiting);
  expect(await masters.stat("d9")).toMatchObject({ kind: "directory" });
});

const LIMITS = {
  reservedBytes: 0,
  maxUploads: 256,
  maxDownloads: 512,
  maxUserMetadataBytes: 8192,
  bufferBytes: 1 << 24,
};
