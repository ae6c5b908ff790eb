/** A tus client of others over real nodes. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Upload } from "tus-js-client";
import { sampleBytes } from "../support/bodies.ts";
import { RealCluster } from "../support/real-cluster.ts";

const MIB = 1 << 20;
let cluster: RealCluster;
beforeAll(async () => {
  cluster = await RealCluster.start({
    config: { chunkSizeBytes: MIB, blockSizeBytes: 256 << 10, inlineChunkBytes: 16 << 10 },
  });
}, 60_000);
afterAll(() => cluster?.stop());

test("F5. tus-js-client does not lose a byte when the gateway is killed with kill -9 in the middle of its upload", async () => {
  const bytes = sampleBytes(3 * MIB + 77);
  const [gatewayId = ""] = cluster.config.gateways.map(({ id }) => id);
  const { promise: whole, resolve, reject } = Promise.withResolvers<void>();
  let killed: Promise<unknown> | null = null;
  new Upload(Buffer.from(bytes), {
    endpoint: `${cluster.url}/uploads`,
    chunkSize: MIB / 2,
    metadata: { filename: "killed.bin", filetype: "image/png", author: "Zoë" },
    retryDelays: Array(600).fill(100),
    onChunkComplete: (_size, sent) => {
      if (sent < MIB) return;
      killed ??= cluster.kill(gatewayId).then(() => cluster.restart(gatewayId));
    },
    onSuccess: () => resolve(),
    onError: reject,
  }).start();
  await whole;
  expect(killed).not.toBeNull();
  const answer = await fetch(cluster.fileUrl("killed.bin"));
  expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "image/png"]);
  expect(new Uint8Array(await answer.arrayBuffer())).toEqual(bytes);
}, 120_000);
