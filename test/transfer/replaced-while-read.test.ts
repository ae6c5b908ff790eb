/** A file that is replaced after a GET looked it up, and whose old bytes are gone before they were read. */
import { afterEach, expect, test } from "bun:test";
import { createLogger } from "../../actors/node/log.ts";
import { createGatewayServer } from "../../gateway/server.ts";
import { bodyOf, bytesOf, sampleBytes } from "../support/bodies.ts";
import { BLOCK, GatewayCluster } from "../support/gateway-cluster.ts";

let cluster: GatewayCluster;
let get: (headers?: Record<string, string>) => Promise<Response>;
const start = async () => {
  cluster = await new GatewayCluster({}).up();
  const { data, config } = cluster;
  const log = createLogger("gateway-1", "silent");
  const app = createGatewayServer({ id: "gateway-1", config, backend: data, log, token: null, stopping: false });
  get = async (headers = {}) => app.handle(new Request("http://localhost/files/f", { headers }));
};
afterEach(async () => {
  expect(cluster.data.transfers.activity()).toMatchObject({ bufferBytesInUse: 0, downloads: [] });
  await cluster.stop();
});

const put = async (content: Uint8Array<ArrayBuffer>) =>
  (await cluster.data.transfers.put({ path: "f", body: bodyOf(content), lengthBytes: content.length })).file;

/** At the first reads of blocks so numbered or later, another version takes the name, and the old one's copies are gone. */
function replaceAtRead(versions: Uint8Array<ArrayBuffer>[], block = 0): void {
  let replacing: Promise<void> | null = null;
  for (const worker of cluster.workers)
    worker.fault = async (step) => {
      if (step.kind === "put" || step.kind === "seal" || step.kind === "abort" || step.block < block) return;
      replacing ??= (async () => {
        const content = versions.shift();
        if (!content) return;
        const old = cluster.locate("f").chunks.map(({ chunkId }) => chunkId);
        await put(content);
        for (const other of cluster.workers) await other.lose(...old);
      })();
      await replacing;
      if (versions.length > 0 && worker.holds(step.chunkId)) replacing = null;
    };
}

for (const [size, length] of Object.entries({ small: 100, large: 20 * BLOCK })) {
  test(`a ${size} file: the new version is served`, async () => {
    await start();
    await put(sampleBytes(length, 1));
    const next = sampleBytes(length + 1, 2);
    replaceAtRead([next]);
    const response = await get();
    expect(response.status).toBe(200);
    expect((await bytesOf(response)).equals(next)).toBe(true);
  });

  test(`a ${size} file: several ranges are all of the new version`, async () => {
    await start();
    await put(sampleBytes(length, 1));
    const next = sampleBytes(length + 1, 2);
    replaceAtRead([next]);
    const response = await get({ range: `bytes=0-9,${length - 10}-${length - 1}` });
    expect(response.status).toBe(206);
    const whole = await bytesOf(response);
    for (const part of [next.slice(0, 10), next.slice(length - 10, length)]) expect(whole.includes(part)).toBe(true);
  });

  test(`a ${size} file: who asked for the old version is told that it is another`, async () => {
    await start();
    const { etag } = await put(sampleBytes(length, 1));
    replaceAtRead([sampleBytes(length, 2)]);
    expect((await get({ "if-match": `"${etag}"` })).status).toBe(412);
  });

  test(`a ${size} file: deleted instead, it is not there`, async () => {
    await start();
    await put(sampleBytes(length, 1));
    let isDeleted = false;
    for (const worker of cluster.workers)
      worker.fault = async () => {
        if (!isDeleted) await cluster.data.namespace.delete("f");
        isDeleted = true;
        for (const other of cluster.workers) await other.lose();
      };
    expect((await get()).status).toBe(404);
  });
}

test("replaced again and again, the file is looked up a few times only", async () => {
  await start();
  await put(sampleBytes(100, 1));
  const versions = Array.from({ length: 20 }, (_, n) => sampleBytes(100, n + 2));
  for (const worker of cluster.workers)
    worker.fault = async ({ kind }) => {
      if (kind !== "get") return;
      const next = versions.shift();
      const old = cluster.locate("f").chunks.map(({ chunkId }) => chunkId);
      if (next) await put(next);
      for (const other of cluster.workers) await other.lose(...old);
    };
  const response = await get();
  expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([503, "DATA_UNAVAILABLE"]);
  expect(versions.length).toBeGreaterThan(0);
});

test("after its first byte the answer breaks off, with nothing of the new version", async () => {
  await start();
  const first = sampleBytes(20 * BLOCK, 1);
  await put(first);
  replaceAtRead([sampleBytes(20 * BLOCK, 2)], 8);
  const received: Uint8Array[] = [];
  const reading = (async () => {
    for await (const piece of (await get()).body ?? []) received.push(piece.slice());
  })();
  expect(reading).rejects.toMatchObject({ code: "DATA_UNAVAILABLE" });
  await reading.catch(() => {});
  expect(received.length).toBeGreaterThan(0);
  expect(Buffer.concat(received)).toEqual(Buffer.from(first.slice(0, Buffer.concat(received).length)));
});
