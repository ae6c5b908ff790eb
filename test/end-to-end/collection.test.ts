/** What is deleted or given up goes, wherever it lies and whoever was away; what may still be needed stays. */
import { afterEach, describe, expect, test } from "bun:test";
import { putBlock } from "../../actors/node/http/block-requests.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { MasterClient } from "../../gateway/nodes/master-client.ts";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { BLOCK, CHUNK, WholeCluster } from "../support/whole-cluster.ts";

const GRANT_LEASE_MS = 10 * 60_000;

let cluster: WholeCluster;
const start = async (options: Parameters<typeof WholeCluster.start>[0] = {}) => {
  cluster = await WholeCluster.start(options);
};
afterEach(() => cluster.stop());

const bytes = sampleBytes(3 * CHUNK);
const put = (path = "file", content = bytes) =>
  cluster.data.transfers.put({ path, body: bodyOf(content), lengthBytes: content.length });
const all = (chunkIds: number[], state: string) => () =>
  chunkIds.every((chunkId) => cluster.copies(chunkId).every((copy) => copy === state));
const garbage = () => cluster.engine.queries.garbageCount();

describe("a delete during a read", () => {
  /** A reader that stops after its first block until it is told to go on. */
  async function reading() {
    const { stream } = await cluster.data.transfers.openFile("file");
    const reader = stream(0, bytes.length).getReader();
    const received: Uint8Array[] = [];
    const next = async () => {
      const { done, value } = await reader.read();
      if (value) received.push(value.slice());
      return !done;
    };
    await next();
    return {
      toTheEnd: async () => {
        while (await next());
      },
      received: () => new Uint8Array(Buffer.concat(received)),
    };
  }

  test("59. a reader of a file that is deleted gets every byte within the grace, and then from the trash", async () => {
    await start();
    await put();
    const chunkIds = cluster.chunkIds("file");
    const reader = await reading();
    await cluster.data.namespace.delete("file");
    expect(await codeOf(cluster.data.transfers.openFile("file"))).toBe("NO_SUCH_FILE");
    await cluster.until("every copy is in the trash", all(chunkIds, "trash"));
    await reader.toTheEnd();
    expect(reader.received()).toEqual(bytes);
  });

  test("59b. when the bytes of a deleted file are gone its reader's stream breaks off, with nothing but right bytes before", async () => {
    await start({ config: { trash: { keepMs: 0, deleteGraceMs: 0 } } });
    await put();
    const chunkIds = cluster.chunkIds("file");
    const reader = await reading();
    // Another file takes the name: its bytes are not what the reader opened.
    await put("file", sampleBytes(3 * CHUNK, 2));
    await cluster.until("every copy is destroyed", all(chunkIds, "none"));
    expect(await codeOf(reader.toTheEnd())).toBe("DATA_UNAVAILABLE");
    const received = reader.received();
    expect(received.length).toBeLessThan(bytes.length);
    expect(received).toEqual(bytes.slice(0, received.length));
  });
});

describe("a worker that was away", () => {
  test("60. copies of a worker that was away during a delete go when it is back, and the file stays deleted", async () => {
    await start();
    await put();
    const chunkIds = cluster.chunkIds("file");
    await cluster.stopWorker("worker-3");
    await cluster.data.namespace.delete("file");
    await cluster.until("the others have trashed theirs", all(chunkIds, "trash"));
    await cluster.until("only its own are left to do", () => garbage() === chunkIds.length);
    await cluster.startWorker("worker-3");
    await cluster.until("it has, too", all(chunkIds, "trash"));
    await cluster.until("nothing is left to do", () => garbage() === 0);
    expect(await cluster.data.namespace.stat("file")).toBeNull();
    expect((await cluster.data.operations.clusterState()).redundancy.chunks).toBe(0);
  });

  test("60b. copies of a worker that comes back when the deletes are forgotten are unknown, and go to the trash", async () => {
    await start();
    await put();
    await put("kept", sampleBytes(CHUNK, 3));
    const chunkIds = cluster.chunkIds("file");
    await cluster.stopWorker("worker-3");
    await cluster.data.namespace.delete("file");
    // As after a restore from a backup that knows nothing of them.
    const items = chunkIds.map((chunkId) => ({ chunkId, workerId: "worker-3" }));
    await cluster.engine.propose({ type: "FORGET_GARBAGE", items });
    await cluster.until("the grants of the upload have ended", async () => {
      cluster.clock.leap(GRANT_LEASE_MS);
      return chunkIds.every((id) => !isOpen(id));
    });
    await cluster.startWorker("worker-3");
    await cluster.until("all copies are in the trash", all(chunkIds, "trash"));
    expect(await cluster.data.namespace.stat("file")).toBeNull();
    expect(await readBack(cluster.data, "kept")).toEqual(sampleBytes(CHUNK, 3));
    expect(all(cluster.chunkIds("kept"), "sealed")()).toBe(true);
  });

  test("62. deletes that wait for their grace outlive a restart of the worker, and a change of leader", async () => {
    await start({ config: { trash: { keepMs: 3_600_000, deleteGraceMs: 60_000 } } });
    await put();
    const chunkIds = cluster.chunkIds("file");
    await cluster.data.namespace.delete("file");
    await cluster.stopWorker("worker-2");
    await cluster.startWorker("worker-2");
    cluster.openOffice();
    expect(chunkIds.map((id) => cluster.copies(id))).toEqual(chunkIds.map(() => ["sealed", "sealed", "sealed"]));
    cluster.clock.leap(60_000);
    await cluster.until("every copy is in the trash", all(chunkIds, "trash"));
    await cluster.until("nothing is left to do", () => garbage() === 0);
  });
});

const isOpen = (chunkId: number) => cluster.engine.store.row("grantOf", { chunkId })?.isOpen === true;

describe("chunks of no file", () => {
  /** A gateway that places a chunk, writes it to all workers, and is never heard of again. */
  async function abandoned({ sealed }: { sealed: boolean }): Promise<number> {
    const client = new MasterClient(cluster.config, "gateway-9", cluster.secret);
    const { firstChunkId: chunkId } = await client.ask({
      type: "PLACE_CHUNKS",
      gatewayId: "gateway-9",
      count: 1,
      chunkSizeBytes: CHUNK,
      replicationFactor: 3,
      minReplicas: 2,
      exclude: [],
    });
    const content = sampleBytes(BLOCK);
    const crc32 = Bun.hash.crc32(content);
    for (const { id, url } of cluster.config.workers) {
      const block = { chunkId, block: 0, bytes: content, crc32, blockSizeBytes: BLOCK };
      await putBlock(cluster.identity, { id, url }, [], block, { timeoutMs: 5000 });
      if (!sealed) continue;
      const whole = { lengthBytes: BLOCK, blockSizeBytes: BLOCK, crc32: crc32OfBlocks([crc32], BLOCK, BLOCK) };
      await send(cluster.identity, url, { type: "SEAL_CHUNK", chunkId, ...whole } as never);
    }
    return chunkId;
  }
  /** Long enough for the comparison to have come round for each worker, more than once. */
  const comparedAgain = async () => {
    const before = cluster.listsJudged;
    await cluster.until("lists were judged", () => cluster.listsJudged >= before + 9);
  };

  for (const sealed of [true, false])
    test(`55${sealed ? "b" : "c"}. what a dead client left ${sealed ? "sealed" : "unsealed"} is collected after its lease, not before`, async () => {
      await start();
      const chunkId = await abandoned({ sealed });
      const state = sealed ? "sealed" : "open";
      if (sealed) await comparedAgain();
      else await Bun.sleep(300);
      expect(cluster.copies(chunkId)).toEqual([state, state, state]);
      cluster.clock.leap(GRANT_LEASE_MS);
      await cluster.until("it is gone", all([chunkId], sealed ? "trash" : "none"));
    });

  test("61b. a chunk whose upload is under way is kept by any number of comparisons, under a new leader too", async () => {
    await start();
    const goOn = Promise.withResolvers<void>();
    const content = sampleBytes(2 * CHUNK);
    const before = (offset: number) => (offset > CHUNK + BLOCK ? goOn.promise : undefined);
    const putting = cluster.data.transfers.put({ path: "file", body: bodyOf(content, { before }) });
    await cluster.until("its first chunk is sealed", () => cluster.copies(1).every((state) => state === "sealed"));
    await comparedAgain();
    cluster.openOffice();
    await comparedAgain();
    expect(cluster.copies(1)).toEqual(["sealed", "sealed", "sealed"]);
    goOn.resolve();
    await putting;
    expect(await readBack(cluster.data, "file")).toEqual(content);
  });

  test("61c. an upload that outlived its lease is refused, and collected: never committed and collected", async () => {
    await start();
    const goOn = Promise.withResolvers<void>();
    const content = sampleBytes(2 * CHUNK);
    const before = (offset: number) => (offset > CHUNK + BLOCK ? goOn.promise : undefined);
    const putting = cluster.data.transfers.put({ path: "file", body: bodyOf(content, { before }) });
    await cluster.until("its first chunk is sealed", () => cluster.copies(1).every((state) => state === "sealed"));
    cluster.clock.leap(GRANT_LEASE_MS);
    await cluster.until("it is collected", all([1], "trash"));
    goOn.resolve();
    expect(["GRANT_EXPIRED", "TOO_FEW_REPLICAS"]).toContain(await codeOf(putting));
    expect(await cluster.data.namespace.stat("file")).toBeNull();
  });
});

describe("a put whose answer was lost", () => {
  test("53i. a put whose answer was lost goes through another gateway under its key: the same file, and the second try's chunks are collected", async () => {
    await start();
    const request = { path: "file", idempotencyKey: "key" };
    const first = await cluster.data.transfers.put({ ...request, body: bodyOf(bytes) });
    const other = cluster.openGateway("gateway-2");
    try {
      const again = await other.transfers.put({ ...request, body: bodyOf(bytes) });
      expect(again).toEqual(first);
      const kept = cluster.chunkIds("file");
      const tried = Array.from({ length: 3 }, (_, n) => Math.max(...kept) + 1 + n);
      expect(all(tried, "sealed")()).toBe(true);
      cluster.clock.leap(GRANT_LEASE_MS);
      await cluster.until("the second try is in the trash", all(tried, "trash"));
      expect(all(kept, "sealed")()).toBe(true);
      expect(await readBack(other, "file")).toEqual(bytes);
    } finally {
      await other.close();
    }
  });
});

describe("a copy lost between seal and commit", () => {
  test("56f. a worker that is wiped while an upload goes on does not count, and its copy is made again", async () => {
    await start();
    const goOn = Promise.withResolvers<void>();
    const content = sampleBytes(2 * CHUNK);
    const before = (offset: number) => (offset > CHUNK + BLOCK ? goOn.promise : undefined);
    const putting = cluster.data.transfers.put({ path: "file", body: bodyOf(content, { before }) });
    await cluster.until("its first chunk is sealed", () => cluster.copies(1).every((state) => state === "sealed"));
    await cluster.wipeWorker("worker-2");
    await cluster.until(
      "its loss is in the log",
      () => (cluster.engine.store.row("worker", { workerId: "worker-2" })?.lostBelow ?? 0) > 1,
    );
    goOn.resolve();
    await putting;
    const [first] = cluster.engine.queries.locate("file", 0, 1).chunks;
    expect(first?.workerIds).not.toContain("worker-2");
    await cluster.until("the copy is made again", () =>
      cluster.engine.queries.locate("file", 0, 9).chunks.every(({ workerIds }) => workerIds.length === 3),
    );
    expect(await readBack(cluster.data, "file")).toEqual(content);
  });
});
