/** What a stranger on the network can do to a node: be told no. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { checkNodeId } from "../../actors/node/config.ts";
import { freePorts } from "../support/free-ports.ts";
import { launch, nodesRunning, smallCluster } from "../support/launcher.ts";

const PROJECT = resolve(import.meta.dir, "../..");
const cluster = smallCluster();
const launcher = launch(cluster);
await launcher.until("Ctrl-C stops everything");
const outside = mkdtempSync(join(tmpdir(), "dfs-outside-"));
afterAll(async () => {
  launcher.child.kill("SIGTERM");
  await launcher.exited;
  for (const pid of nodesRunning(cluster).values()) process.kill(pid, "SIGKILL");
  cluster.remove();
  rmSync(outside, { recursive: true, force: true });
});

const master = cluster.config.masters[0].url as string;
const worker = cluster.config.workers[0].url as string;

/** The request line exactly as given: fetch would tidy up its path. */
function rawRequest(url: string, head: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const { promise, resolve: answered } = Promise.withResolvers<string>();
  let answer = "";
  const socket = connect(Number(port), hostname, () => socket.write(head));
  socket.on("data", (bytes) => {
    answer += bytes.toString("latin1");
    if (answer.includes("\r\n\r\n")) socket.destroy();
  });
  socket.on("error", () => {});
  socket.on("close", () => answered(answer));
  return promise;
}
const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

test("masters and workers take no message and no block without a signature", async () => {
  for (const url of [master, worker])
    for (const authorization of ["", "DFS worker-1:1:00", "Bearer x"]) {
      const response = await fetch(`${url}/messages`, { method: "POST", body: "x", headers: { authorization } });
      expect([url, response.status]).toEqual([url, 401]);
    }
  const block = `${worker}/chunks/0000000000000001/blocks/0`;
  expect((await fetch(block)).status).toBe(401);
  expect((await fetch(block, { method: "PUT", body: "x" })).status).toBe(401);
});

test("no path leads out of a worker's folder, or out of the files", async () => {
  const climbing = ["..", "%2e%2e", "..%2f..%2f..%2fetc", "0000000000000001%2f..", "%00", "....//"];
  for (const part of climbing)
    for (const [method, path] of [
      ["GET", `/chunks/${part}/blocks/0`],
      ["PUT", `/chunks/${part}/blocks/0`],
      ["GET", `/chunks/0000000000000001/blocks/${part}`],
      ["GET", `/${part}/cluster.secret`],
    ] as const) {
      const head = `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`;
      for (const url of [worker, master]) {
        const status = statusOf(await rawRequest(url, head));
        expect([head, status >= 400 && status < 500]).toEqual([head, true]);
      }
    }
  for (const part of ["..%2f..%2fx", ".%2fx", "%2e%2e%2f%2e%2e%2fx", "%2fx", "x%2f", "%00x", "%ff", "x%2f.."])
    for (const method of ["PUT", "GET", "DELETE"]) {
      const head = `${method} /files/a/${part} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`;
      const status = statusOf(await rawRequest(cluster.url, head));
      expect([head, status >= 400 && status < 500]).toEqual([head, true]);
    }
  expect(((await (await fetch(`${cluster.url}/files`)).json()) as { entries: unknown[] }).entries).toEqual([]);
});

test("a message that does not tell its length, or tells too much, is refused before it is read", async () => {
  for (const url of [master, worker])
    for (const length of ["Transfer-Encoding: chunked", "Content-Length: 99999999999"]) {
      const answer = await rawRequest(url, `POST /messages HTTP/1.1\r\nHost: a\r\n${length}\r\n\r\n`);
      expect([url, length, statusOf(answer)]).toEqual([url, length, 413]);
    }
});

test("a name that leads here without being ours is refused by a gateway without a token", async () => {
  const answer = await rawRequest(cluster.url, "GET /files HTTP/1.1\r\nHost: evil.example\r\n\r\n");
  expect(statusOf(answer)).toBe(403);
});

test("a worker with another secret is not taken in, and its log says so once", async () => {
  const child = Bun.spawn(
    [
      ...[process.execPath, "actors/worker.ts", "--config", cluster.configPath],
      ...["--id", "worker-8", "--port", String(freePorts(1)[0]), "--data", join(outside, "worker-8")],
    ],
    { cwd: PROJECT, env: { ...Bun.env, DFS_CLUSTER_SECRET: "0".repeat(64) }, stdout: "pipe", stderr: "ignore" },
  );
  let told = "";
  for await (const bytes of child.stdout.pipeThrough(new TextDecoderStream())) {
    const isFirst = !told.includes("refused-by-leader");
    told += bytes;
    // Refused again and again for a while longer, it says no more.
    if (isFirst && told.includes("refused-by-leader")) setTimeout(() => child.kill("SIGTERM"), 1000);
  }
  const lines = told
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.filter(({ level }) => level >= 40).map(({ event, msg }) => [event, msg])).toEqual([
    [
      "refused-by-leader",
      "the leader rejected worker-8: The signature of worker-8 does not match: another cluster secret?",
    ],
  ]);
  const { workers } = (await (await fetch(`${cluster.url}/cluster`)).json()) as { workers: { id: string }[] };
  expect(workers.map(({ id }) => id)).not.toContain("worker-8");
});

test("an id that would be a path names no folder, and an address of everywhere is no address", async () => {
  for (const id of ["../outside", "a/b", "", "..", "A"]) expect(() => checkNodeId(id)).toThrow("--id is");
  const before = readdirSync(cluster.folder);
  writeFileSync(join(outside, "marker"), "");
  const port = String(freePorts(1)[0]);
  for (const args of [
    ["--id", "../../x", "--port", port],
    ["--id", "worker-9", "--url", `http://0.0.0.0:${port}`],
  ]) {
    const child = Bun.spawn([process.execPath, "actors/worker.ts", "--config", cluster.configPath, ...args], {
      cwd: PROJECT,
      stdout: "ignore",
      stderr: "pipe",
    });
    expect([args, await child.exited]).toEqual([args, 2]);
    expect(await new Response(child.stderr).text()).toMatch(/^--(id|url) is .*; allowed: /);
  }
  expect(readdirSync(cluster.folder)).toEqual(before);
});
