/** What a peer answers is taken with a bound: at a node's address something else may listen. */

import { afterAll, expect, test } from "bun:test";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import { getBlocks } from "../../actors/node/http/block-requests.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { send } from "../../actors/node/messaging/outbox.ts";

const MEBIBYTE = new Uint8Array(1 << 20);
let sentPieces = 0;
const endless = (): ReadableStream<Uint8Array<ArrayBuffer>> =>
  new ReadableStream({
    async pull(controller) {
      await Bun.sleep(0);
      if (sentPieces++ < 700) controller.enqueue(MEBIBYTE);
      else controller.close();
    },
  });
const bomb = Bun.gzipSync(new Uint8Array(400 << 20));

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/packed")) return new Response(bomb, { headers: { "content-encoding": "gzip" } });
    return new Response(endless(), { status: pathname.startsWith("/refusing") ? 500 : 200 });
  },
});
afterAll(() => server.stop(true));

const identity = { nodeId: "gateway-1", credentials: sharedSecret("gateway-1", "s".repeat(64)), clusterId: () => null };
const ask = (place: string): Promise<unknown> =>
  send<typeof MasterMailbox, "CLUSTER_STATE">(
    identity,
    `http://127.0.0.1:${server.port}/${place}`,
    { type: "CLUSTER_STATE" },
    { timeoutMs: 30_000 },
  );

test("S6. an answer that is packed is not unpacked: a few kilobytes cannot become gigabytes", async () => {
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 1);
  await expect(ask("packed")).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  clearInterval(timer);
  expect((most - before) >> 20).toBeLessThan(64);
});

test("S6. an answer without an end is given up at its bound: a message's, a refusal's and a block's", async () => {
  for (const [place, mostPieces] of [
    ["refusing", 32],
    ["block", 64],
    ["message", 400],
  ] as const) {
    sentPieces = 0;
    const url = `http://127.0.0.1:${server.port}/${place}`;
    const answer = place === "block" ? getBlocks(identity, url, 1, 0, 1, { timeoutMs: 30_000 }) : ask(place);
    await expect(answer).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
    expect([place, sentPieces < mostPieces]).toEqual([place, true]);
  }
});
