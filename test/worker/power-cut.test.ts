/** What a store has acknowledged survives a loss of power, by the disk of the simulator that forgets what was not flushed. */
import { expect, test } from "bun:test";
import type { FlushMistake, Forgotten, Kind, PowerCutOrder } from "./power-cut-life.ts";
import { temporaryFolder } from "./support.ts";

const SEED = 1;

async function cutPower(mistake: FlushMistake | null): Promise<Forgotten> {
  using folder = temporaryFolder();
  const thread = new Worker(new URL("./power-cut-life.ts", import.meta.url).href);
  const order: PowerCutOrder = { seed: SEED, directory: folder.path, mistake };
  const { promise, resolve, reject } = Promise.withResolvers<Forgotten>();
  thread.onmessage = ({ data }) => resolve(data);
  thread.onerror = ({ message }) => reject(new Error(message));
  thread.postMessage(order);
  return await promise.finally(() => thread.terminate());
}

test("what a store has acknowledged survives a loss of power: chunks in files and in the index, quarantined and restored copies", async () => {
  expect(await cutPower(null)).toEqual({ file: 0, inline: 0, quarantined: 0, restored: 0 });
});

/** What each mistake makes a store forget. */
const MISTAKES: Record<FlushMistake, Kind[]> = {
  "no flush of a chunk's bytes": ["file", "restored"],
  "no flush of its folder": ["file"],
  "no flush of the quarantine": ["quarantined"],
  "no flush of the folder that a copy is restored to": ["restored"],
  "an inline chunk not durable": ["inline"],
  "no flush of the index's log": ["inline"],
};

for (const [mistake, kinds] of Object.entries(MISTAKES) as [FlushMistake, Kind[]][])
  test(`a planted mistake loses chunks with the power, and that is noticed: ${mistake}`, async () => {
    const forgotten = await cutPower(mistake);
    expect(Object.keys(forgotten).filter((kind) => forgotten[kind as Kind] > 0)).toEqual(kinds);
  });
