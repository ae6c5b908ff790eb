/**
 * A worker's store with very many small chunks
 *
 * How long are its start, one round of the scrub and the comparison of its inventory with the leader, and what does a chunk
 * take of the disk? Times are of the process's CPU beside the clock's, since a busy machine stretches the latter.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { createLogger } from "../../../actors/node/log.ts";
import { reconcilePage } from "../../../actors/worker/leader/reconcile.ts";
import { ChunkStore } from "../../../actors/worker/store/chunk-store.ts";
import { Disk } from "../../../actors/worker/store/disk.ts";
import { ChunkIndex } from "../../../databases/chunk-index.ts";
import { partSizes, printFigure } from "./part.ts";

const BLOCK_BYTES = 512 << 10;
/** Writers at once, as a busy gateway has them. */
const WRITERS = 32;
/** Of all chunks, those that are read back to tell how long a round of the scrub takes. */
const SCRUBBED = 20_000;

const BYTES = 4096;

const { directory: parent, sizes } = partSizes();
const count = sizes.smallChunks;
const directory = mkdtempSync(join(parent, "dfs-many-chunks-"));

function open() {
  const index = new ChunkIndex(directory);
  const disk = new Disk({ directory, reservedBytes: 0 });
  const log = createLogger("bench", "silent");
  return { index, store: new ChunkStore(index, { directory, inlineChunkBytes: 65_536, disk, log }) };
}

async function timed<T>(id: string, label: string, work: () => Promise<T>, times = 1): Promise<T> {
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  const result = await work();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = ((performance.now() - began) / 1000) * times;
  printFigure({ id: `chunks.${id}`, label, value: seconds, unit: "s" });
  printFigure({ id: `chunks.${id}.cpu`, label: `${label}, CPU`, value: ((user + system) / 1e6) * times, unit: "s" });
  return result;
}

async function putAll({ store }: ReturnType<typeof open>): Promise<void> {
  const data = crypto.getRandomValues(new Uint8Array(BYTES));
  const crc32 = Bun.hash.crc32(data);
  let chunkId = 0;
  const writer = async () => {
    while (chunkId < count) await store.sealWhole({ chunkId: ++chunkId, lengthBytes: BYTES, crc32 }, BLOCK_BYTES, data);
  };
  await Promise.all(Array.from({ length: WRITERS }, writer));
}

try {
  const first = open();
  await first.store.recover();
  await timed("write", `${count.toLocaleString("en")} chunks of 4 KiB written, ${WRITERS} at a time`, () =>
    putAll(first),
  );
  await first.store.close();
  const each = statSync(first.index.path).size / count;
  printFigure({ id: "chunks.bytes", label: "disk for each chunk of 4 KiB", value: each, unit: "bytes" });
  const { store, index } = await timed("start", "start", async () => {
    const opened = open();
    await opened.store.recover();
    return opened;
  });
  await timed("inventory", "inventory, compared with the leader page by page", async () => {
    const ask = async () => ({ match: true, trash: [], decidedAt: 1, adopted: 0, missing: 0 });
    const trash = async () => {};
    const settled = () => store.settled();
    for (let from: number | null = 0; from !== null; ) from = await reconcilePage({ index, settled, ask, trash }, from);
  });
  const scrubbed = Math.min(SCRUBBED, count);
  const scrub = async () => {
    for (let n = 0; n < scrubbed; n++) {
      const row = index.leastRecentlyVerified();
      if (row) await store.verify(row.chunkId, null);
    }
  };
  await timed(
    "scrub",
    `one round of the scrub, told from ${scrubbed.toLocaleString("en")} chunks`,
    scrub,
    count / scrubbed,
  );
  await timed("audit", "audit of the totals, all rows counted", () => store.audit(true));
  await store.close();
} finally {
  rmSync(directory, { recursive: true });
}
