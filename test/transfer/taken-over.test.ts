/** A resumable upload whose connection hangs: a newer request takes it over at once, and no byte is lost or comes twice. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { UploadTurns } from "../../gateway/transfer/upload-turns.ts";
import { bodyOf, readBack, sampleBytes } from "../support/bodies.ts";
import { until } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { BLOCK, CHUNK, GatewayCluster } from "../support/gateway-cluster.ts";
import { restGatewayOver } from "../support/rest-gateway.ts";
import type { SystemBackend } from "../support/system-backend.ts";

let cluster: GatewayCluster;
let other: SystemBackend;
beforeAll(async () => {
  cluster = await new GatewayCluster().up();
  other = cluster.openGateway("gateway-2");
});
afterAll(async () => {
  await other.close();
  await cluster.stop();
});

const BYTES = sampleBytes(2 * CHUNK + 100);
const refusalOf = (promise: Promise<unknown>) => promise.catch((error) => ({ code: error.code, ...error.details }));
const open = async (path: string) => (await cluster.data.transfers.openUpload({ path })).uploadId;

/** A body of which `bytes` arrive, and then nothing until `wake` is called. */
function hanging(bytes: Uint8Array<ArrayBuffer>) {
  const { promise: awake, resolve: wake } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const before = (offset: number) => {
    if (offset < bytes.length) return;
    arrive();
    return awake;
  };
  return { body: bodyOf(bytes, { before }), arrived, wake };
}

/** An append that hangs after these bytes. */
async function hangingAppend(uploadId: number, bytes: Uint8Array<ArrayBuffer>, { transfers } = cluster.data) {
  const { body, arrived, wake } = hanging(bytes);
  const outcome = refusalOf(transfers.appendUpload(uploadId, 0, body, { lengthBytes: BYTES.length }));
  await arrived;
  return { outcome, wake };
}

test("F5. asking where an upload stands ends the append that hangs and tells of every byte that came", async () => {
  const { transfers } = cluster.data;
  for (const came of [100, BLOCK + 1, CHUNK, CHUNK + BLOCK + 7]) {
    const path = `settled-${came}`;
    const uploadId = await open(path);
    const { outcome } = await hangingAppend(uploadId, BYTES.slice(0, came));
    expect(await transfers.settleUpload(uploadId)).toMatchObject({ offset: came });
    expect(await outcome).toEqual({ code: "UPLOAD_TAKEN_OVER", uploadId, offset: came });
    await transfers.appendUpload(uploadId, came, bodyOf(BYTES.slice(came)));
    await transfers.completeUpload(uploadId, BYTES.length);
    expect(await readBack(cluster.data, path)).toEqual(BYTES);
  }
  expect(cluster.openChunks()).toBe(0);
});

test("F5. of two appends at one offset the newer wins, and the older is told", async () => {
  const { transfers } = cluster.data;
  const uploadId = await open("newer");
  const appends = [];
  for (let n = 0; n < 3; n++) appends.push(await hangingAppend(uploadId, BYTES.slice(0, BLOCK + n)));
  expect(await transfers.appendUpload(uploadId, 0, bodyOf(BYTES))).toMatchObject({ offset: BYTES.length });
  for (const { outcome } of appends) expect(await outcome).toMatchObject({ code: "UPLOAD_TAKEN_OVER" });
  await transfers.completeUpload(uploadId, BYTES.length);
  expect(await readBack(cluster.data, "newer")).toEqual(BYTES);
  expect(cluster.openChunks()).toBe(0);
});

test("F5. an append elsewhere than where the one that hangs began is told of the bytes that came meanwhile", async () => {
  const { transfers } = cluster.data;
  const uploadId = await open("elsewhere");
  const { outcome } = await hangingAppend(uploadId, BYTES.slice(0, 100));
  expect(await refusalOf(transfers.appendUpload(uploadId, 50, bodyOf(BYTES.slice(50))))).toEqual({
    code: "UPLOAD_OFFSET_MISMATCH",
    offset: 100,
  });
  expect(await outcome).toMatchObject({ code: "UPLOAD_TAKEN_OVER", offset: 100 });
});

test("F5. an upload is completed, with what came, or aborted, while an append hangs", async () => {
  const { transfers } = cluster.data;
  const completed = await open("completed");
  const first = await hangingAppend(completed, BYTES.slice(0, CHUNK + 5));
  await transfers.completeUpload(completed, CHUNK + 5);
  expect(await first.outcome).toMatchObject({ code: "UPLOAD_TAKEN_OVER", offset: CHUNK + 5 });
  expect(await readBack(cluster.data, "completed")).toEqual(BYTES.slice(0, CHUNK + 5));

  const aborted = await open("aborted");
  const second = await hangingAppend(aborted, BYTES.slice(0, CHUNK + 5));
  await transfers.abortUpload(aborted);
  expect(await second.outcome).toMatchObject({ code: "UPLOAD_TAKEN_OVER" });
  expect(await refusalOf(transfers.uploadStatus(aborted))).toMatchObject({ code: "NO_SUCH_UPLOAD" });
  expect(cluster.openChunks()).toBe(0);
});

test("F5. at two gateways the first chunk that is staged counts: the late one of the loser is refused and changes nothing", async () => {
  const uploadId = await open("two gateways");
  const { outcome, wake } = await hangingAppend(uploadId, BYTES.slice(0, 100));
  expect(await other.transfers.settleUpload(uploadId)).toMatchObject({ offset: 0 });
  await other.transfers.appendUpload(uploadId, 0, bodyOf(BYTES));
  wake();
  expect(await outcome).toEqual({ code: "UPLOAD_OFFSET_MISMATCH", offset: BYTES.length });
  await other.transfers.completeUpload(uploadId, BYTES.length);
  expect(await readBack(cluster.data, "two gateways")).toEqual(BYTES);

  const gone = await open("gone");
  const late = await hangingAppend(gone, BYTES.slice(0, 100));
  await other.transfers.completeUpload(gone, 0);
  late.wake();
  expect(await late.outcome).toMatchObject({ code: "NO_SUCH_UPLOAD" });
  expect((await readBack(cluster.data, "gone")).length).toBe(0);
  expect(cluster.openChunks()).toBe(0);
});

test("F5. a body that falls silent ends by itself, and what came of it is kept", async () => {
  const impatient = await new GatewayCluster({ silentAfterMs: 20 }).up();
  try {
    const { transfers } = impatient.data;
    const { uploadId } = await transfers.openUpload({ path: "silent" });
    const { body } = hanging(BYTES.slice(0, 100));
    expect(await transfers.appendUpload(uploadId, 0, body, { lengthBytes: 1000 })).toMatchObject({ offset: 100 });
  } finally {
    await impatient.stop();
  }
});

test("F5. a request that does not end keeps the newest waiting for a bounded time, and the others not at all", async () => {
  const turns = new UploadTurns(20);
  const stuck = turns.begin(1);
  await stuck.takeOver("keep");
  const older = refusalOf(turns.begin(1).takeOver("discard"));
  const newest = turns.begin(1);
  const busy = refusalOf(newest.takeOver("keep"));
  expect([await older, await busy]).toMatchObject([{ code: "UPLOAD_TAKEN_OVER" }, { code: "UPLOAD_BUSY" }]);
  expect(await refusalOf(turns.endAll(1, "keep"))).toMatchObject({ code: "UPLOAD_BUSY" });
  expect(await refusalOf(turns.endAll(2, "keep"))).toBeUndefined();
});

test("F5. over REST, a client that comes back on a new connection goes on at once from the bytes that came", async () => {
  const rest = restGatewayOver(cluster.data);
  const [port = 0] = freePorts(1);
  const url = `${rest.listen(port)}/uploads/${await open("over REST")}`;
  const hung: Socket = connect(port, "127.0.0.1");
  try {
    let answer = "";
    hung.on("data", (bytes) => {
      answer += bytes.toString();
    });
    const head = `PATCH ${new URL(url).pathname} HTTP/1.1\r\nHost: localhost\r\nUpload-Offset: 0\r\nContent-Length: ${BYTES.length}\r\n\r\n`;
    hung.write(Buffer.concat([Buffer.from(head), BYTES.subarray(0, CHUNK + 100)]));
    const bytesIn = cluster.data.transfers.activity().bytesIn;
    await until("the first chunk has come", async () => cluster.data.transfers.activity().bytesIn >= bytesIn + CHUNK);
    let offset = 0;
    // What the kernel has not handed over yet has not come; of that the client learns here.
    await until("all bytes have come", async () => {
      const response = await fetch(url, { method: "HEAD" });
      offset = Number(response.headers.get("upload-offset"));
      return offset >= CHUNK;
    });
    expect(
      (await fetch(url, { method: "PATCH", headers: { "upload-offset": `${offset}` }, body: BYTES.slice(offset) }))
        .status,
    ).toBe(200);
    await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: `{"size": ${BYTES.length}}`,
    });
    expect(await readBack(cluster.data, "over REST")).toEqual(BYTES);
    await until("the older is told", async () => answer.includes("UPLOAD_TAKEN_OVER"));
  } finally {
    hung.destroy();
    rest.stop();
  }
});
