import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { getBlocks, putBlock } from "../../actors/node/http/block-requests.ts";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { spawnLogging, spawnWorker, untilListening } from "./spawn-worker.ts";
import {
  BLOCK,
  crc32Of,
  freeUrl,
  randomBytes,
  storeChunk,
  tell,
  temporaryFolder,
  tester,
  writeChunk,
} from "./support.ts";

test("after kill -9 every acknowledged chunk is there, and nothing of the others", async () => {
  using folder = temporaryFolder();
  const url = freeUrl();
  const flags = ["--id", "worker-x", "--port", new URL(url).port];
  const first = spawnWorker(folder.path, ...flags);
  await untilListening(url);
  const content = randomBytes(5 * BLOCK);
  const small = randomBytes(300);
  await storeChunk({ url }, 1, content);
  const inline = { chunkId: 2, block: 0, bytes: small, crc32: crc32Of(small), blockSizeBytes: BLOCK, seal: true };
  await putBlock(tester, { id: "worker-x", url }, [], inline, { timeoutMs: 5000 });
  await writeChunk({ url }, 3, content);
  first.kill("SIGKILL");
  await first.exited;
  const second = spawnWorker(folder.path, ...flags);
  await untilListening(url);
  expect(await getBlocks(tester, url, 1, 0, 10, { timeoutMs: 5000 })).toEqual(content);
  expect(await getBlocks(tester, url, 2, 0, 1, { timeoutMs: 5000 })).toEqual(small);
  expect(tell(url, { type: "DESCRIBE_CHUNK", chunkId: 3 })).rejects.toMatchObject({ code: "NO_SUCH_CHUNK" });
  second.kill("SIGTERM");
  expect(await second.exited).toBe(0);
});

test("F12. a node started alone logs to standard output, a JSON line per event, and to no file, as its README says", async () => {
  using folder = temporaryFolder();
  const url = freeUrl();
  const worker = spawnLogging(folder.path, "pipe", "--id", "worker-x", "--port", new URL(url).port);
  await untilListening(url);
  worker.kill("SIGTERM");
  const lines = (await new Response(worker.stdout).text()).trimEnd().split("\n");
  for (const line of lines) expect(JSON.parse(line)).toMatchObject({ node: "worker-x", event: expect.any(String) });
  expect(
    readdirSync(folder.path, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".log")),
  ).toEqual([]);
  const readme = await Bun.file(resolve(import.meta.dir, "../../databases/README.md")).text();
  expect(readme.replace(/\s+/g, " ")).toContain(
    "of nodes that `npm start` runs; a node started alone logs to standard output",
  );
});

test("a second worker on the same directory does not start, and says why", async () => {
  using folder = temporaryFolder();
  const url = freeUrl();
  const data = join(folder.path, "data");
  const first = spawnWorker(folder.path, "--id", "worker-x", "--port", new URL(url).port, "--data", data);
  await untilListening(url);
  const second = spawnWorker(folder.path, "--id", "worker-y", "--port", new URL(freeUrl()).port, "--data", data);
  expect(await second.exited).toBe(ExitCode.dataDirectoryRefused);
  expect(await new Response(second.stderr).text()).toContain("in use by another worker");
  first.kill("SIGTERM");
  expect(await first.exited).toBe(0);
});

test("an id that is not in config.json needs a port, and nonsense is named", async () => {
  using folder = temporaryFolder();
  for (const [flags, complaint] of [
    [["--id", "worker-x"], "--port"],
    [["--id", "Worker X", "--port", "17198"], "--id is Worker X; allowed:"],
    [["--id", "worker-x", "--url", "ftp://there"], "--url is ftp://there; allowed:"],
  ] as const) {
    const worker = spawnWorker(folder.path, ...flags);
    expect(await worker.exited).toBe(ExitCode.badConfiguration);
    expect(await new Response(worker.stderr).text()).toContain(complaint);
  }
});
