/**
 * For scale: one worker's store with very many small chunks, in a process of its own. How long are its start, one round of the
 * scrub and the comparison of its inventory with the leader, and what does a chunk take of the disk?
 *
 *     bun test/bench/scale/many-small-chunks.ts --count 1000000 --bytes 4096 --directory /mnt/disk1
 *
 * Times are of the process's CPU beside the clock's, since a busy machine stretches the latter.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createLogger } from "../../../actors/node/log.ts";
import { reconcilePage } from "../../../actors/worker/leader/reconcile.ts";
import { ChunkStore } from "../../../actors/worker/store/chunk-store.ts";
import { Disk } from "../../../actors/worker/store/disk.ts";
import { ChunkIndex } from "../../../databases/chunk-index.ts";

const BLOCK_BYTES = 512 << 10;
/** Writers at once, as a busy gateway has them. */
const WRITERS = 32;
/** Of all chunks, those that are read back to tell how long a round of the scrub takes. */
const SCRUBBED = 20_000;

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "1000000" },
    bytes: { type: "string", default: "4096" },
    directory: { type: "string", default: tmpdir() },
  },
});
const [count, bytes] = [Number(values.count), Number(values.bytes)];
const directory = mkdtempSync(join(values.directory, "dfs-many-chunks-"));

function open() {
  const index = new ChunkIndex(directory);
  const disk = new Disk({ directory, reservedBytes: 0 });
  const log = createLogger("bench", "silent");
  return { index, store: new ChunkStore(index, { directory, inlineChunkBytes: 65_536, disk, log }) };
}

async function timed<T>(what: string, work: () => Promise<T>, times = 1): Promise<T> {
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  const result = await work();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = ((performance.now() - began) / 1000) * times;
  console.log(`${what}: ${seconds.toFixed(2)} s, of it CPU ${(((user + system) / 1e6) * times).toFixed(2)} s`);
  return result;
}

async function putAll({ store }: ReturnType<typeof open>): Promise<void> {
  const data = crypto.getRandomValues(new Uint8Array(bytes));
  const crc32 = Bun.hash.crc32(data);
  let chunkId = 0;
  const writer = async () => {
    while (chunkId < count) await store.sealWhole({ chunkId: ++chunkId, lengthBytes: bytes, crc32 }, BLOCK_BYTES, data);
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

try {
  const first = open();
  await first.store.recover();
  await timed(`${count} chunks of ${bytes} bytes written, ${WRITERS} at a time`, () => putAll(first));
  await first.store.close();
  console.log(`bytes of the disk for each: ${(statSync(first.index.path).size / count).toFixed(0)}`);
  const { store, index } = await timed("start", async () => {
    const opened = open();
    await opened.store.recover();
    return opened;
  });
  await timed("inventory, compared with the leader page by page", async () => {
    const ask = async () => ({ match: true, trash: [], decidedAt: 1, adopted: 0, missing: 0 });
    const trash = async () => {};
    for (let from: number | null = 0; from !== null; ) from = await reconcilePage({ index, ask, trash }, from);
  });
  const scrubbed = Math.min(SCRUBBED, count);
  const scrub = async () => {
    for (let n = 0; n < scrubbed; n++) {
      const row = index.leastRecentlyVerified();
      if (row) await store.verify(row.chunkId, null);
    }
  };
  await timed(`one round of the scrub, at full speed, told from ${scrubbed} chunks`, scrub, count / scrubbed);
  await timed("audit of the totals, all rows counted", () => store.audit(true));
  await store.close();
} finally {
  rmSync(directory, { recursive: true });
}
