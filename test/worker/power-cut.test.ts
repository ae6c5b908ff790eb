/** What a store has acknowledged survives a loss of power, by the disk of the simulator that forgets what was not flushed. */
import { expect, test } from "bun:test";
import type { FlushMistake, PowerCutOrder } from "./power-cut-life.ts";
import { temporaryFolder } from "./support.ts";

const SEED = 1;

async function cutPower(mistake: FlushMistake | null): Promise<{ acknowledged: number; lost: number[] }> {
  using folder = temporaryFolder();
  const thread = new Worker(new URL("./power-cut-life.ts", import.meta.url).href);
  const order: PowerCutOrder = { seed: SEED, directory: folder.path, mistake };
  const { promise, resolve, reject } = Promise.withResolvers<{ acknowledged: number; lost: number[] }>();
  thread.onmessage = ({ data }) => resolve(data);
  thread.onerror = ({ message }) => reject(new Error(message));
  thread.postMessage(order);
  return await promise.finally(() => thread.terminate());
}

test("chunks that a store has acknowledged, in files and in the index, survive a loss of power", async () => {
  expect(await cutPower(null)).toEqual({ acknowledged: 16, lost: [] });
});

for (const mistake of [
  "no flush of a chunk's bytes",
  "no flush of its folder",
  "an inline chunk not durable",
] satisfies FlushMistake[])
  test(`a planted mistake loses chunks with the power, and that is noticed: ${mistake}`, async () => {
    const { lost } = await cutPower(mistake);
    const isInline = mistake === "an inline chunk not durable";
    expect(lost.length).toBeGreaterThan(0);
    expect(lost.every((chunkId) => chunkId > 8 === isInline)).toBeTrue();
  });
