import { expect, test } from "bun:test";
import { getBlocks } from "../../actors/worker/block-client.ts";
import { startStandInMaster } from "../support/stand-in-master.ts";
import {
  BLOCK,
  crc32Of,
  freeUrl,
  randomBytes,
  SECRET,
  startTestWorker,
  storeChunk,
  tell,
  temporaryFolder,
  testConfig,
  tester,
  until,
} from "./support.ts";

test("a chunk written block by block, sealed, described and read back is the same", async () => {
  using folder = temporaryFolder();
  const masterUrl = freeUrl();
  const master = startStandInMaster(masterUrl, SECRET);
  const worker = await startTestWorker(folder.path, {
    config: testConfig({ masters: [{ id: "master-1", url: masterUrl }] }),
  });
  await until(() => master.heartbeats.length > 2);
  const content = randomBytes(3 * BLOCK + 17);
  const stored = await storeChunk(worker, 7, content);
  expect(stored.crc32).toBe(crc32Of(content));
  const description = await tell(worker.url, { type: "DESCRIBE_CHUNK", chunkId: 7 });
  expect(description).toMatchObject({ state: "sealed", lengthBytes: content.length, crc32: stored.crc32 });
  const read = await getBlocks(tester, worker.url, 7, 0, 10, { timeoutMs: 1000 });
  expect(crc32Of(read)).toBe(stored.crc32);
  console.log(
    await (await fetch(`${worker.url}/metrics`)).text(),
    worker.state(),
    await (await fetch(`${worker.url}/health/ready`)).text(),
    JSON.stringify(master.reconciliations),
  );
  await worker.stop();
  await master.stop();
});
