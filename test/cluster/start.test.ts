/** What can be wrong with a machine or a configuration at a start, and how a node says so. */
import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { checkConfig, loadConfig } from "../../actors/node/config.ts";
import { loadSecret, secretPath } from "../../actors/node/identity/secret.ts";
import { worldRefusal } from "../../actors/node/lifecycle.ts";
import configJson from "../../config.json";
import { freePorts } from "../support/free-ports.ts";

const folder = mkdtempSync(join(tmpdir(), "dfs-start-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function refusalOf(attempt: () => unknown): string | undefined {
  try {
    attempt();
  } catch (error) {
    return worldRefusal(error)?.message;
  }
  return "nothing was refused";
}

async function startNode(script: string, ...args: string[]) {
  const child = Bun.spawn([process.execPath, script, ...args], {
    cwd: resolve(import.meta.dir, "../.."),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stderr, exitCode] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  return { stderr, exitCode };
}

const configFile = (name: string, changes: object): string => {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify({ ...configJson, ...changes }));
  return path;
};

test("every mistake in a configuration is told with its key, its value and what is allowed", () => {
  const wrong = {
    ...configJson,
    replicationFactor: 0,
    route: "shortest",
    heartbeatMs: "often",
    chunkSize: 5,
    limits: { ...configJson.limits, maxUploads: -1 },
    workers: [{ id: "Worker 1", url: "127.0.0.1:7101", zone: "a" }],
  };
  expect(() => checkConfig(wrong)).toThrow("replicationFactor is 0; allowed: a whole number from 1 to 16");
  for (const told of [
    'route is "shortest"; allowed: "auto", "fanout", "chain"',
    'heartbeatMs is "often"; allowed: a whole number from 20 to 60000',
    "chunkSize is 5",
    "limits.maxUploads is -1; allowed: a whole number from 1 to 10000",
    'workers.0.id is "Worker 1"; allowed: ',
    'workers.0.url is "127.0.0.1:7101"; allowed: ',
  ])
    expect(() => checkConfig(wrong)).toThrow(told);
});

test("masters and workers need an address that can be called, gateways may serve at all of a machine's", () => {
  for (const url of ["http://0.0.0.0:7001", "http://[::]:7001"]) {
    expect(() => checkConfig({ ...configJson, masters: [{ id: "master-1", url }] })).toThrow(
      `url of master-1 is ${url}; allowed: an address at which the other nodes reach it`,
    );
    expect(() => checkConfig({ ...configJson, workers: [{ id: "w", url, zone: "a" }] })).toThrow("url of w is");
    checkConfig({ ...configJson, gateways: [{ id: "gateway-1", url }] });
  }
});

test("a configuration that is missing or no JSON says which file, and how to name another", () => {
  expect(() => loadConfig(join(folder, "none.json"))).toThrow("Name a configuration with --config FILE");
  const broken = join(folder, "broken.json");
  writeFileSync(broken, "{ masters: }");
  expect(() => loadConfig(broken)).toThrow(`${broken} is not JSON`);
});

test("what the machine refuses becomes one line with the remedy, our own mistakes stay what they are", () => {
  writeFileSync(join(folder, "file"), "");
  expect(refusalOf(() => readdirSync(join(folder, "file", "below")))).toContain("a part of the path is a file");
  const taken = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  const serve = (hostname: string, port: number) => () =>
    Bun.serve({ hostname, port, reusePort: false, fetch: () => new Response() });
  expect(refusalOf(serve("127.0.0.1", taken.port as number))).toStartWith(`Port ${taken.port} is taken.`);
  expect(refusalOf(serve("192.0.2.1", freePorts(1)[0] as number))).toContain("does not have the address");
  taken.stop(true);
  const denied = Object.assign(new Error("EACCES"), { code: "EACCES", syscall: "open", path: "/x/cluster.secret" });
  expect(worldRefusal(denied)?.message).toStartWith("Cannot open /x/cluster.secret: permission denied.");
  expect(worldRefusal(new TypeError("x is undefined"))).toBeNull();
});

test("a data directory that cannot be made stops each kind of node with one line and code 3", async () => {
  const urls = freePorts(3).map((port) => `http://127.0.0.1:${port}`);
  const config = configFile("below-file.json", {
    masters: [{ id: "master-1", url: urls[0] }],
    workers: [{ id: "worker-1", url: urls[1], zone: "a" }],
    gateways: [{ id: "gateway-1", url: urls[2] }],
    dataDirectory: join(folder, "file", "data"),
  });
  for (const [script, ...args] of [
    ["actors/cluster.ts"],
    ["actors/master.ts", "--id", "master-1"],
    ["actors/worker.ts", "--id", "worker-1"],
    ["gateway/gateway.ts"],
  ] as const) {
    const { stderr, exitCode } = await startNode(script, ...args, "--config", config);
    expect([script, exitCode, stderr.trim().split("\n").length]).toEqual([script, 3, 1]);
    expect(stderr).toContain("a part of the path is a file");
  }
});

test("the cluster secret is made once, readable by its owner only, and a loosened file is tightened", () => {
  const data = join(folder, "secret");
  const secret = loadSecret(data, {});
  expect(secret).toMatch(/^[0-9a-f]{64}$/);
  expect(statSync(secretPath(data)).mode & 0o777).toBe(0o600);
  chmodSync(secretPath(data), 0o644);
  expect(loadSecret(data, {})).toBe(secret);
  expect(statSync(secretPath(data)).mode & 0o777).toBe(0o600);
  expect(readFileSync(secretPath(data), "utf8").trim()).toBe(secret);
  expect(readdirSync(data)).toEqual(["cluster.secret"]);
});

test("a secret that is none is refused without being shown", () => {
  for (const given of ["", "hunter2", "0".repeat(63)]) {
    const message = ((): string => {
      try {
        return loadSecret(join(folder, "unused"), { DFS_CLUSTER_SECRET: given });
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(message).toBe("DFS_CLUSTER_SECRET does not hold a cluster secret; allowed: 64 hex digits");
  }
});
