/** How much a worker takes on at once. */
import { expect, test } from "bun:test";
import { BlockHeader } from "../../actors/messages/worker.ts";
import { refusalOf } from "../../actors/node/http/answers.ts";
import { blockContent, sign } from "../../actors/node/identity/signature.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { blockRoutes, noTraffic } from "../../actors/worker/blocks/block-routes.ts";
import { Copier } from "../../actors/worker/blocks/copy-chunk.ts";
import { openStore } from "./open-store.ts";
import { BLOCK, crc32Of, randomBytes, SECRET, silent, temporaryFolder, tester } from "./support.ts";

const MOST_REQUESTS = 512;
const MOST_BYTES = 128 << 20;
const MOST_COPIES = 32;
const bytes = randomBytes(100);

for (const [what, full, almostFull] of [
  ["requests", { requests: MOST_REQUESTS }, { requests: MOST_REQUESTS - 1 }],
  ["bytes", { bytesInFlight: MOST_BYTES }, { bytesInFlight: MOST_BYTES - bytes.length }],
] as const)
  test(`a block beyond the ${what} that a worker takes in at once is refused, and counts no longer then`, async () => {
    using folder = temporaryFolder();
    const { store } = await openStore(folder.path);
    const traffic = noTraffic();
    const app = blockRoutes({ identity: tester, store, traffic, log: silent, assertReady: () => {} });
    const put = async (chunkId: number): Promise<string> => {
      const path = `/chunks/${formatChunkId(chunkId)}/blocks/0`;
      const headers = new Headers({
        [BlockHeader.crc32]: formatCrc32(crc32Of(bytes)),
        [BlockHeader.blockSize]: String(BLOCK),
        "content-length": String(bytes.length),
      });
      headers.set("authorization", sign(SECRET, "tester", "PUT", path, blockContent(headers)));
      const answer = await app.handle(new Request(`http://localhost${path}`, { method: "PUT", headers, body: bytes }));
      return answer.ok ? "stored" : (await refusalOf(answer, "localhost")).code;
    };
    Object.assign(traffic, full);
    expect(await put(1)).toBe("OVERLOADED");
    expect(traffic).toEqual({ ...noTraffic(), ...full });
    expect(store.describe(1)).toBeNull();
    Object.assign(traffic, almostFull);
    expect(await put(1)).toBe("stored");
    expect(traffic).toMatchObject({ ...almostFull, blocksWritten: 1 });
    await store.close();
  });

test(`a worker makes ${MOST_COPIES} copies at once; more are refused until one has ended, and one that runs is shared`, async () => {
  using folder = temporaryFolder();
  const { store } = await openStore(folder.path);
  const ended = Promise.withResolvers<Response>();
  const source = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => ended.promise.then((one) => one.clone()) });
  const copier = new Copier(tester, store);
  const copy = (chunkId: number) =>
    copier
      .copy({
        type: "COPY_CHUNK",
        term: 1,
        expiresAt: Number.MAX_SAFE_INTEGER,
        orderId: "1",
        decidedAt: 1,
        timeoutMs: 60_000,
        chunkId,
        lengthBytes: BLOCK,
        crc32: 1,
        sources: [{ id: "worker-2", url: source.url.origin }],
        bytesPerSecond: null,
      })
      .then(
        () => "copied",
        ({ code }) => code,
      );
  const running = Array.from({ length: MOST_COPIES }, (_, n) => copy(n + 1));
  expect(copier.running).toBe(MOST_COPIES);
  expect(await copy(MOST_COPIES + 1)).toBe("OVERLOADED");
  const shared = copy(1);
  expect(copier.running).toBe(MOST_COPIES);
  ended.resolve(new Response("no", { status: 500 }));
  expect(new Set(await Promise.all([...running, shared]))).toEqual(new Set(["SOURCE_UNAVAILABLE"]));
  expect(copier.running).toBe(0);
  expect(await copy(MOST_COPIES + 1)).toBe("SOURCE_UNAVAILABLE");
  await source.stop(true);
  await store.close();
});
