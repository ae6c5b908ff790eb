/** Uploads whose clients leave, or send little: what is held for them is counted, bounded, and given back. */
import { afterEach, expect, test } from "bun:test";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { until as untilFair } from "../support/fair-time.ts";
import { BLOCK, CHUNK, type ClusterOptions, GatewayCluster } from "../support/gateway-cluster.ts";
import { atSomeMoment, pick, SEED, seeded } from "../support/random.ts";

let cluster: GatewayCluster;
const start = async (options: ClusterOptions = {}) => {
  cluster = await new GatewayCluster({ blockTimeoutMs: 300_000, ...options }).up();
};
afterEach(async () => {
  await until("nothing is held", isIdle);
  await cluster.stop();
});

const activity = () => cluster.data.transfers.activity();
const isIdle = (): boolean => activity().uploads.length === 0 && activity().bufferBytesInUse === 0;
const until = (what: string, isSo: () => boolean): Promise<number> =>
  untilFair(what, isSo, { pollMs: 2, describe: async () => JSON.stringify(activity()) });

/** Sends so many bytes in one piece, and then nothing. */
const silentAfter = (bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> =>
  bodyOf(bytes, { pieceBytes: bytes.length, before: (offset) => (offset > 0 ? new Promise(() => {}) : undefined) });

test("S12. 256 uploads that sent a byte and then nothing hold next to nothing, with and without a stated length", async () => {
  const blockSizeBytes = 1 << 19;
  await start({ config: { blockSizeBytes, chunkSizeBytes: 2 * blockSizeBytes } });
  const clients = new AbortController();
  const uploads = Array.from({ length: 256 }, (_, n) =>
    cluster.data.transfers
      .put({
        path: `slow/${n}`,
        body: silentAfter(sampleBytes(1)),
        lengthBytes: n % 2 ? 1_000_000 : undefined,
        signal: clients.signal,
      })
      .catch(({ code }) => code),
  );
  await until("each has its byte", () => activity().bufferBytesInUse >= 256);
  await Bun.sleep(50);
  expect(activity().bufferBytesInUse).toBeLessThanOrEqual(256 * 16 * 1024);
  clients.abort();
  expect(new Set(await Promise.all(uploads))).toEqual(new Set(["BODY_INCOMPLETE"]));
});

test("uploads of any pieces, from single bytes to more than a block, store what was sent", async () => {
  await start();
  const content = sampleBytes(3 * BLOCK + 1);
  for (const pieceBytes of [1, 7, 1000, 1024, 1025, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK])
    for (const lengthBytes of [content.length, undefined]) {
      const path = `pieces/${pieceBytes}-${lengthBytes}`;
      await cluster.data.transfers.put({ path, body: bodyOf(content, { pieceBytes }), lengthBytes });
      expect(Bun.hash(await readBack(cluster.data, path))).toBe(Bun.hash(content));
      await until("everything is given back", () => activity().bufferBytesInUse === 0);
    }
});

test("F2. an upload that waits for a buffer gives its place back when its client leaves", async () => {
  await start({
    config: {
      blocksInFlight: 64,
      limits: { ...LIMITS, bufferBytes: 1 << 20 },
      blockSizeBytes: 1 << 16,
      chunkSizeBytes: 1 << 20,
    },
  });
  const stuck = Promise.withResolvers<void>();
  for (const worker of cluster.workers) worker.fault = ({ kind }) => (kind === "put" ? stuck.promise : undefined);
  const client = new AbortController();
  const upload = cluster.data.transfers
    .put({ path: "f", body: bodyOf(sampleBytes(4 << 20), { pieceBytes: 1 << 16 }), signal: client.signal })
    .catch(({ code }) => code);
  await until("it has all the buffers there are", () => activity().bufferBytesInUse >= 1 << 19);
  client.abort();
  expect(await upload).toBe("BODY_INCOMPLETE");
  stuck.resolve();
});

test(`F2. an upload whose client leaves at any moment leaves nothing behind, or a whole file  SEED=${SEED}`, async () => {
  await start();
  const random = seeded(SEED);
  const sizes = [0, 1, 100, BLOCK, BLOCK + 1, CHUNK, 2 * CHUNK + 5];
  for (let n = 0; n < 120; n++) {
    const client = new AbortController();
    const event = atSomeMoment(random, 60, () => client.abort());
    for (const worker of cluster.workers)
      worker.fault = async () => {
        event();
        if (random() < 0.2) await Bun.sleep(random() * 3);
        event();
      };
    const content = sampleBytes(pick(random, sizes), n + 1);
    const pieceBytes = pick(random, [100, 3000, BLOCK, 3 * BLOCK]);
    const before = async () => {
      event();
      if (random() < 0.1) await Bun.sleep(1);
      if (client.signal.aborted) throw new Error("connection reset");
    };
    const path = `left/${n}`;
    event();
    const outcome = await cluster.data.transfers
      .put({
        path,
        body: bodyOf(content, { pieceBytes, before }),
        lengthBytes: random() < 0.5 ? content.length : undefined,
        signal: client.signal,
      })
      .then(() => "stored")
      .catch(({ code }) => code);
    for (const worker of cluster.workers) worker.fault = null;
    expect(["stored", "BODY_INCOMPLETE"]).toContain(outcome);
    expect(isIdle()).toBe(true);
    if (outcome === "stored") expect(Bun.hash(await readBack(cluster.data, path))).toBe(Bun.hash(content));
    else expect(await cluster.data.namespace.stat(path)).toBeNull();
  }
  await until("no chunk lies open", () => cluster.openChunks() === 0);
});

const LIMITS = {
  reservedBytes: 0,
  maxUploads: 256,
  maxDownloads: 512,
  maxUserMetadataBytes: 8192,
  bufferBytes: 1 << 24,
};
