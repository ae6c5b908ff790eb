/**
 * Very many tiny files
 *
 * Half a million files whose bytes lie in the metadata: how large that becomes, how long a snapshot of it and a master's
 * start take, the memory that a master holds then, and what one more read costs.
 */
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { clusterIdOf } from "../../../actors/master/group/cluster-id.ts";
import { loadSecret } from "../../../actors/node/identity/secret.ts";
import { PROGRAM_VERSION } from "../../../actors/rules/decide/cluster-version.ts";
import { RealCluster } from "../../support/real-cluster.ts";
import { MiB } from "../arithmetic.ts";
import { killAllChildren } from "../child-processes.ts";
import { cpuFigures } from "../cpu-figures.ts";
import { MasterFilling } from "../load/fill-master.ts";
import { randomBytes } from "../load/load-process.ts";
import { createEmpty, nameOf } from "../load/numbered-files.ts";
import { manyFiles } from "../measure/small-files.ts";
import { proportionalBytes } from "../process-accounting.ts";
import { partSizes, printFigure } from "./part.ts";

const TINY_BYTES = 1024;
const DIRECTORY = "bench/tiny";
const MASTER = "master-1";
const STALL_LOOK_MS = 5;

const { directory, sizes } = partSizes();
const count = sizes.tinyFiles;

/** The command of a gateway for a file that travels in it. */
function createTiny(n: number, content: Uint8Array): ReturnType<typeof createEmpty> {
  const held = { content, room: { masters: 3, totalBytes: 2 ** 40 } };
  const about = { sizeBytes: content.length, crc32: Bun.hash.crc32(content) };
  return { ...createEmpty(`${DIRECTORY}/${nameOf(n)}`), ...about, ...held };
}

async function fill(cluster: RealCluster): Promise<void> {
  const dataDirectory = cluster.dataOf(MASTER);
  const clusterId = clusterIdOf(loadSecret(cluster.config.dataDirectory, {}));
  const filling = new MasterFilling({ dataDirectory, nodeId: MASTER, clusterId });
  const contents = randomBytes(TINY_BYTES + count);
  console.log(`${count} files of ${TINY_BYTES} bytes go through decide`);
  const began = performance.now();
  filling.apply(1, () => ({ type: "SET_CLUSTER_VERSION", version: PROGRAM_VERSION }));
  filling.apply(count, (n) => createTiny(n, contents.slice(n, n + TINY_BYTES)));
  const seconds = (performance.now() - began) / 1000;
  filling.state.makeDurable();
  const bytes = statSync(join(dataDirectory, "dfs_metadata.db")).size;
  printFigure({ id: "tiny.applied", label: "tiny files applied", value: count / seconds, unit: "/s" });
  printFigure({ id: "tiny.metadata", label: "metadata", value: bytes / MiB, unit: "MiB" });
  printFigure({ id: "tiny.perFile", label: `metadata for one of ${TINY_BYTES} B`, value: bytes / count, unit: "B" });
  await copy(filling, join(dataDirectory, "copy.db"));
  filling.finish();
}

/** What a snapshot begins with, and how long it kept the thread that applies from going on. */
async function copy({ state }: MasterFilling, path: string): Promise<void> {
  let longest = 0;
  let last = performance.now();
  const look = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last - STALL_LOOK_MS);
    last = now;
  }, STALL_LOOK_MS);
  const began = performance.now();
  await state.copyTo(path);
  const seconds = (performance.now() - began) / 1000;
  clearInterval(look);
  rmSync(path);
  printFigure({ id: "tiny.copy", label: "a copy for a snapshot", value: seconds, unit: "s" });
  printFigure({ id: "tiny.stall", label: "longest stall meanwhile", value: longest, unit: "ms" });
}

async function start(cluster: RealCluster, how: "SIGTERM" | "SIGKILL", id: string, label: string): Promise<void> {
  await cluster.kill(MASTER, how);
  const began = performance.now();
  cluster.restart(MASTER);
  await cluster.until("the master answers", 120_000, async () => {
    await cluster.ask(MASTER, { type: "MASTER_STATUS" });
    return true;
  });
  printFigure({ id, label, value: (performance.now() - began) / 1000, unit: "s" });
}

const cluster = await RealCluster.start({ workers: 2, parent: directory, prepare: fill });
try {
  await start(cluster, "SIGTERM", "tiny.start", "a master's start after a clean stop");
  await start(cluster, "SIGKILL", "tiny.startAfterKill", "a master's start after kill -9");
  await cluster.ready();
  const memory = (): number | null => proportionalBytes(cluster.pid(MASTER));
  const inMiB = (bytes: number | null): number | null => (bytes === null ? null : bytes / MiB);
  printFigure({ id: "tiny.memory", label: "master's memory after its start", value: inMiB(memory()), unit: "MiB" });
  const read = { verb: "GET" as const, directory: DIRECTORY, sizeBytes: TINY_BYTES };
  const reads = Math.min(count, sizes.smallFiles);
  await manyFiles(cluster, { ...read, count: Math.ceil(reads / 4) });
  const { seconds, spent } = await manyFiles(cluster, { ...read, count: reads });
  printFigure({ id: "tiny.read.rate", label: "tiny files read", value: reads / seconds, unit: "/s" });
  for (const figure of cpuFigures("tiny.read", "tiny file read", spent, { count: reads, unit: "ms each" }))
    printFigure(figure);
  printFigure({ id: "tiny.memoryAfter", label: "master's memory after reads", value: inMiB(memory()), unit: "MiB" });
} finally {
  await killAllChildren();
  await cluster.stop();
}
