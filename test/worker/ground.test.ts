/** What a worker does when its files are taken away while it runs. */
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { FolderWatch } from "../../actors/worker/store/folder-watch.ts";
import { Ground } from "../../actors/worker/store/ground.ts";
import { codeOf, codeThrownBy } from "../support/codes.ts";
import { StandInMaster } from "../support/stand-in-master.ts";
import { openStore, put, write } from "./open-store.ts";
import { spawnWorker, untilListening } from "./spawn-worker.ts";
import {
  BLOCK,
  crc32Of,
  freeUrl,
  randomBytes,
  SECRET,
  silent,
  startTestWorker,
  storeChunk,
  temporaryFolder,
  testConfig,
  until,
} from "./support.ts";

const content = randomBytes(3 * BLOCK);
const CHUNKS = [1, 2, 3, 4, 5];
const FOLDERS = ["chunks", "parts", "trash", "quarantine"];

async function workerWithChunks(folder: string) {
  const master = new StandInMaster(freeUrl(), SECRET);
  const { heartbeat } = master.answers;
  const bad = new Map<number, string>();
  master.answers.heartbeat = (message) => {
    for (const { chunkId, state } of message.badReplicas) bad.set(chunkId, state);
    return { ...heartbeat(message), acknowledged: message.badReplicas.map(({ chunkId }) => chunkId) };
  };
  const config = testConfig({ masters: [{ id: "master-1", url: master.url }] });
  const worker = await startTestWorker(folder, { config, rhythm: { sweepMs: 20, probeMs: 20 } });
  for (const chunkId of CHUNKS) await storeChunk(worker, chunkId, content);
  return {
    worker,
    master,
    bad,
    ready: async () => (await fetch(`${worker.url}/health/ready`)).json() as Promise<{ waitsFor: string[] }>,
    [Symbol.asyncDispose]: async () => {
      await worker.stop();
      await master.stop();
    },
  };
}

test("F4. a worker whose folders vanish reports every copy as missing, and begins anew", async () => {
  using folder = temporaryFolder();
  await using all = await workerWithChunks(folder.path);
  const { worker, master, bad } = all;
  for (const name of FOLDERS) rmSync(join(folder.path, name), { recursive: true });
  await until(() => bad.size === CHUNKS.length);
  expect([...bad.values()]).toEqual(CHUNKS.map(() => "missing"));
  await until(() => master.heartbeats.at(-1)?.condition === "normal");
  expect(worker.store.totals).toMatchObject({ chunkCount: 0, sealedBytes: 0 });
  await storeChunk(worker, 9, content);
  expect(worker.store.describe(9)?.state).toBe("sealed");
});

test("F4. a folder that was linked in from another disk is not made anew: what is put there would be hidden later", async () => {
  using folder = temporaryFolder();
  using other = temporaryFolder();
  mkdirSync(join(other.path, "chunks"));
  symlinkSync(join(other.path, "chunks"), join(folder.path, "chunks"));
  await using all = await workerWithChunks(folder.path);
  unlinkSync(join(folder.path, "chunks"));
  await until(() => all.bad.size === CHUNKS.length);
  const beats = all.master.heartbeats.length;
  await until(() => all.master.heartbeats.length > beats + 5);
  expect(all.master.heartbeats.at(-1)?.condition).toBe("readOnly");
  expect((await all.ready()).waitsFor.join()).toContain("mount it again");
  expect(existsSync(join(folder.path, "chunks"))).toBeFalse();
});

test("F4. a folder that is away for a moment costs no copy", async () => {
  using folder = temporaryFolder();
  const { store, disk, index } = await openStore(folder.path);
  const stored = await put(store, 1, content);
  const ground = new Ground([folder.path, index.path], store.folders.all);
  const watch = new FolderWatch(store, disk, ground, { log: silent, onLost: () => {} });
  await watch.look();
  expect(watch.isWhole).toBeTrue();
  renameSync(join(folder.path, "chunks"), join(folder.path, "elsewhere"));
  await watch.look();
  expect(watch.isWhole).toBeFalse();
  expect(disk.space(0).condition).toBe("readOnly");
  renameSync(join(folder.path, "elsewhere"), join(folder.path, "chunks"));
  await watch.look();
  expect(watch.isWhole).toBeTrue();
  expect(store.holds(stored)).toBeTrue();
  await store.close();
});

for (const [what, path] of [
  ["data directory", ""],
  ["index", "chunk-index.db"],
] as const)
  test(`F4. a worker whose ${what} is taken away ends: what it acknowledged would be gone with its process`, async () => {
    using folder = temporaryFolder();
    const url = freeUrl();
    const data = join(folder.path, "data");
    const worker = spawnWorker(folder.path, "--id", "worker-x", "--port", new URL(url).port, "--data", data);
    await untilListening(url);
    rmSync(join(data, path), { recursive: true });
    expect(await worker.exited).toBe(ExitCode.diskFailed);
  });

test("F4. a sealed copy whose bytes are gone is neither described, sealed again nor written to as if it were there", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  const expected = await put(store, 1, content);
  await put(store, 2, content);
  rmSync(store.folders.file(1, "sealed"));
  rmSync(store.folders.file(2, "sealed"));
  expect(store.describe(2)).toBeNull();
  expect(await store.seal(expected, BLOCK).catch(({ code }) => code)).toBe("NO_SUCH_CHUNK");
  write(store, 1, content);
  await store.seal(expected, BLOCK);
  expect(store.holds(expected)).toBeTrue();
  expect(existsSync(store.folders.file(1, "sealed"))).toBeTrue();
  await until(() => index.find(2)?.state === "missing");
  expect(store.totals).toMatchObject({ chunkCount: 1, sealedBytes: content.length });
  await store.close();
});

test("F4. an error that nobody expected of a store operation makes the worker try its disk", async () => {
  using folder = temporaryFolder();
  const { store, disk, index } = await openStore(folder.path);
  rmSync(join(folder.path, "parts"), { recursive: true });
  const block = content.slice(0, BLOCK);
  expect(await codeOf(store.writeBlock(1, 0, BLOCK, block, crc32Of(block)))).toBe("READ_ONLY");
  expect(store.totals.openChunks).toBe(0);
  expect(disk.failure).toContain("ENOENT");
  expect(await disk.probe()).toBeFalse();
  mkdirSync(join(folder.path, "parts"));
  expect(await disk.probe()).toBeTrue();
  const { find } = index;
  index.find = () => {
    throw Object.assign(new Error("locking protocol"), { code: "SQLITE_PROTOCOL" });
  };
  expect(codeThrownBy(() => store.readBlocks(1, 0, 1))).toBe("READ_ONLY");
  expect(disk.space(0).condition).toBe("readOnly");
  index.find = find;
  await store.close();
});
