/** How much may be under way at once. */
import { expect, test } from "bun:test";
import { MasterClient } from "../../gateway/nodes/master-client.ts";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { codeOf } from "../support/codes.ts";
import { CHUNK, SECRET } from "../support/gateway-cluster.ts";
import { namesOf } from "../support/system-backend.ts";
import { bytes, cluster, put, startCluster, stopAfterEach } from "./one-file.ts";

stopAfterEach();

const LIMITS = {
  reservedBytes: 0,
  maxUploads: 256,
  maxDownloads: 512,
  maxUserMetadataBytes: 8192,
  bufferBytes: 1 << 24,
};

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
  expect(await codeOf(opened.bytes([{ start: 0, endExclusive: 10 }], new AbortController().signal))).toBe("OVERLOADED");
  await readers[0]?.cancel();
  expect(await readBack(cluster.data, "file")).toEqual(bytes);
  await readers[1]?.cancel();
});

test("67e. requests that wait for the masters are bounded; what a transfer under way needs is let through", async () => {
  await startCluster();
  const masters = new MasterClient(cluster.config, "gateway-2", SECRET, 10);
  const names = namesOf(masters);
  cluster.stopMaster();
  const waiting = Array.from({ length: 10 }, (_, n) => names.makeDirectory(`d${n}`));
  const refused = [names.stat("d"), names.look("d", "eventual"), names.makeDirectory("d")];
  const needed = masters.ask({ type: "CLUSTER_STATE" }, { underWay: true });
  expect(await Promise.all(refused.map(codeOf))).toEqual(Array(3).fill("OVERLOADED"));
  cluster.startMaster();
  expect((await needed).clusterId).toBe("manual");
  await Promise.all(waiting);
  expect(await names.stat("d9")).toMatchObject({ kind: "directory" });
});
