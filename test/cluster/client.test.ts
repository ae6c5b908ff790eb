/** The client library and the command line against real nodes: what the in-memory gateway of their own tests promises. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createClient, type DfsClient } from "../../gateway/client/client.ts";
import { codeOf } from "../support/codes.ts";
import { runDfs, startDfs } from "../support/command-line.ts";
import { launch, nodesRunning, type SmallCluster, smallCluster } from "../support/launcher.ts";

let cluster: SmallCluster;
let launcher: ReturnType<typeof launch>;
let dfs: DfsClient;

beforeAll(async () => {
  cluster = smallCluster();
  // Every node of this cluster lives on a machine that has a proxy for the internet.
  launcher = launch(cluster, { HTTP_PROXY: "http://127.0.0.1:9", http_proxy: "http://127.0.0.1:9" });
  dfs = createClient({ url: cluster.url });
  await launcher.until("Ctrl-C stops everything");
});
afterAll(async () => {
  launcher.child.kill("SIGINT");
  await launcher.exited;
  for (const pid of nodesRunning(cluster).values()) process.kill(pid, "SIGKILL");
  cluster.remove();
});

const random = (size: number): Uint8Array<ArrayBuffer> => {
  const bytes = new Uint8Array(size);
  for (let n = 0; n < size; n += 65536) crypto.getRandomValues(bytes.subarray(n, Math.min(size, n + 65536)));
  return bytes;
};
const contentOf = async (path: string) => new Response((await dfs.get(path)).body).bytes();

test("files of all sizes around block and chunk, and of none, come back as they went", async () => {
  for (const size of [0, 1, 65_536, 65_537, 524_288, 524_289, 8 << 20, (8 << 20) + 1]) {
    const bytes = random(size);
    const file = await dfs.put(`sizes/${size}`, bytes, { contentType: "x/y", meta: { note: "größe" } });
    expect([file.size, file.chunks]).toEqual([size, Math.ceil(size / (8 << 20))]);
    expect(Buffer.compare(await contentOf(`sizes/${size}`), bytes)).toBe(0);
    const head = await dfs.head(`sizes/${size}`);
    expect([head.size, head.etag, head.crc32, head.contentType]).toEqual([size, file.etag, file.crc32, "x/y"]);
    expect(head.meta).toEqual({ note: "größe" });
  }
});

test("a stream of unknown length, a range, and a resumed download", async () => {
  const bytes = random(20_000_000);
  await dfs.put("stream", new Blob([bytes]).stream());
  expect(Buffer.compare(await contentOf("stream"), bytes)).toBe(0);
  const range = await dfs.get("stream", { range: { start: 8_388_000, end: 8_389_000 } });
  expect(Buffer.compare(await new Response(range.body).bytes(), bytes.slice(8_388_000, 8_389_000))).toBe(0);
  const { etag } = await dfs.head("stream");
  const resume = { offset: 12_345_678, crc32: Bun.hash.crc32(bytes.slice(0, 12_345_678)) };
  const rest = await dfs.get("stream", { ifMatch: etag, resume });
  expect(Buffer.compare(await new Response(rest.body).bytes(), bytes.slice(resume.offset))).toBe(0);
  expect(await codeOf(dfs.get("stream", { ifMatch: '"other"', resume }))).toBe("FILE_CHANGED");
});

test("a resumable put whose connection was cut keeps what came", async () => {
  const bytes = random(12_000_000);
  const stop = new AbortController();
  let uploadId = "";
  const first = dfs.putResumable("cut", new Blob([bytes]), {
    signal: stop.signal,
    onUpload: (id) => (uploadId = id),
    onProgress: (sent) => sent > 9_000_000 && stop.abort(),
  });
  expect(await codeOf(first)).toBe("ABORTED");
  const file = await dfs.putResumable("cut", new Blob([bytes]), { uploadId });
  expect(file.size).toBe(bytes.length);
  expect(Buffer.compare(await contentOf("cut"), bytes)).toBe(0);
});

test("conditions, listing, rename, copy, mkdir, remove and explain are as the client says", async () => {
  const first = await dfs.put("n/a", "1");
  expect(await codeOf(dfs.put("n/a", "2", { createOnly: true }))).toBe("PRECONDITION_FAILED");
  const second = await dfs.put("n/a", "2", { ifMatch: first.etag });
  expect(await codeOf(dfs.put("n/a", "3", { ifMatch: first.etag }))).toBe("PRECONDITION_FAILED");
  expect((await dfs.head("n/a")).etag).toBe(second.etag);
  for (const name of ["a b", "100%", "日本", "x?y#z", "a+b"]) await dfs.put(`n/odd/${name}`, name);
  await dfs.mkdir("n/empty");
  const here = await Array.fromAsync(dfs.list("n/", { pageSize: 2 }));
  expect(here.map(({ path, kind }) => [path, kind])).toEqual([
    ["n/a", "file"],
    ["n/empty/", "directory"],
    ["n/odd/", "directory"],
  ]);
  const deep = await Array.fromAsync(dfs.list("n/odd/", { byDirectory: false, pageSize: 2 }));
  expect(deep.map(({ path }) => path.slice("n/odd/".length))).toEqual(["100%", "a b", "a+b", "x?y#z", "日本"]);
  await dfs.rename("n/odd", "n/even");
  await dfs.copy("n/a", "n/b");
  expect(await codeOf(dfs.copy("n/a", "n/b"))).toBe("ALREADY_EXISTS");
  expect(new TextDecoder().decode(await contentOf("n/even/x?y#z"))).toBe("x?y#z");
  expect(await codeOf(dfs.head("n/even"))).toBe("IS_A_DIRECTORY");
  expect(await codeOf(dfs.get("n/even"))).toBe("IS_A_DIRECTORY");
  expect(await codeOf(dfs.head("n/nothing"))).toBe("NO_SUCH_FILE");
  const { chunks, replication } = await dfs.explain("n/a");
  expect([chunks.length, replication, chunks[0]?.replicas.map(({ state }) => state)]).toEqual([
    1,
    3,
    ["good", "good", "good"],
  ]);
  expect(["IS_A_DIRECTORY", "DIRECTORY_NOT_EMPTY"]).toContain(await codeOf(dfs.remove("n")));
  await dfs.remove("n", { recursive: true });
  expect(await Array.fromAsync(dfs.list("n/"))).toEqual([]);
});

test("worker modes reach the masters, and an unknown worker is refused", async () => {
  await dfs.setWorkerMode("worker-3", "maintenance");
  const modes = async () => (await dfs.cluster()).workers.map(({ id, mode }) => `${id} ${mode}`).sort();
  expect(await modes()).toEqual(["worker-1 active", "worker-2 active", "worker-3 maintenance"]);
  await dfs.setWorkerMode("worker-3", "active");
  expect(await codeOf(dfs.setWorkerMode("worker-9", "active"))).toBe("NO_SUCH_WORKER");
});

test("a put and a get that are killed in the middle go on when the same command is typed again", async () => {
  const bytes = random(96 << 20);
  writeFileSync(join(cluster.files, "large.bin"), bytes);
  const putting = startDfs(cluster, ["put", "large.bin", "big/"]);
  const notes = () => readdirSync(join(cluster.folder, "state/dfs")).filter((name) => name.endsWith(".json"));
  let uploadId = "";
  let kept = 0;
  while (kept === 0 && putting.exitCode === null) {
    await Bun.sleep(5);
    if (uploadId === "")
      try {
        const [note] = notes();
        uploadId = JSON.parse(readFileSync(join(cluster.folder, "state/dfs", note as string), "utf8")).value.uploadId;
      } catch {
        continue;
      }
    const status = await fetch(`${cluster.url}/uploads/${uploadId}`);
    kept = status.ok ? ((await status.json()) as { offset: number }).offset : 0;
  }
  putting.kill("SIGKILL");
  await putting.exited;
  expect(await codeOf(dfs.head("big/large.bin"))).toBe("NO_SUCH_FILE");
  const again = await runDfs(cluster, "put", "large.bin", "big/");
  expect([again.exitCode, again.stderr]).toEqual([0, expect.stringContaining("big/large.bin: 96.0 MiB")]);
  expect((await fetch(`${cluster.url}/uploads/${uploadId}`)).status).toBe(404);

  const getting = startDfs(cluster, ["get", "big/large.bin", "back.bin"]);
  const part = join(cluster.files, "back.bin.part");
  const size = () => statSync(part, { throwIfNoEntry: false })?.size ?? 0;
  while (size() === 0 && getting.exitCode === null) await Bun.sleep(2);
  getting.kill("SIGKILL");
  await getting.exited;
  const partial = size();
  expect(partial).toBeGreaterThan(0);
  expect(partial).toBeLessThan(bytes.length);
  expect((await runDfs(cluster, "get", "big/large.bin", "back.bin")).exitCode).toBe(0);
  expect(Buffer.compare(readFileSync(join(cluster.files, "back.bin")), bytes)).toBe(0);
  expect(notes()).toEqual([]);
});

test("status and top show the real cluster", async () => {
  const status = await runDfs(cluster, "status", "--json");
  expect(JSON.parse(status.stdout).workers).toHaveLength(3);
  expect((await runDfs(cluster, "top", "--once")).stdout).toContain("worker-3");
});

test("a proxy for the internet is asked neither by nodes nor for a gateway on this machine", async () => {
  const proxies = { HTTP_PROXY: "http://127.0.0.1:9", http_proxy: "http://127.0.0.1:9" };
  const child = startDfs(cluster, ["ls"], { env: proxies });
  expect(await child.exited).toBe(0);
});
