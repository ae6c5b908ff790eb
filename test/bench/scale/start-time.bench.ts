/**
 * How long a master takes to lead
 *
 * By the size of its metadata, and by how it stopped: in order, or without closing its files.
 */
import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { loneEngine, untilReady } from "../../support/lone-engine.ts";
import { fillMetadata } from "./fill-metadata.ts";
import { partSizes, printFigure } from "./part.ts";

const { directory, sizes } = partSizes();
const WORKERS = 5;
const folder = mkdtempSync(join(directory, "dfs-start-"));
const cacheBytes = 1 << 30;

async function fill(): Promise<void> {
  const engine = await untilReady(loneEngine(folder, "c", 10_000, undefined, undefined, { cacheBytes }));
  for (let n = 1; n <= WORKERS; n++)
    await engine.propose({
      ...{ type: "REGISTER_WORKER", workerId: `w${n}`, url: `http://127.0.0.1:${n}`, zone: `z${n}` },
      ...{ incarnation: "first", capacityBytes: 1e12 },
    });
  const sets = Array.from({ length: 10 }, (_, n) => [n, n + 1, n + 2].map((k) => `w${1 + (k % WORKERS)}`));
  const filling = { files: sizes.metadataFiles, filesPerDirectory: 1000, chunkBytes: 4096, hasNames: true };
  await fillMetadata(engine.store as SqliteMetadata, { ...filling, sets });
  engine.close();
}

/** As if the last process had been killed: that the state was closed is forgotten. */
function forgetClose(): void {
  const db = new Database(join(folder, "master_metadata.db"));
  db.exec("UPDATE state_file SET closed_generation = NULL");
  db.close(true);
}

async function start(id: string, how: string): Promise<void> {
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
  const tell = (what: string, label: string, value: number, unit: string) =>
    printFigure({ id: `start.${id}.${what}`, label: `${how}: ${label}`, value, unit });
  tell("answers", "a master answers after", openedMs / 1000, "s");
  tell("leads", "it leads after", (performance.now() - began) / 1000, "s");
  tell("cpu", "CPU", (user + system) / 1e6, "s");
  tell("turn", "longest turn of its event loop", longestTurnMs, "ms");
  engine.close();
}

try {
  await fill();
  console.log(`${sizes.metadataFiles} files: ${Math.round(statSync(join(folder, "dfs_metadata.db")).size / 1e6)} MB`);
  await start("closed", "closed in order");
  forgetClose();
  await start("killed", "not closed");
  await start("again", "closed in order again");
} finally {
  rmSync(folder, { recursive: true, force: true });
}
