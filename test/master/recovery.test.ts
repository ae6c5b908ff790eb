/** What a master makes of the files that it finds: M is master_metadata.db, D is dfs_metadata.db. One test per finding. */

import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { foundingConfiguration, OUTSIDER } from "../../actors/master/group/founding.ts";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { StartRefused } from "../../actors/node/lifecycle.ts";
import { createLogger } from "../../actors/node/log.ts";
import { LogDamaged, MasterLog } from "../../databases/master-log.ts";
import {
  BackupUnusable,
  backupHead,
  restoreBackup,
  StateMissing,
  unpackBackup,
} from "../../databases/metadata/backup.ts";
import { loneEngine, untilReady } from "../support/lone-engine.ts";

const folders: string[] = [];
const opened: { close(): void }[] = [];
afterEach(() => {
  closeAll();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
const closeAll = (): void => {
  for (const it of opened.splice(0)) it.close();
};

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "dfs-recovery-"));
  folders.push(made);
  return made;
}

async function open(directory: string): Promise<RaftMetadata> {
  const engine = loneEngine(directory, "c", 20);
  opened.push(engine);
  return untilReady(engine);
}

const directoriesIn = (engine: RaftMetadata) => engine.store.row("totals", {})?.directories;
const remove = (directory: string, name: string): void => {
  for (const end of ["", "-wal", "-shm"]) rmSync(join(directory, name + end), { force: true });
};

/** A directory whose log has lost its beginning to compaction. */
async function compacted(): Promise<string> {
  const directory = folder();
  const engine = await open(directory);
  for (let n = 0; n < 100; n++) await engine.propose({ type: "MAKE_DIRECTORY", path: `d${n}` });
  while (engine.compact());
  expect(engine.raft.state.log.baseIndex).toBeGreaterThan(50);
  closeAll();
  return directory;
}

test("an applied state that is missing is built again from a log that is whole", async () => {
  const directory = folder();
  const engine = await open(directory);
  for (let n = 0; n < 10; n++) await engine.propose({ type: "MAKE_DIRECTORY", path: `d${n}` });
  closeAll();
  remove(directory, "dfs_metadata.db");
  expect(directoriesIn(await open(directory))).toBe(10);
});

test("an applied state that is damaged is put aside and built again from a log that is whole", async () => {
  const directory = folder();
  const engine = await open(directory);
  await engine.propose({ type: "MAKE_DIRECTORY", path: "kept" });
  closeAll();
  remove(directory, "dfs_metadata.db");
  writeFileSync(join(directory, "dfs_metadata.db"), "this is no database, and was one ".repeat(200));
  expect(directoriesIn(await open(directory))).toBe(1);
  expect(existsSync(join(directory, "dfs_metadata.db.damaged"))).toBe(true);
});

test("an applied state that is missing beside a log that was cut back: the master waits for a leader's state, and keeps its log and its vote", async () => {
  const directory = await compacted();
  remove(directory, "dfs_metadata.db");
  expect(() => loneEngine(directory)).toThrow(StateMissing);
  const identity = { clusterId: "c", nodeId: "master-1", configuration: OUTSIDER };
  const log = new MasterLog(join(directory, "master_metadata.db"), identity);
  opened.push(log);
  expect(log.recover()).toMatchObject({ term: 1, vote: "master-1" });
});

test("28. an applied state from an old backup beside a log that was cut back: the master waits for a leader's state, and serves no old data", async () => {
  const directory = folder();
  const engine = await open(directory);
  await engine.propose({ type: "MAKE_DIRECTORY", path: "old" });
  closeAll();
  const old = folder();
  cpSync(join(directory, "dfs_metadata.db"), join(old, "dfs_metadata.db"));
  const again = await open(directory);
  for (let n = 0; n < 100; n++) await again.propose({ type: "MAKE_DIRECTORY", path: `d${n}` });
  while (again.compact());
  closeAll();
  remove(directory, "dfs_metadata.db");
  cpSync(join(old, "dfs_metadata.db"), join(directory, "dfs_metadata.db"));
  expect(() => loneEngine(directory)).toThrow(StateMissing);
});

test("what a killed master wrote to its log and did not live to see flushed is durable before its next start counts on it", () => {
  const open = (directory: string): MasterLog => {
    const configuration = { voters: [["m"]], learners: [] };
    const log = new MasterLog(join(directory, "master_metadata.db"), { clusterId: "c", nodeId: "m", configuration });
    opened.push(log);
    return log;
  };
  const leave = (from: string, ends: string[]): string => {
    const to = folder();
    for (const end of ends) cpSync(join(from, `master_metadata.db${end}`), join(to, `master_metadata.db${end}`));
    return to;
  };
  const running = folder();
  const entry = { index: 1, term: 3, kind: "command" as const, data: new Uint8Array([7]) };
  open(running).write({ hard: { term: 3, vote: "m" }, changes: [{ truncateFrom: null, entries: [entry] }] });
  const killed = leave(running, ["", "-wal"]);
  expect(open(killed).recover()).toMatchObject({ term: 3, vote: "m", entries: [{ index: 1 }] });
  // The power goes: the log of what was written last may be gone with it.
  const withoutPower = leave(killed, [""]);
  expect(open(withoutPower).recover()).toMatchObject({ term: 3, vote: "m", entries: [{ index: 1 }] });
});

test("an applied state that is ahead of its log is refused, for the log lost what it had flushed", async () => {
  const directory = await compacted();
  const raw = new Database(join(directory, "dfs_metadata.db"));
  raw.run("UPDATE applied SET idx = idx + 5");
  raw.close();
  expect(() => loneEngine(directory)).toThrow(/behind the log's end .* start another under a new id/);
});

test("an applied state that ends in another term than its log has there is refused: the files are of two masters", async () => {
  const directory = await compacted();
  const raw = new Database(join(directory, "dfs_metadata.db"));
  raw.run("UPDATE applied SET term = term + 1");
  raw.close();
  expect(() => loneEngine(directory)).toThrow(LogDamaged);
});

test("a log that is missing beside an applied state means that the master's id is dead, and the refusal says how to go on", async () => {
  const directory = await compacted();
  remove(directory, "master_metadata.db");
  const parts = {
    config: { masters: [{ id: "master-1", url: "http://127.0.0.1:1" }] },
    nodeId: "master-1",
    url: "http://127.0.0.1:1",
    dataDirectory: directory,
    identity: { nodeId: "master-1", credentials: sharedSecret("master-1", "0".repeat(64)), clusterId: () => "c" },
    log: createLogger("master-1", "silent"),
    joins: false,
  };
  const refused = await foundingConfiguration(parts).catch((error) => error as Error);
  expect(refused).toBeInstanceOf(StartRefused);
  expect((refused as Error).message).toContain("the votes it gave are forgotten");
  // An empty directory of a lone master is a beginning.
  expect(await foundingConfiguration({ ...parts, dataDirectory: folder() })).toEqual({
    voters: [["master-1"]],
    learners: [],
  });
});

test("a data directory keeps its incarnation, and a new one has another", async () => {
  const [one, two] = [folder(), folder()];
  const { incarnation } = await open(one);
  expect((await open(two)).incarnation).not.toBe(incarnation);
  closeAll();
  expect((await open(one)).incarnation).toBe(incarnation);
});

/** A backup of a state with one directory, as the leader streams it. */
async function backupOf(directory: string) {
  const engine = await open(directory);
  await engine.propose({ type: "MAKE_DIRECTORY", path: "kept" });
  const copy = join(folder(), "copy.db");
  const { index, term } = await engine.store.copyTo(copy);
  const bytes = await Bun.file(copy).bytes();
  const sha256 = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  const configuration = { voters: [["master-1"]], learners: [] };
  const manifest = { clusterId: "c", index, term, configuration, at: 0, sizeBytes: bytes.length, sha256 };
  const whole = Buffer.concat([backupHead(manifest), bytes]);
  const inPieces = async function* (size: number) {
    for (let at = 0; at < whole.length; at += size) yield new Uint8Array(whole.subarray(at, at + size));
  };
  return { engine, manifest, whole, inPieces };
}

test("43c. a restored history goes on far ahead of the lost one: chunk ids, log entries and terms are never used twice", async () => {
  const { engine, manifest, inPieces } = await backupOf(folder());
  const nextId = engine.store.row("totals", {})?.nextChunkId ?? 0;
  const restored = folder();
  await restoreBackup(inPieces(7), { dataDirectory: restored, nodeId: "master-1", clusterId: "c" });
  const again = await open(restored);
  expect(directoriesIn(again)).toBe(1);
  expect(again.term).toBeGreaterThan(manifest.term + 500_000);
  expect(again.appliedIndex).toBeGreaterThan(manifest.index + 4_000_000_000);
  expect((again.store.row("totals", {})?.nextChunkId ?? 0) - nextId).toBe(2 ** 32);
  const { index } = await again.execute({
    command: { type: "MAKE_DIRECTORY", path: "new" },
    sessionId: 0,
    seq: 0,
    lowestUnacked: 0,
    idempotencyKey: null,
  });
  closeAll();
  const third = await open(restored);
  expect(directoriesIn(third)).toBe(2);
  expect(third.appliedIndex).toBeGreaterThanOrEqual(index);
});

test("a backup that is damaged, cut off, of another cluster, or for a directory in use is refused", async () => {
  const used = folder();
  const { whole, inPieces } = await backupOf(used);
  const target = { dataDirectory: folder(), nodeId: "master-1", clusterId: "c" };
  const refusedFor = async (bytes: Uint8Array) => {
    const source = (async function* () {
      yield bytes;
    })();
    return (await unpackBackup(source, join(folder(), "x.db")).catch((error) => error)) as Error;
  };
  const flipped = new Uint8Array(whole);
  flipped[whole.length - 50] = (flipped[whole.length - 50] as number) ^ 1;
  for (const bytes of [flipped, whole.subarray(0, -1), whole.subarray(0, 30), new Uint8Array(0), Buffer.from("hello")])
    expect(await refusedFor(new Uint8Array(bytes))).toBeInstanceOf(BackupUnusable);
  expect(restoreBackup(inPieces(1000), { ...target, clusterId: "other" })).rejects.toThrow("is of cluster c");
  expect(restoreBackup(inPieces(1000), { ...target, dataDirectory: used })).rejects.toThrow("holds a master's data");
});

test("commits go on while a copy of the state is made beside them", async () => {
  const engine = await open(folder());
  for (let n = 0; n < 60; n++)
    await Promise.all(
      Array.from({ length: 500 }, (_, k) => engine.propose({ type: "MAKE_DIRECTORY", path: `directory-${n}-${k}` })),
    );
  let isCopying = true;
  const copying = engine.store.copyTo(join(folder(), "copy.db")).finally(() => {
    isCopying = false;
  });
  let commits = 0;
  while (isCopying) {
    await engine.propose({ type: "NOOP" });
    commits++;
  }
  const { index } = await copying;
  expect(index).toBeGreaterThanOrEqual(30_000);
  expect(commits).toBeGreaterThan(1);
});
