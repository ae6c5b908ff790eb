/**
 * How long a master takes to lead, by the size of its metadata and by how it stopped.
 *
 *     bun test/bench/scale/start-time.ts --files 10000000 --dir /tmp      1.8 GB, a few minutes
 */
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { loneEngine, untilReady } from "../../support/lone-engine.ts";
import { fillMetadata } from "./fill-metadata.ts";

const { values } = parseArgs({
  options: {
    files: { type: "string", default: "1000000" },
    dir: { type: "string", default: tmpdir() },
  },
});

const WORKERS = 5;
const folder = mkdtempSync(join(values.dir, "dfs-start-"));
const cacheBytes = 1 << 30;

async function fill(): Promise<void> {
  const engine = await untilReady(loneEngine(folder, "c", 10_000, undefined, undefined, { cacheBytes }));
  for (let n = 1; n <= WORKERS; n++)
    await engine.propose({
      ...{ type: "REGISTER_WORKER", workerId: `w${n}`, url: `http://127.0.0.1:${n}`, zone: `z${n}` },
      ...{ incarnation: "first", capacityBytes: 1e12 },
    });
  const sets = Array.from({ length: 10 }, (_, n) => [n, n + 1, n + 2].map((k) => `w${1 + (k % WORKERS)}`));
  const filling = { files: Number(values.files), filesPerDirectory: 1000, chunkBytes: 4096, hasNames: true };
  await fillMetadata(engine.store as SqliteMetadata, { ...filling, sets });
  engine.close();
}

/** As if the last process had been killed: that the state was closed is forgotten. */
function forgetClose(): void {
  const db = new Database(join(folder, "master_metadata.db"));
  db.exec("UPDATE state_file SET closed_generation = NULL");
  db.close(true);
}

async function start(how: string): Promise<void> {
  const before = process.cpuUsage();
  const began = performance.now();
  const engine = loneEngine(folder, "c", 10_000, undefined, undefined, { cacheBytes });
  const openedMs = performance.now() - began;
  let longestTurnMs = 0;
  let turnAt = performance.now();
  const turns = setInterval(() => {
    longestTurnMs = Math.max(longestTurnMs, performance.now() - turnAt);
    turnAt = performance.now();
  }, 1);
  await untilReady(engine);
  clearInterval(turns);
  const { user, system } = process.cpuUsage(before);
  const ms = (duration: number) => `${Math.round(duration)} ms`;
  const readyMs = performance.now() - began;
  console.log(
    `${how}: answers after ${ms(openedMs)}, leads after ${ms(readyMs)}, ${ms((user + system) / 1000)} CPU, longest turn ${ms(longestTurnMs)}`,
  );
  engine.close();
}

try {
  await fill();
  await start(`${values.files} files, closed in order`);
  forgetClose();
  await start(`${values.files} files, not closed`);
  await start(`${values.files} files, closed in order again`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
