/** What a recording may cost the process that reads it: memory, and turns of the event loop. */
import { afterAll, expect, test } from "bun:test";
import type { ActorState } from "../../actors/messages/records.ts";
import { formatRecording, openRecording } from "../../gateway/console/recording.ts";
import { syntheticRecording } from "../browser/synthetic-recording.ts";
import { freePorts } from "../support/free-ports.ts";
import { problemOf, restGateway } from "../support/rest-gateway.ts";

const gateway = await restGateway();
const url = gateway.listen(freePorts(1)[0] as number);
afterAll(() => gateway.end());

const check = (body: BodyInit): Promise<Response> =>
  fetch(`${url}/console/api/recording/check`, { method: "POST", body });

/** A body without a length: `piece`, again and again. */
function endless(piece: Uint8Array<ArrayBuffer>, pieces: number) {
  let sent = 0;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      await Bun.sleep(0);
      if (sent++ >= pieces) controller.close();
      else controller.enqueue(piece);
    },
  });
  return { body, sentPieces: () => sent };
}

const recording = syntheticRecording({ events: 400 });
const good = new TextEncoder().encode(formatRecording(recording));

/** Gzip of a recording that goes on and on, made without holding it. */
async function bomb(line: string, unpackedBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const piece = new TextEncoder().encode(line.repeat(Math.ceil((1 << 20) / line.length)));
  let left = Math.ceil(unpackedBytes / piece.length);
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start: (controller) => controller.enqueue(good),
    pull(controller) {
      if (left-- > 0) controller.enqueue(piece);
      else controller.close();
    },
  });
  return new Uint8Array(await new Response(source.pipeThrough(new CompressionStream("gzip"))).arrayBuffer());
}

test("S6. a small file that unpacks to hundreds of megabytes is refused, in flat memory", async () => {
  const packed = await bomb("x".repeat(1 << 20), 400 << 20);
  expect(packed.length).toBeLessThan(4 << 20);
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  let most = before;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 1);
  const response = await check(packed);
  clearInterval(timer);
  expect([response.status, (await problemOf(response)).code]).toEqual([400, "BAD_RECORDING"]);
  expect((most - before) >> 20).toBeLessThan(64);
});

test("S6. reading a long recording is many short turns: none holds the event loop for a quarter of the time", async () => {
  const record = `${JSON.stringify(recording.records[0])}\n`;
  const bytes = new TextEncoder().encode(formatRecording(recording) + record.repeat(100_000));
  const startedAt = performance.now();
  let turnAt = startedAt;
  let longestMs = 0;
  const timer = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - turnAt);
    turnAt = performance.now();
  }, 1);
  const read = await openRecording(bytes);
  clearInterval(timer);
  const wholeMs = performance.now() - startedAt;
  console.log(
    `100,000 records are read in ${Math.round(wholeMs)} ms, the longest turn takes ${Math.round(longestMs)} ms`,
  );
  expect(read.ok).toBe(true);
  expect(longestMs).toBeLessThan(wholeMs / 4);
});

test("S6. packed and unpacked bytes are counted while they come, each with its bound", async () => {
  const limits = { packedBytes: 1 << 20, unpackedBytes: 4 << 20 };
  const record = `${JSON.stringify(recording.records[0])}\n`;
  const packed = await bomb(record, 8 << 20);
  expect(packed.length).toBeLessThan(limits.packedBytes);
  expect(await openRecording(packed, limits)).toMatchObject({ message: "The recording has more than 4 MiB" });
  const { body, sentPieces } = endless(new TextEncoder().encode(record.repeat(1000)), 1000);
  const long = (async function* () {
    yield good;
    yield* body;
  })();
  expect(await openRecording(long, limits)).toMatchObject({ message: "The file has more than 1 MiB" });
  expect(sentPieces()).toBeLessThan(20);
});

test("S6. a line without an end is refused at its bound, wherever in the file it stands", async () => {
  const problem = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> => {
    const read = await openRecording(Bun.gzipSync(bytes));
    return read.ok ? "ok" : read.message;
  };
  const lines = formatRecording(recording).split("\n");
  const endlessLine = "x".repeat(4 << 20);
  const at = (n: number): Uint8Array<ArrayBuffer> => new TextEncoder().encode(lines.with(n, endlessLine).join("\n"));
  expect(await problem(at(0))).toBe("The file is no recording of this program");
  expect(await problem(at(1))).toBe("Line 2 is no keyframe");
  expect(await problem(at(2))).toBe("Line 3 is no record: it has more than 256 KiB");
  const actor = `{"keyframe":[{"v":"${endlessLine}"}]}`;
  expect(await problem(new TextEncoder().encode(lines.with(1, actor).join("\n")))).toBe("Line 2 is no keyframe");
});

test("S6. a body without a length is counted as it comes, and read no further than the bound", async () => {
  const pieces = 320;
  const { body, sentPieces } = endless(new Uint8Array(1 << 20).fill(10), pieces);
  const response = await check(body).catch(() => null);
  // The gateway may hang up before the answer is read: what it must not do is take all of it.
  if (response) expect([400, 413]).toContain(response.status);
  expect(sentPieces()).toBeLessThan(pieces);
});

test("S6. one recording is checked at a time, and the next one after it", async () => {
  let end = (): void => {};
  const held = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      controller.enqueue(good.slice(0, 1000));
      end = () => {
        controller.enqueue(good.slice(1000));
        controller.close();
      };
    },
  });
  const first = check(held);
  let second = await check(good);
  for (let n = 0; n < 100 && second.ok; n++) second = await check(good);
  expect([second.status, (await problemOf(second)).code]).toEqual([503, "OVERLOADED"]);
  end();
  expect((await first).status).toBe(200);
  expect((await check(good)).status).toBe(200);
});

test("S6. a keyframe is read one actor at a time, however its bytes are cut", async () => {
  const actor = (n: number): ActorState => ({
    ...{ n: "master-1", b: 1, q: n + 1, h: n.toString(16).padStart(16, "0"), t: n, m: "liveness" },
    ...{
      a: `liveness:${n}`,
      s: `wörker-"${n}"`,
      v: "heard.live",
      c: { note: `}],[{\\"${n}` },
      tm: [{ id: "x", ms: 1 }],
    },
  });
  const told = { ...syntheticRecording({ events: 150 }), keyframe: Array.from({ length: 50 }, (_, n) => actor(n)) };
  const bytes = new TextEncoder().encode(formatRecording(told));
  for (const size of [1, 7, bytes.length]) {
    const cut = (async function* () {
      for (let from = 0; from < bytes.length; from += size) yield bytes.slice(from, from + size);
    })();
    expect(await openRecording(cut)).toEqual({ ok: true, recording: told });
  }
});
