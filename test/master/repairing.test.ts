/** How a leader mends: from which copy to where, what first, how much at once, and what it gives up. */
import { afterEach, describe, expect, test } from "bun:test";
import { Refusal } from "../../actors/messages/errors.ts";
import { sampleBytes } from "../support/bodies.ts";
import { ManualCluster } from "../support/manual-cluster.ts";

let cluster: ManualCluster;
const start = async (options?: Parameters<typeof ManualCluster.start>[0]) => {
  cluster = await ManualCluster.start(options);
};
afterEach(() => cluster?.stop());

const five = ["a", "b", "c", "d", "e"];
const never = () => new Promise<never>(() => {});
const repair = { maxConcurrent: 8, maxPerWorker: 2, bytesPerSecond: 0, massSilenceMs: 600_000 };

describe("a source that is corrupt", () => {
  test("44d. a corrupt source that a copying worker names is read back, counts no longer, and another copy is made from a good one", async () => {
    await start({ zones: five });
    const chunkId = await cluster.file("f", [1, 2]);
    cluster.w(1).corrupt(chunkId);
    cluster.w(2).fault = () => {
      if (cluster.w(1).verified.length === 0) throw new Refusal("NOT_READY", "busy: the others have to read from w1");
    };
    await cluster.until("three good copies", () => {
      const holders = cluster.holders("f");
      return holders.length === 3 && (!holders.includes("w1") || cluster.w(1).copyOrders.length > 0);
    });
    expect(cluster.w(1).verified).toContain(chunkId);
    expect(cluster.w(2).trashed).toEqual([]);
  });

  test("44e. a corrupt copy that is the only one left is not copied, its worker is asked, and the chunk is reported as lost", async () => {
    await start({ zones: five });
    const chunkId = await cluster.file("f", [1]);
    cluster.w(1).corrupt(chunkId);
    await cluster.until("it is known", async () => (await cluster.reasons()).includes("CHUNKS_UNREACHABLE"));
    expect(cluster.engine.queries.faultsOf(chunkId)).toEqual([{ workerId: "w1", state: "corrupt" }]);
    expect(cluster.w(1).trashed).toEqual([]);
  });

  test("44f. a copy that a reader reports and its worker finds good stays a copy", async () => {
    await start();
    const chunkId = await cluster.file("f", [1, 2, 3]);
    await cluster.office.handlers.REPORT_REPLICA(
      { type: "REPORT_REPLICA", chunkId, workerId: "w1", problem: "corrupt", detail: "a bad cable" },
      "g1",
    );
    await cluster.until("it was asked", () => cluster.w(1).verified.length > 0);
    await cluster.pass(1000);
    expect(cluster.holders("f")).toEqual(["w1", "w2", "w3"]);
  });
});

test("45. a bad copy where every worker holds one is replaced in place, and the good ones are let be", async () => {
  await start();
  const chunkId = await cluster.file("f", [1, 2, 3]);
  await cluster.w(2).store.quarantine(chunkId, "its checksum says otherwise");
  const copied = Promise.withResolvers<void>();
  cluster.w(2).beforeCopy = () => copied.promise;
  await cluster.until("it counts no longer", () => !cluster.holders("f").includes("w2"));
  copied.resolve();
  await cluster.until("and counts again", () => cluster.holders("f").includes("w2"));
  expect(cluster.copyOrders()).toEqual([{ target: "w2", chunkId }]);
  expect(
    cluster
      .w(2)
      .copyOrders[0]?.sources.map(({ id }) => id)
      .sort(),
  ).toEqual(["w1", "w3"]);
  await cluster.pass(20_000);
  expect(cluster.workers.flatMap(({ trashed }) => trashed)).toEqual([]);
  expect(cluster.engine.queries.faultsOf(chunkId)).toEqual([]);
});

describe("a copy whose report got lost", () => {
  /** The next copy is made, and nobody hears of it. */
  const loseReport = () => {
    const lost: string[] = [];
    for (const worker of cluster.workers)
      worker.beforeCopy = async (order) => {
        await worker.carryOut(order);
        lost.push(worker.id);
        for (const other of cluster.workers) other.beforeCopy = null;
        throw new Refusal("PEER_UNREACHABLE", "the connection broke");
      };
    return lost;
  };

  test("46. after a copy whose report got lost the same worker is asked again, and has it already: there is no copy more than wanted", async () => {
    await start({ zones: [...five, "f", "g", "h"] });
    const chunkId = await cluster.file("f", [1, 2]);
    for (const worker of cluster.workers) worker.tellsInventory = false;
    const lost = loseReport();
    await cluster.until("it counts", () => cluster.holders("f").length === 3);
    expect(cluster.copyOrders()).toEqual([
      { target: lost[0] as string, chunkId },
      { target: lost[0] as string, chunkId },
    ]);
    expect(cluster.workers.filter((worker) => worker.holds(chunkId))).toHaveLength(3);
  });

  test("46c. a copy whose report got lost with its worker is found when the worker is back, and one of the four goes", async () => {
    await start({ zones: [...five, "f", "g", "h"] });
    const chunkId = await cluster.file("f", [1, 2]);
    const lost = loseReport();
    await cluster.until("a copy was made", () => lost.length > 0);
    const absent = cluster.workers.find(({ id }) => id === lost[0]);
    if (!absent) throw new Error("which?");
    absent.beats = false;
    await cluster.until("another one counts", () => cluster.holders("f").length === 3);
    absent.beats = true;
    await cluster.until(
      "three copies, on the books and on the disks",
      () => cluster.workers.filter((worker) => worker.holds(chunkId)).length === 3,
    );
    expect(cluster.holders("f")).toHaveLength(3);
  });

  test("46e. an order to copy that a worker forgot, because it was started again, is given anew", async () => {
    await start();
    const chunkId = await cluster.file("f", [1, 2]);
    cluster.w(3).beforeCopy = never;
    await cluster.until("a copy is on its way", () => cluster.copyOrders().length > 0);
    cluster.w(3).beforeCopy = null;
    const { epoch } = cluster.w(3).me;
    await cluster.w(3).wipe();
    expect(cluster.w(3).me.epoch).toBe(epoch); // An empty data directory counts from one again.
    await cluster.until("three copies count", () => cluster.holders("f").length === 3);
    expect(cluster.copyOrders()).toEqual([
      { target: "w3", chunkId },
      { target: "w3", chunkId },
    ]);
  });

  test("46f. an order to copy that its worker does not name is given anew; one that it names goes on", async () => {
    await start();
    const chunkId = await cluster.file("f", [1, 2]);
    cluster.w(3).beforeCopy = never;
    await cluster.until("a copy is on its way", () => cluster.copyOrders().length > 0);
    await cluster.pass(300_000);
    expect(cluster.copyOrders()).toHaveLength(1);
    cluster.w(3).copying.clear();
    cluster.w(3).beforeCopy = null;
    await cluster.until("three copies count", () => cluster.holders("f").length === 3);
    expect(cluster.copyOrders()).toEqual([
      { target: "w3", chunkId },
      { target: "w3", chunkId },
    ]);
  });

  test("46d. a new leader takes in a copy that it did not order when inventories are compared", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    const chunkId = await cluster.file("f", [1, 2]);
    for (const worker of cluster.workers) worker.beforeCopy = never;
    await cluster.until("a copy is on its way", () => cluster.copyOrders().length > 0);
    cluster.openOffice();
    await cluster.w(3).copyFrom(cluster.w(1), chunkId);
    for (const worker of cluster.workers) worker.beforeCopy = null;
    await cluster.until("three copies count", () => cluster.holders("f").length >= 3);
    await cluster.pass(20_000);
    expect(cluster.holders("f")).toHaveLength(3);
    expect(cluster.workers.filter((worker) => worker.holds(chunkId))).toHaveLength(3);
  });
});

test("47b. every order tells by the leader's clock until when it is meant, and the leader tells that clock's time", async () => {
  await start({ zones: ["a", "b", "c", "d"] });
  await cluster.file("f", [1, 2]);
  await cluster.until("a copy is ordered", () => cluster.copyOrders().length > 0);
  const [order] = cluster.workers.flatMap(({ copyOrders }) => copyOrders);
  const answer = await cluster.office.handlers.REGISTER(
    {
      type: "REGISTER",
      workerId: "w1",
      url: cluster.w(1).url,
      zone: "a",
      incarnation: "first-disk",
      epoch: 1,
      clusterId: null,
      capacityBytes: 1000,
      freeBytes: 1000,
    },
    "w1",
  );
  expect(answer.leaderTimeMs).toBe(Math.floor(cluster.clock.now()));
  expect(Math.abs((order?.expiresAt ?? 0) - cluster.clock.now() - (order?.timeoutMs ?? 0))).toBeLessThan(5000);
});

describe("much to mend", () => {
  test("49. chunks with one copy left are copied first, whenever they were found", async () => {
    await start({ zones: five, config: { repair: { ...repair, maxConcurrent: 1 } } });
    const order: number[] = [];
    for (const worker of cluster.workers)
      worker.beforeCopy = async ({ chunkId }) => {
        order.push(chunkId);
      };
    for (const worker of cluster.workers) worker.beats = true;
    cluster.openOffice(); // safe mode: nothing is mended while the files are made
    cluster.w(5).beats = false;
    const twoLeft: number[] = [];
    const oneLeft: number[] = [];
    for (let n = 0; n < 4; n++) twoLeft.push(await cluster.file(`two/${n}`, [1, 2]));
    for (let n = 0; n < 4; n++) oneLeft.push(await cluster.file(`one/${n}`, [3]));
    await cluster.until("all are mended", async () => (await cluster.state()).redundancy.full === 8);
    expect(order.slice(0, 4).sort()).toEqual(oneLeft.sort());
    expect(order).toHaveLength(12);
  });

  test("49c. no more copies are under way at once than allowed, in all and per worker, as source and as target, each at its pace", async () => {
    const limits = { ...repair, maxConcurrent: 5, maxPerWorker: 2, bytesPerSecond: 1000 };
    await start({ zones: five, config: { repair: limits } });
    const running: { target: string; source: string }[] = [];
    const paces = new Set<number | null>();
    let most = 0;
    let mostOfOne = 0;
    let done = 0;
    for (const worker of cluster.workers)
      worker.beforeCopy = async (order) => {
        const { sources, bytesPerSecond } = order;
        paces.add(bytesPerSecond);
        const copy = { target: worker.id, source: sources[0]?.id as string };
        running.push(copy);
        most = Math.max(most, running.length);
        for (const role of ["target", "source"] as const)
          for (const { id } of cluster.workers)
            mostOfOne = Math.max(mostOfOne, running.filter((one) => one[role] === id).length);
        await worker.carryOut(order);
        running.splice(running.indexOf(copy), 1);
        done++;
      };
    const holders = [
      [1, 2],
      [2, 3],
      [3, 4],
      [4, 5],
    ];
    for (let n = 0; n < 24; n++) await cluster.file(`f${n}`, holders[n % 4] as number[], { lengthBytes: 20 });
    await cluster.until("all are mended", async () => (await cluster.state()).redundancy.full === 24);
    expect(done).toBe(24);
    expect([...paces]).toEqual([1000]);
    expect([most, mostOfOne]).toEqual([5, 2]);
  });

  test("49d. a copy at a slow pace gets the time that it needs", async () => {
    await start({ config: { repair: { ...repair, bytesPerSecond: 100 } } });
    await cluster.file("f", [1, 2], { lengthBytes: 500_000 });
    cluster.w(3).beforeCopy = never;
    await cluster.until("a copy is ordered", () => cluster.copyOrders().length > 0);
    expect(cluster.w(3).copyOrders[0]?.timeoutMs).toBeGreaterThan(5_000_000);
  });
});

describe("a worker that is drained", () => {
  const drain = async (n: number) => {
    await cluster.engine.propose({ type: "SET_WORKER_MODE", workerId: `w${n}`, mode: "draining" });
    await cluster.office.workers.setMode(`w${n}`, "draining");
  };

  test("50. a worker is not drained while an upload is open on it, only when that is committed and copied", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    await cluster.file("old", [1, 2, 3]);
    const { firstChunkId: chunkId } = await cluster.engine.propose({
      type: "GRANT_CHUNKS",
      gatewayId: "g1",
      count: 1,
      leaseMs: 60_000,
      decision: { atLogTime: 0, rule: "before the drain", candidates: [] },
    });
    const bytes = sampleBytes(10);
    const written = await cluster.w(1).begin(chunkId, bytes);
    await cluster.pass(1000);
    await drain(1);
    await cluster.until("the old copy has moved", () => !cluster.holders("old").includes("w1"));
    await cluster.pass(10_000);
    expect(cluster.w(1).sealedChunks()).toEqual([]);
    expect(await cluster.stateOf(1)).toBe("draining");

    for (const n of [1, 2, 3]) await cluster.w(n).hold(chunkId, bytes); // not committed yet
    await cluster.pass(10_000);
    expect(await cluster.stateOf(1)).toBe("draining");

    await cluster.engine.propose({
      type: "PUT_FILE",
      path: "new",
      chunks: [{ chunkId, ...written, workerIds: ["w1", "w2", "w3"] }],
      sizeBytes: written.lengthBytes,
      crc32: written.crc32,
      replicationFactor: 3,
      minReplicas: 2,
      condition: {},
      contentType: "text/plain",
      sha256: null,
      userMetadata: {},
    });
    expect(await cluster.stateOf(1)).toBe("draining");
    await cluster.until("drained", async () => (await cluster.stateOf(1)) === "drained");
    expect(cluster.holders("new")).toEqual(["w2", "w3", "w4"]);
    expect(await cluster.reasons()).toEqual(["WORKER_DRAINED"]);
  });

  test("50c. a worker is not drained before it knows that it is to take nothing new", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    cluster.w(1).beats = false;
    await drain(1);
    await cluster.pass(300);
    expect(await cluster.stateOf(1)).toBe("draining");
    cluster.w(1).beats = true;
    await cluster.until("drained", async () => (await cluster.stateOf(1)) === "drained", 3000);
  });
});

describe("a copy too many", () => {
  test("51. a copy too many goes only when enough others are held by workers that told this leader what they hold, and zones stay apart", async () => {
    await start({ zones: ["a", "b", "c", "c"] });
    for (const worker of cluster.workers) worker.tellsInventory = false;
    const chunkId = await cluster.file("f", [1, 2, 3, 4]);
    cluster.openOffice();
    await cluster.pass(10_000);
    expect(cluster.holders("f")).toHaveLength(4);
    for (const worker of cluster.workers) worker.tellsInventory = true;
    await cluster.until("one goes", () => cluster.holders("f").length === 3);
    expect(cluster.holders("f").slice(0, 2)).toEqual(["w1", "w2"]);
    await cluster.until("its bytes, too", () => cluster.workers.filter((worker) => worker.holds(chunkId)).length === 3);
    expect(cluster.workers.flatMap(({ trashed }) => trashed)).toEqual([chunkId]);
    await cluster.pass(20_000);
    expect(cluster.copyOrders()).toEqual([]);
  });

  test("51b. no copy too many goes while a worker of the others is suspect", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    for (const worker of cluster.workers) worker.tellsInventory = false;
    await cluster.file("f", [1, 2, 3, 4]);
    cluster.openOffice();
    await cluster.pass(1000);
    cluster.w(4).beats = false;
    await cluster.until("it is suspect", async () => (await cluster.stateOf(4)) === "suspect");
    for (const n of [1, 2, 3]) await cluster.tellInventory(cluster.w(n));
    await cluster.pass(2000);
    expect(cluster.holders("f")).toHaveLength(4);
  });

  test("51c. a copy too many goes although other chunks miss copies that cannot be made", async () => {
    await start({ zones: ["a", "b", "c", "d"] });
    await cluster.file("short", [1, 2], { lengthBytes: 10_000_000 });
    await cluster.file("f", [1, 2, 3, 4]);
    await cluster.until("one goes", () => cluster.holders("f").length === 3);
    expect(await cluster.reasons()).toContain("CHUNKS_SHORT");
  });
});

test("F4. a worker that fails every copy is not taken again and again: the others get them meanwhile", async () => {
  await start({ zones: five });
  for (let n = 0; n < 10; n++) await cluster.file(`f${n}`, [1, 2]);
  cluster.w(3).beforeCopy = async () => {
    throw new Refusal("READ_ONLY", "ENOENT: no such file or directory");
  };
  const full = () => Array.from({ length: 10 }, (_, n) => cluster.holders(`f${n}`)).every(({ length }) => length === 3);
  const before = cluster.clock.now();
  await cluster.until("every chunk has its copies", full);
  const tookMs = cluster.clock.now() - before;
  // Two at a time until the first refusal, then one more each time that its rest is over.
  expect(cluster.w(3).copyOrders.length).toBeLessThanOrEqual(2 + Math.ceil(tookMs / 5_000));
  expect(cluster.w(4).copyOrders.length + cluster.w(5).copyOrders.length).toBeGreaterThanOrEqual(10);
});

test("F4. while a worker's disk fails its copies are not sure: nobody is told that the others may be stopped", async () => {
  await start();
  await cluster.file("f", [1, 2, 3]);
  const atRisk = async () => (await cluster.state()).workers.map(({ chunksAtRiskIfStopped }) => chunksAtRiskIfStopped);
  expect(await atRisk()).toEqual([0, 0, 0]);
  cluster.w(1).condition = "readOnly";
  await cluster.pass(1000);
  expect(await atRisk()).toEqual([0, 1, 1]);
});

test("F4. a copy too many is not given up on the strength of one on a failing disk", async () => {
  await start({ zones: ["a", "b", "c", "d"] });
  cluster.w(1).condition = "readOnly";
  await cluster.pass(1000);
  await cluster.file("f", [1, 2, 3, 4]);
  await cluster.pass(20_000);
  expect(cluster.holders("f").filter((id) => id !== "w1")).toEqual(["w2", "w3", "w4"]);
  cluster.w(1).condition = "normal";
  await cluster.until("one copy goes", () => cluster.holders("f").length === 3);
});
