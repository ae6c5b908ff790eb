/** What nodes write is for the user that they run as, and for no other. */
import { afterAll, expect, test } from "bun:test";
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "../../actors/node/log.ts";
import { takePrivately } from "../../actors/node/private-directory.ts";
import { RealCluster } from "../support/real-cluster.ts";

const folder = mkdtempSync(join(tmpdir(), "dfs-private-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const silent = createLogger("test", "silent" as "debug");
const rightsOfOthers = (path: string): number => lstatSync(path).mode & 0o077;

test("S8. nothing that nodes write is open to other users, also where a data directory was", async () => {
  const cluster = await RealCluster.start({
    workers: 2,
    config: { replicationFactor: 2 },
    prepare: async (prepared) => {
      for (const id of ["master-1", "worker-1", "gateway-1"]) {
        mkdirSync(prepared.dataOf(id), { recursive: true });
        chmodSync(prepared.dataOf(id), 0o755);
      }
    },
  });
  try {
    for (const [name, size] of [
      ["small", 100],
      ["large", 300_000],
    ] as const)
      expect((await fetch(cluster.fileUrl(name), { method: "PUT", body: new Uint8Array(size) })).status).toBe(201);
    const data = cluster.config.dataDirectory;
    const paths = readdirSync(data, { recursive: true }).map((name) => join(data, String(name)));
    expect(paths).toContain(join(cluster.dataOf("worker-1"), "chunk-index.db"));
    expect(paths.filter((path) => existsSync(path) && rightsOfOthers(path) !== 0)).toEqual([]);
    expect(cluster.logOf("worker-1")).toContain("rights-tightened");
  } finally {
    await cluster.stop();
  }
});

test("S8. what lies in a data directory from before loses the rights of others", () => {
  const directory = join(folder, "old");
  mkdirSync(join(directory, "chunks"), { recursive: true });
  writeFileSync(join(directory, "chunk-index.db"), "");
  for (const [name, mode] of [
    ["", 0o755],
    ["chunks", 0o750],
    ["chunk-index.db", 0o644],
  ] as const)
    chmodSync(join(directory, name), mode);
  takePrivately(directory, silent);
  expect(["", "chunks", "chunk-index.db"].map((name) => lstatSync(join(directory, name)).mode & 0o777)).toEqual([
    0o700, 0o700, 0o600,
  ]);
});

test("S8. a data directory of another user is refused, with what to do", () => {
  const directory = join(folder, "theirs");
  mkdirSync(directory);
  const owner = lstatSync(directory).uid;
  expect(() => takePrivately(directory, silent, owner + 1)).toThrow(
    `belongs to user ${owner}, and this node runs as user ${owner + 1}. Start it as that user`,
  );
});
