/** A worker's event loop does not wait for its disk: the heartbeats and the readers of other chunks feel nothing of it. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { loadConfig } from "../../actors/node/config.ts";
import { getBlocks, putBlock } from "../../actors/node/http/block-requests.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { ChunkFolders } from "../../actors/worker/store/shelves/chunk-folders.ts";
import { dropFromCache } from "../support/drop-cache.ts";
import { fairNow } from "../support/fair-time.ts";
import { canTrace } from "../support/flush-trace.ts";
import { canSlowDisk, slowDisk } from "../support/slow-disk.ts";
import { StandInMaster } from "../support/stand-in-master.ts";
import {
  blocksOf,
  crc32Of,
  freeUrl,
  randomBytes,
  SECRET,
  tell,
  temporaryFolder,
  testConfig,
  tester,
  until,
} from "./support.ts";

const SCRIPT = resolve(import.meta.dir, "../../actors/worker.ts");
const BIG_BLOCK = 512 << 10;
const BYTES_PER_SECOND = 5 << 20;
const PATIENT = { timeoutMs: 120_000 };
const LANES = 6;

/** A worker in a process of its own, with a leader that it sends heartbeats to. */
async function startWorker(diskWrites: "direct" | "buffered") {
  const folder = mkdtempSync(join(tmpdir(), "dfs-slow-"));
  const masterUrl = freeUrl();
  const url = freeUrl();
  const master = new StandInMaster(masterUrl, SECRET);
  const { suspectAfterMs } = loadConfig();
  const config = testConfig({
    masters: [{ id: "master-1", url: masterUrl }],
    blockSizeBytes: BIG_BLOCK,
    inlineChunkBytes: 65_536,
    suspectAfterMs,
  });
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, dataDirectory: "." }));
  const flags = ["--config", join(folder, "config.json"), "--id", "worker-x", "--port", new URL(url).port];
  const worker = Bun.spawn([process.execPath, SCRIPT, ...flags, "--disk-writes", diskWrites], {
    env: { ...Bun.env, DFS_CLUSTER_SECRET: SECRET },
    stdout: "ignore",
    stderr: "inherit",
  });
  await until(() => master.heartbeats.length > 0 || worker.exitCode !== null);
  expect(worker.exitCode).toBeNull();
  return {
    ...{ folder, url, master, suspectAfterMs, pid: worker.pid },
    async [Symbol.asyncDispose]() {
      worker.kill("SIGKILL");
      await worker.exited;
      await master.stop();
      rmSync(folder, { recursive: true });
    },
  };
}

async function putChunk(url: string, chunkId: number, content: Uint8Array<ArrayBuffer>): Promise<void> {
  const blocks = blocksOf(content, BIG_BLOCK);
  const crcs = blocks.map(crc32Of);
  const to = { id: "worker-x", url };
  let next = 0;
  const lane = async () => {
    for (let n = next++; n < blocks.length; n = next++) {
      const bytes = blocks[n] as Uint8Array<ArrayBuffer>;
      const block = { chunkId, block: n, bytes, crc32: crcs[n] as number, blockSizeBytes: BIG_BLOCK };
      await putBlock(tester, to, [], block, PATIENT);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  const crc32 = crc32OfBlocks(crcs, content.length, BIG_BLOCK);
  await tell(url, { type: "SEAL_CHUNK", chunkId, lengthBytes: content.length, blockSizeBytes: BIG_BLOCK, crc32 });
}

const putSmall = (url: string, chunkId: number, bytes: Uint8Array<ArrayBuffer>) =>
  putBlock(
    tester,
    { id: "worker-x", url },
    [],
    { chunkId, block: 0, bytes, crc32: crc32Of(bytes), blockSizeBytes: BIG_BLOCK, seal: true },
    PATIENT,
  );

/** Both blocks of a big chunk, and a small one. */
async function putOthers(url: string) {
  const [big, small] = [randomBytes(2 * BIG_BLOCK), randomBytes(4096)];
  await putChunk(url, 1, big);
  await putSmall(url, 2, small);
  return {
    small,
    async read() {
      expect(await getBlocks(tester, url, 1, 0, 2, PATIENT)).toEqual(big);
      expect(await getBlocks(tester, url, 2, 0, 1, PATIENT)).toEqual(small);
    },
  };
}

/** The longest time between two heartbeats from now on, ms. */
function watchHeartbeats({ answers }: StandInMaster): () => number {
  let [last, longest] = [fairNow(), 0];
  const answer = answers.heartbeat;
  answers.heartbeat = (heartbeat) => {
    longest = Math.max(longest, fairNow() - last);
    last = fairNow();
    return answer(heartbeat);
  };
  return () => Math.max(longest, fairNow() - last);
}

const fileOf = (folder: string, chunkId: number) => new ChunkFolders(join(folder, "worker-x")).file(chunkId, "sealed");
const COLD = 4;

for (const diskWrites of ["direct", "buffered"] as const)
  test.skipIf(!canSlowDisk(tmpdir()))(
    `while a disk of 5 MB/s takes ${diskWrites} writes, heartbeats are in time, and other chunks are written and read, also from the disk`,
    async () => {
      await using worker = await startWorker(diskWrites);
      const { url, master, folder, suspectAfterMs } = worker;
      const others = await putOthers(url);
      await putChunk(url, COLD, randomBytes(8 * BIG_BLOCK));
      await others.read();
      dropFromCache(fileOf(folder, COLD));
      using _ = slowDisk(worker.pid, folder, BYTES_PER_SECOND);
      const longestPause = watchHeartbeats(master);
      let [reads, writes] = [0, 0];
      let isWritten = false;
      const slow = randomBytes(16 << 20);
      const writing = putChunk(url, 3, slow).finally(() => {
        isWritten = true;
      });
      const writingSmall = (async () => {
        for (; !isWritten; writes++) await putSmall(url, 100 + writes, others.small);
      })();
      const readingCold = (async () => {
        for (let n = 0; n < 8; n++) await getBlocks(tester, url, COLD, n, 1, PATIENT);
      })();
      for (; !isWritten; reads++) {
        await others.read();
        await Bun.sleep(5);
      }
      await Promise.all([writing, writingSmall, readingCold]);
      expect(longestPause()).toBeLessThan(suspectAfterMs);
      expect(reads).toBeGreaterThan(1);
      expect(writes).toBeGreaterThan(1);
      expect(crc32Of(await getBlocks(tester, url, 3, 0, 32, PATIENT))).toBe(crc32Of(slow));
    },
  );

/** What a process asks of the kernel during some work: each line begins with the id of the thread, of the event loop's with that of the process. */
async function trace(pid: number, calls: string, work: () => Promise<unknown>): Promise<string[]> {
  using folder = temporaryFolder();
  const file = join(folder.path, "trace");
  const command = ["strace", "-f", "-y", "-s", "0", "-e", `trace=${calls}`, "-o", file, "-p", String(pid)];
  const strace = Bun.spawn(command, { stderr: "pipe" });
  for await (const said of strace.stderr.pipeThrough(new TextDecoderStream())) if (said.includes("attached")) break;
  await work();
  strace.kill("SIGINT");
  await strace.exited;
  return readFileSync(file, "utf8").split("\n");
}

test.skipIf(!canTrace)(
  "the thread of the event loop opens, writes, names and removes no chunk's file, and flushes nothing",
  async () => {
    await using worker = await startWorker("buffered");
    const { url, pid } = worker;
    const isOfEventLoop = (line: string) => line.startsWith(`${pid} `);
    const calls = "openat,write,pwrite64,pwritev,fsync,fdatasync,sync_file_range,ftruncate,rename,unlink";
    const lines = await trace(pid, calls, async () => {
      await putChunk(url, 1, randomBytes(3 * BIG_BLOCK + 100));
      for (let n = 0; n < 5; n++) await putSmall(url, 100 + n, randomBytes(4096));
      const order = { term: 2, expiresAt: Number.MAX_SAFE_INTEGER, orderId: "1", decidedAt: 10, chunkIds: [1, 100] };
      await tell(url, { type: "TRASH_CHUNKS", ...order });
    });
    const onChunks = lines.filter((line) => /\/(parts|chunks)\b/.test(line) && !line.includes("O_RDONLY"));
    expect(onChunks.length).toBeGreaterThan(8);
    expect(onChunks.filter(isOfEventLoop)).toEqual([]);
    const flushes = lines.filter((line) => /\bf(data)?sync\(/.test(line));
    // Each small chunk came alone, and so did the new leader's term.
    expect(flushes.filter((line) => line.includes("chunk-index.db-wal")).length).toBeGreaterThanOrEqual(6);
    expect(flushes.filter(isOfEventLoop)).toEqual([]);
  },
);

test.skipIf(!canTrace)("the thread of the event loop reads no chunk's file that is not in the page cache", async () => {
  await using worker = await startWorker("buffered");
  const { url, pid, folder } = worker;
  const others = await putOthers(url);
  await others.read();
  if (!dropFromCache(fileOf(folder, 1))) return; // a file system in memory: nothing is read from a disk
  const lines = await trace(pid, "read,pread64,preadv,sendfile,splice,copy_file_range", others.read);
  const reads = lines.filter((line) => line.includes("/chunks/"));
  expect(reads.length).toBeGreaterThan(0);
  expect(reads.filter((line) => line.startsWith(`${pid} `))).toEqual([]);
});
