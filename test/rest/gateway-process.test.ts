import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import configJson from "../../config.json";
import { until } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { problemOf } from "../support/rest-gateway.ts";
import { StandInMaster } from "../support/stand-in-master.ts";

const [masterPort, ownPort, refusedPort, openPort] = freePorts(4);
const folder = mkdtempSync(join(tmpdir(), "dfs-gateway-"));
const configPath = join(folder, "config.json");
await Bun.write(
  configPath,
  JSON.stringify({
    ...configJson,
    masters: [{ id: "master-1", url: `http://127.0.0.1:${masterPort}` }],
    gateways: [{ id: "gateway-1", url: `http://127.0.0.1:${ownPort}` }],
    dataDirectory: join(folder, "data"),
  }),
);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const spawn = (args: string[], env: Record<string, string> = {}, runtime: string[] = []) =>
  Bun.spawn([process.execPath, ...runtime, "gateway/gateway.ts", "--config", configPath, ...args], {
    cwd: join(import.meta.dir, "../.."),
    env: { ...Bun.env, DFS_GATEWAY_TOKEN: "", ...env },
    stdout: "pipe",
    stderr: "pipe",
  });

async function untilAnswers(url: string): Promise<Response> {
  for (let attempt = 0; attempt < 200; attempt++)
    try {
      return await fetch(url);
    } catch {
      await Bun.sleep(25);
    }
  throw new Error(`${url} does not answer`);
}

const TOKEN = "s3cret-s3cret-16";

test("a token that is short, or that no header carries, is refused at the start, and the reason is told", async () => {
  for (const token of ["s3cret", "x".repeat(15), `${"x".repeat(16)} x`, "ü".repeat(16)]) {
    const gateway = spawn(["--id", "gateway-1"], { DFS_GATEWAY_TOKEN: token });
    expect([token, await gateway.exited]).toEqual([token, 2]);
    expect(await new Response(gateway.stderr).text()).toContain("allowed: 16 or more");
  }
});

test("an address that other machines reach is refused without a token, and the reason is told", async () => {
  const gateway = spawn(["--url", `http://0.0.0.0:${refusedPort}`]);
  expect(await gateway.exited).toBe(2);
  expect(await new Response(gateway.stderr).text()).toContain("DFS_GATEWAY_TOKEN");
});

test("a gateway that nobody gave an address does not start", async () => {
  for (const args of [
    ["--id", "gateway-9"],
    ["--url", "nonsense"],
    ["--url", "http://127.0.0.1"],
  ]) {
    const gateway = spawn(args);
    expect(await gateway.exited).toBe(2);
    expect(await new Response(gateway.stderr).text()).toContain("allowed: http://host:port");
  }
});

test("without a master it lives, is not ready and says why; a signal ends it with 0", async () => {
  const gateway = spawn(["--id", "gateway-1"]);
  try {
    const url = `http://127.0.0.1:${ownPort}`;
    expect((await untilAnswers(`${url}/health/live`)).status).toBe(200);
    const ready = await fetch(`${url}/health/ready`);
    expect([ready.status, (await problemOf(ready)).code]).toEqual([503, "NO_LEADER"]);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain("dfs_gateway_leader_reachable");
  } finally {
    gateway.kill("SIGTERM");
  }
  expect(await gateway.exited).toBe(0);
  const events = (await new Response(gateway.stdout).text()).trim().split("\n");
  const names = events.map((line) => JSON.parse(line).event as string);
  expect([names[0], names.at(-1)]).toEqual(["listening", "stopping"]);
});

test("with a token, other addresses are served, and only its bearer is", async () => {
  const gateway = spawn(["--url", `http://0.0.0.0:${openPort}`], { DFS_GATEWAY_TOKEN: TOKEN });
  try {
    const url = `http://127.0.0.1:${openPort}`;
    expect((await untilAnswers(`${url}/health/live`)).status).toBe(200);
    expect((await fetch(`${url}/openapi/json`)).status).toBe(401);
    expect((await fetch(`${url}/openapi/json`, { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(200);
  } finally {
    gateway.kill("SIGTERM");
  }
  expect(await gateway.exited).toBe(0);
});

const SECRET = "4".repeat(64);
const MINUTE_MS = 60_000;
for (const { fault, code, env, says } of [
  {
    fault: "whose clock is seven minutes behind",
    code: "CLOCKS_DIFFER",
    env: { DFS_CLUSTER_SECRET: SECRET, CLOCK_SHIFT_MS: String(-7 * MINUTE_MS) },
    says: `s behind that of http://127.0.0.1:${masterPort}`,
  },
  {
    fault: "whose clock is an hour ahead",
    code: "CLOCKS_DIFFER",
    env: { DFS_CLUSTER_SECRET: SECRET, CLOCK_SHIFT_MS: String(60 * MINUTE_MS) },
    says: `s ahead of that of http://127.0.0.1:${masterPort}`,
  },
  {
    fault: "with another cluster secret",
    code: "SECRETS_DIFFER",
    env: { DFS_CLUSTER_SECRET: "3".repeat(64) },
    says: "another cluster secret",
  },
])
  test(`F15. a gateway ${fault} says so to its clients with 503 ${code}, whatever they ask: it is no fault of theirs`, async () => {
    const master = new StandInMaster(`http://127.0.0.1:${masterPort}`, SECRET);
    const url = `http://127.0.0.1:${openPort}`;
    const gateway = spawn(["--url", url], env, ["--preload", "./test/support/shifted-clock.ts"]);
    try {
      await untilAnswers(`${url}/health/live`);
      for (const [method, path] of [
        ["GET", "/files/f"],
        ["HEAD", "/files/f"],
        ["GET", "/files?consistency=eventual"],
        ["PUT", "/files/f"],
        ["DELETE", "/files/f"],
        ["GET", "/cluster"],
        ["GET", "/cluster/backup"],
        ["GET", "/health/ready"],
        ["GET", "/health/stop?worker=worker-1"],
      ]) {
        // A machine so busy that no answer comes within two seconds has no leader, and says so.
        let answer!: Response;
        await until(`${path} is refused for what it is`, async () => {
          answer = await fetch(url + path, { method, ...(method === "PUT" ? { body: "x" } : {}) });
          return answer.headers.get("x-dfs-error") !== "NO_LEADER";
        });
        expect([path, answer.status, answer.headers.get("x-dfs-error")]).toEqual([path, 503, code]);
        expect(answer.headers.get("www-authenticate")).toBeNull();
        if (method !== "HEAD") expect((await problemOf(answer)).detail).toContain(says);
      }
    } finally {
      gateway.kill("SIGKILL");
      await gateway.exited;
      await master.stop();
    }
  });
