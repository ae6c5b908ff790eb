import { expect, test } from "bun:test";
import { Refusal } from "../../actors/messages/errors.ts";
import type { SmallChunkOutcome } from "../../actors/messages/worker.ts";
import { SmallPuts } from "../../gateway/nodes/small-puts.ts";
import { sampleBytes } from "../support/bodies.ts";

const writeOf = (chunkId: number, lengthBytes = 100) => {
  const bytes = sampleBytes(lengthBytes, chunkId);
  return { chunkId, block: 0, bytes, crc32: Bun.hash.crc32(bytes), blockSizeBytes: 4096, seal: true };
};
const ids = (count: number) => Array.from({ length: count }, (_, n) => n + 1);

/** A worker that answers each request when told to. */
function requests() {
  const sent: { ids: number[]; answer(outcomes?: SmallChunkOutcome[]): void; fail(error: Error): void }[] = [];
  const puts = new SmallPuts((chunks) => {
    const { promise, resolve, reject } = Promise.withResolvers<SmallChunkOutcome[]>();
    const answer = (outcomes = chunks.map(() => ({ stored: true }))) => resolve(outcomes);
    sent.push({ ids: chunks.map(({ chunkId }) => chunkId), answer, fail: reject });
    return promise;
  });
  return { puts, sent };
}

test("chunks of one moment share a request, and each hears of its own outcome", async () => {
  const { puts, sent } = requests();
  const outcomes = Promise.all(ids(3).map((id) => puts.put(writeOf(id))));
  await Bun.sleep(1);
  expect(sent.map(({ ids }) => ids)).toEqual([[1, 2, 3]]);
  sent[0]?.answer([{ stored: true }, { stored: false, code: "NO_SPACE" }, { stored: true }]);
  expect((await outcomes).map(({ stored, code }) => code ?? stored)).toEqual([true, "NO_SPACE", true]);
});

test("a request holds a bounded number of chunks and bytes", async () => {
  const { puts, sent } = requests();
  const many = Promise.all([
    ...ids(70).map((id) => puts.put(writeOf(id))),
    ...ids(20).map((id) => puts.put(writeOf(id, 1 << 16))),
  ]);
  for (let n = 0; n < sent.length || n < 3; n++) {
    await Bun.sleep(1);
    sent[n]?.answer();
  }
  expect((await many).every(({ stored }) => stored)).toBe(true);
  expect(sent.map(({ ids }) => ids.length)).toEqual([64, 21, 5]);
});

test("a request that is not answered holds up nobody behind it for long", async () => {
  const { puts, sent } = requests();
  const stuck = puts.put(writeOf(1));
  await Bun.sleep(1);
  const next = puts.put(writeOf(2));
  await Bun.sleep(100);
  expect(sent.map(({ ids }) => ids)).toEqual([[1], [2]]);
  sent[1]?.answer();
  expect((await next).stored).toBe(true);
  sent[0]?.fail(new Refusal("TIMEOUT", "no answer"));
  expect(await stuck).toMatchObject({ stored: false, code: "TIMEOUT" });
});

test("a chunk that is given up is not sent any more", async () => {
  const { puts, sent } = requests();
  const cancelled = new AbortController();
  const [kept, dropped] = [puts.put(writeOf(1)), puts.put(writeOf(2), cancelled.signal)];
  cancelled.abort();
  expect((await dropped).stored).toBe(false);
  await Bun.sleep(1);
  expect(sent.map(({ ids }) => ids)).toEqual([[1]]);
  sent[0]?.answer();
  expect((await kept).stored).toBe(true);
});
