/** A worker's event loop does not wait for its disk: the heartbeats and the readers of other chunks feel nothing of it. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { loadConfig } from "../../actors/node/config.ts";
import { getBlocks, putBlock } from "../../actors/node/http/block-requests.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { fairNow } from "../support/fair-time.ts";
import { canTrace } from "../support/flush-trace.ts";
import { canSlowDisk, slowDisk } from "../support/slow-disk.ts";
import { StandInMaster } from "../support/stand-in-master.ts";
import { blocksOf, crc32Of, freeUrl, randomBytes, SECRET, tell, testConfig, tester, until } from "./support.ts";

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

for (const diskWrites of ["direct", "buffered"] as const)
  test.skipIf(!canSlowDisk(tmpdir()))(
    `while a disk of 5 MB/s takes ${diskWrites} writes, heartbeats are in time, and other chunks are written and read`,
    async () => {
      await using worker = await startWorker(diskWrites);
      const { url, master, folder, suspectAfterMs } = worker;
      const [big, small] = [randomBytes(2 * BIG_BLOCK), randomBytes(4096)];
      await putChunk(url, 1, big);
      await putSmall(url, 2, small);
      const readOthers = async () => {
        expect(await getBlocks(tester, url, 1, 0, 2, PATIENT)).toEqual(big);
        expect(await getBlocks(tester, url, 2, 0, 1, PATIENT)).toEqual(small);
      };
      await readOthers();
      using _ = slowDisk(worker.pid, folder, BYTES_PER_SECOND);
      let [last, longest, reads, writes] = [fairNow(), 0, 0, 0];
      const answer = master.answers.heartbeat;
      master.answers.heartbeat = (heartbeat) => {
        longest = Math.max(longest, fairNow() - last);
        last = fairNow();
        return answer(heartbeat);
      };
      let isWritten = false;
      const slow = randomBytes(16 << 20);
      const writing = putChunk(url, 3, slow).finally(() => {
        isWritten = true;
      });
      const writingSmall = (async () => {
        for (; !isWritten; writes++) await putSmall(url, 100 + writes, small);
      })();
      for (; !isWritten; reads++) {
        await readOthers();
        await Bun.sleep(5);
      }
      await Promise.all([writing, writingSmall]);
      expect(Math.max(longest, fairNow() - last)).toBeLessThan(suspectAfterMs);
      expect(reads).toBeGreaterThan(1);
      expect(writes).toBeGreaterThan(1);
      expect(crc32Of(await getBlocks(tester, url, 3, 0, 32, PATIENT))).toBe(crc32Of(slow));
    },
  );

test.skipIf(!canTrace)(
  "the thread of the event loop opens, writes, flushes, names and removes no chunk's file",
  async () => {
    await using worker = await startWorker("direct");
    const { url, folder, pid } = worker;
    const trace = join(folder, "trace");
    const calls = "trace=openat,write,pwrite64,pwritev,fsync,fdatasync,ftruncate,rename,unlink";
    const strace = Bun.spawn(["strace", "-f", "-y", "-s", "0", "-e", calls, "-o", trace, "-p", String(pid)], {
      stderr: "pipe",
    });
    for await (const said of strace.stderr.pipeThrough(new TextDecoderStream())) if (said.includes("attached")) break;
    await putChunk(url, 1, randomBytes(3 * BIG_BLOCK + 100));
    strace.kill("SIGINT");
    await strace.exited;
    const onChunks = readFileSync(trace, "utf8")
      .split("\n")
      .filter((line) => /\/(parts|chunks)\b/.test(line) && !line.includes("O_RDONLY"));
    const ofEventLoop = onChunks.filter((line) => line.startsWith(`${pid} `));
    expect(onChunks.length).toBeGreaterThan(8);
    expect(ofEventLoop).toEqual([]);
  },
);
