/** Readers that leave, stand still or come in crowds: what is held for them is bounded, and given back. */
import { afterEach, expect, test } from "bun:test";
import { listenOptions } from "../../actors/node/http/server-options.ts";
import { createLogger } from "../../actors/node/log.ts";
import { createGatewayServer } from "../../gateway/server.ts";
import { MOST_HEDGES } from "../../gateway/transfer/hedges.ts";
import { bodyOf, bytesOf, readBack, sampleBytes } from "../support/bodies.ts";
import { until as untilFair } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { BLOCK, type ClusterOptions, GatewayCluster, type Step } from "../support/gateway-cluster.ts";
import { askAndLeave } from "../support/impatient-clients.ts";
import { atSomeMoment, pick, SEED, seeded } from "../support/random.ts";
import { problemOf } from "../support/rest-gateway.ts";

const BIG_BLOCK = 1 << 16;
/** Half of it is for downloads: eight blocks. */
const SCARCE = {
  blockSizeBytes: BIG_BLOCK,
  chunkSizeBytes: 1 << 20,
  readAheadBytes: 6 * BIG_BLOCK,
  limits: { reservedBytes: 0, maxUploads: 256, maxDownloads: 512, maxUserMetadataBytes: 8192, bufferBytes: 1 << 20 },
};
const EAGER = { firstByteMs: 10_000, idleMs: 0, stalledMs: 60_000 };
const content = sampleBytes(40 * BLOCK + 77);
const large = sampleBytes(40 * BIG_BLOCK);

let cluster: GatewayCluster;
let app: ReturnType<typeof createGatewayServer>;
const start = async (options: ClusterOptions = {}) => {
  cluster = await new GatewayCluster({ blockTimeoutMs: 20_000, ...options }).up();
  const { data, config } = cluster;
  const log = createLogger("gateway-1", "silent");
  app = createGatewayServer({ id: "gateway-1", config, backend: data, log, token: null, stopping: false });
};
const listen = (): string => {
  const [port] = freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  app.listen(listenOptions(url));
  return `${url}/files/f`;
};
afterEach(async () => {
  await until("nothing is held", () => isIdle());
  app.server?.stop(true);
  await cluster.stop();
});

const activity = () => cluster.data.transfers.activity();
const isIdle = (): boolean => {
  const { downloads, uploads, bufferBytesInUse } = activity();
  return downloads.length === 0 && uploads.length === 0 && bufferBytesInUse === 0;
};
const until = (what: string, isSo: () => boolean): Promise<number> =>
  untilFair(what, isSo, { pollMs: 2, describe: async () => JSON.stringify(activity()) });
const put = (bytes: Uint8Array<ArrayBuffer>, path = "f") =>
  cluster.data.transfers.put({ path, body: bodyOf(bytes, { pieceBytes: 1 << 16 }), lengthBytes: bytes.length });
const get = (headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> =>
  app.handle(new Request("http://localhost/files/f", { headers, signal }));
const blocksRead = (): string[] =>
  cluster.workers.flatMap(({ steps }) =>
    steps.filter(({ kind }) => kind === "get").map(({ chunkId, block }) => `${chunkId}/${block}`),
  );
const onEachStep = (fault: (step: Step) => void | Promise<void>): void => {
  for (const worker of cluster.workers) worker.fault = fault;
};
const openReader = async (options = {}) => {
  const { file, stream } = await cluster.data.transfers.openFile("f");
  return stream(0, file.sizeBytes, options).getReader();
};

test("F2. a download of several ranges that is cut while its next range is fetched gives back slot and bytes", async () => {
  await start();
  await put(content);
  const url = listen();
  let fetches = 0;
  onEachStep(({ kind }) => (kind === "get" ? Bun.sleep(++fetches > 2 ? 100 : 0) : undefined));
  const range = `bytes=0-10,${10 * BLOCK}-${20 * BLOCK},${25 * BLOCK}-${35 * BLOCK}`;
  await Promise.all(Array.from({ length: 20 }, () => askAndLeave(url, { range }, { afterBytes: 100, afterMs: 3000 })));
  await until("slots and bytes are given back", isIdle);
});

test("F3. ranges within one block are one fetch of it, and of ranges in rising order no block is fetched twice", async () => {
  await start({ hedgeAfterMs: 20_000 });
  await put(content);
  const partsOf = async (ranges: [number, number][]) => {
    for (const { steps } of cluster.workers) steps.length = 0;
    const range = `bytes=${ranges.map(([from, to]) => `${from}-${to - 1}`).join(",")}`;
    const response = await get({ range });
    const text = await bytesOf(response);
    for (const [from, to] of ranges) expect(text.includes(content.slice(from, to))).toBe(true);
    return blocksRead();
  };
  const within = Array.from({ length: 32 }, (_, n): [number, number] => [5 * BLOCK + 100 * n, 5 * BLOCK + 100 * n + 6]);
  expect(await partsOf(within)).toHaveLength(1);
  expect(await partsOf(within.toReversed())).toHaveLength(1);
  const across = Array.from({ length: 30 }, (_, n): [number, number] => [n * 3000 + 7, n * 3000 + 2900]);
  const fetched = await partsOf(across);
  expect(new Set(fetched).size).toBe(fetched.length);
  const needed = new Set(across.flatMap(([from, to]) => [Math.floor(from / BLOCK), Math.floor((to - 1) / BLOCK)]));
  expect(fetched.length).toBe(needed.size);
});

test("F3. what is fetched for a request ends when its client leaves, also when no worker answers", async () => {
  await start();
  await put(content);
  for (const range of ["", `bytes=0-5,${9 * BLOCK}-${9 * BLOCK + 5}`, `bytes=${BLOCK}-${20 * BLOCK}`, "bytes=3-9"]) {
    onEachStep(({ kind }) => (kind === "get" ? new Promise(() => {}) : undefined));
    const client = new AbortController();
    const answer = get(range ? { range } : {}, client.signal);
    await until("blocks are asked for", () => activity().bufferBytesInUse > 0);
    client.abort();
    expect((await answer).status).toBe(499);
    await until("slot and bytes are given back", isIdle);
    const asked = blocksRead().length;
    await Bun.sleep(150);
    expect(blocksRead().length).toBe(asked);
    onEachStep(() => {});
  }
});

test("F3. many readers at once share the memory that there is: none exceeds it, and each gets every byte", async () => {
  await start({ config: SCARCE, downloadPatience: { firstByteMs: 60_000, idleMs: 1000, stalledMs: 60_000 } });
  await put(large);
  onEachStep(({ kind }) => (kind === "get" ? Bun.sleep(1) : undefined));
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, activity().bufferBytesInUse);
  }, 1);
  const hash = Bun.hash(large);
  await Promise.all(
    Array.from({ length: 24 }, async () => expect(Bun.hash(await readBack(cluster.data, "f"))).toBe(hash)),
  );
  clearInterval(watch);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(SCARCE.limits.bufferBytes / 2);
});

test("F3. a request for which there is no memory is refused with 503 and Retry-After, and leaves nothing", async () => {
  await start({ config: SCARCE, downloadPatience: { firstByteMs: 100, idleMs: 60_000, stalledMs: 60_000 } });
  await put(large);
  const standing = [];
  while (activity().bufferBytesInUse + BIG_BLOCK <= SCARCE.limits.bufferBytes / 2) {
    const reader = await openReader();
    standing.push(reader);
    expect((await reader.read()).done).toBe(false);
  }
  const refused = await get();
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await problemOf(refused)).code).toBe("OVERLOADED");
  expect(activity().downloads).toHaveLength(standing.length);
  for (const reader of standing) await reader.cancel();
});

test("F3. what was read ahead for clients that take nothing goes to those that wait, and they still get every byte", async () => {
  await start({ config: SCARCE, downloadPatience: EAGER });
  await put(large);
  const standing = await Promise.all([openReader(), openReader(), openReader()]);
  const firsts = await Promise.all(standing.map((reader) => reader.read()));
  await until("much is read ahead", () => activity().bufferBytesInUse >= 6 * BIG_BLOCK);
  expect(Bun.hash(await readBack(cluster.data, "f"))).toBe(Bun.hash(large));
  for (const [n, reader] of standing.entries()) {
    const pieces = [firsts[n]?.value as Uint8Array<ArrayBuffer>];
    for (let next = await reader.read(); !next.done; next = await reader.read())
      pieces.push(next.value as Uint8Array<ArrayBuffer>);
    expect(Bun.hash(await new Blob(pieces).arrayBuffer())).toBe(Bun.hash(large));
  }
});

test("F3. clients that take nothing and hold all memory are cut off, longest first, when others wait for it", async () => {
  await start({ config: SCARCE, downloadPatience: { firstByteMs: 20_000, idleMs: 0, stalledMs: 1 } });
  await put(large);
  const ended: number[] = [];
  const standing: Awaited<ReturnType<typeof openReader>>[] = [];
  for (let n = 0; n < 12; n++) {
    const cut = () => void standing[n]?.cancel();
    const reader = await openReader(n % 2 ? { cut } : {});
    standing.push(reader);
    reader.closed.catch(() => {}).finally(() => ended.push(n));
    expect((await reader.read()).done).toBe(false);
  }
  // Each holds at least a block, and there are eight.
  expect(ended.length).toBeGreaterThanOrEqual(4);
  expect(ended).toEqual(ended.toSorted((a, b) => a - b));
  await Promise.all(standing.map((reader) => reader.cancel().catch(() => {})));
});

test("F3. a connection whose client takes nothing while others wait for memory is closed", async () => {
  await start({ config: SCARCE, downloadPatience: { firstByteMs: 30_000, idleMs: 0, stalledMs: 1 } });
  await put(sampleBytes(12 << 20));
  const url = new URL(listen());
  const closed = Promise.withResolvers<void>();
  const socket = await Bun.connect({
    hostname: url.hostname,
    port: Number(url.port),
    socket: { data() {}, close: () => closed.resolve(), error() {} },
  });
  socket.pause();
  socket.write(`GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`);
  // What the kernel takes for its client is not held by the gateway any more.
  const bytes = () => activity().downloads[0]?.bytes ?? 0;
  for (let before = -1; bytes() > before || bytes() === 0; await Bun.sleep(100)) before = bytes();
  const others = await Promise.all(Array.from({ length: 7 }, () => openReader()));
  for (const reader of others) await reader.read();
  const last = await openReader();
  expect((await last.read()).done).toBe(false);
  for (const reader of [...others, last]) await reader.cancel().catch(() => {});
  socket.resume();
  await closed.promise;
});

test("F3. slow workers get a few competitors at once and no more, and what these hold counts", async () => {
  await start({ hedgeAfterMs: 10 });
  await put(content);
  const release = Promise.withResolvers<void>();
  onEachStep(({ kind }) => (kind === "get" ? release.promise : undefined));
  const readers = Array.from({ length: 20 }, () => get({ range: "bytes=3-9" }));
  await until("the ceiling is reached", () => blocksRead().length === readers.length + MOST_HEDGES);
  await Bun.sleep(200);
  expect(blocksRead()).toHaveLength(readers.length + MOST_HEDGES);
  expect(activity().bufferBytesInUse).toBe((readers.length + MOST_HEDGES) * BLOCK);
  release.resolve();
  for (const response of await Promise.all(readers))
    expect(await bytesOf(response)).toEqual(Buffer.from(content.slice(3, 10)));
});

test("bytes that are read at once are those of the stream; a gateway that stops meanwhile gives an error, never a part", async () => {
  await start();
  await put(content);
  const { bytes } = await cluster.data.transfers.openFile("f");
  const ranges = [{ start: 7, endExclusive: 20 * BLOCK }];
  const { signal } = new AbortController();
  expect(Buffer.from(await bytes(ranges, signal)).equals(content.subarray(7, 20 * BLOCK))).toBe(true);
  onEachStep(({ kind, block }) => (kind === "get" && block >= 10 ? new Promise(() => {}) : undefined));
  const cutShort = bytes(ranges, signal).catch((error) => error.code);
  await until("a part was read", () => activity().downloads.some((download) => download.bytes >= 5 * BLOCK));
  await cluster.data.close();
  expect(await cutShort).toBe("OVERLOADED");
});

test(`F2. a download that is cancelled at any moment leaves nothing behind  SEED=${SEED}`, async () => {
  await start();
  await put(content);
  const random = seeded(SEED);
  const ranges = [
    "",
    `bytes=5-${30 * BLOCK}`,
    "bytes=7-9",
    `bytes=0-5,${9 * BLOCK}-${17 * BLOCK},${20 * BLOCK}-${20 * BLOCK + 9}`,
    `bytes=${30 * BLOCK}-${31 * BLOCK},0-9,${4 * BLOCK}-${4 * BLOCK + 9}`,
    `bytes=${Array.from({ length: 32 }, (_, n) => `${n * 3000}-${n * 3000 + 5}`).join(",")}`,
  ];
  for (let n = 0; n < 150; n++) {
    const client = new AbortController();
    let response: Response | null = null;
    const event = atSomeMoment(random, 40, () => {
      client.abort();
      void response?.body?.cancel().catch(() => {});
    });
    onEachStep(async ({ kind }) => {
      event();
      if (random() < 0.3) await Bun.sleep(random() * 4);
      if (kind === "get" && random() < 0.02) throw new Error("a passing fault");
      event();
    });
    const range = pick(random, ranges);
    event();
    response = await get(range ? { range } : {}, client.signal);
    event();
    const reader = response.body?.getReader();
    // As the server does: a client that leaves has its stream cancelled.
    client.signal.addEventListener("abort", () => void reader?.cancel().catch(() => {}));
    if (client.signal.aborted) await reader?.cancel().catch(() => {});
    for (let next = await reader?.read().catch(() => undefined); next && !next.done; ) {
      event();
      next = await reader?.read().catch(() => undefined);
    }
    await until(`nothing is held after download ${n}`, isIdle);
  }
});
