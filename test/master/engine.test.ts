/** The log and the state it builds, on real files: group commit, crashes at any point, refusal of what does not fit. */
import { Database } from "bun:sqlite";
import { afterEach, expect, spyOn, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { Clock } from "../../actors/node/clock.ts";
import { loadConfig } from "../../actors/node/config.ts";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { LogDamaged } from "../../databases/master-log.ts";
import type { MetadataStore } from "../../databases/metadata/store.ts";
import { DatabaseRefused } from "../../databases/sqlite.ts";
import { freePorts } from "../support/free-ports.ts";
import { leapingClock, loneEngine, untilReady } from "../support/lone-engine.ts";

const MASTER = join(import.meta.dir, "../../actors/master.ts");
const folders: string[] = [];
const opened: { close(): void }[] = [];
afterEach(() => {
  for (const it of opened.splice(0)) it.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "dfs-engine-"));
  folders.push(made);
  return made;
}

async function open(directory: string, clock?: Clock) {
  const engine = loneEngine(directory, "c", 10_000, clock);
  opened.push(engine);
  await untilReady(engine);
  return { engine, metadata: engine.store };
}

const mkdir = (engine: RaftMetadata, path: string) => engine.propose({ type: "MAKE_DIRECTORY", path });
const directoriesIn = (metadata: MetadataStore) => metadata.row("totals", {})?.directories;

test("commands of one turn share a flush and keep their order", async () => {
  const { engine } = await open(folder());
  const outcomes = await Promise.all(
    Array.from({ length: 300 }, (_, n) =>
      engine.execute({
        command: { type: "MAKE_DIRECTORY", path: `d${n}` },
        sessionId: 0,
        seq: 0,
        lowestUnacked: 0,
        idempotencyKey: null,
      }),
    ),
  );
  // The first entry is the no-op that opens the term.
  expect(outcomes.map(({ index }) => index)).toEqual(Array.from({ length: 300 }, (_, n) => n + 2));
});

test("reads of one turn ask once whether this master leads still, and see what was acknowledged before them", async () => {
  const { engine, metadata } = await open(folder());
  const asked = spyOn(engine.raft, "send");
  await mkdir(engine, "d");
  const reads = Array.from({ length: 100 }, () => engine.confirmRead());
  await Promise.all(reads);
  expect(asked.mock.calls.filter(([{ type }]) => type === "client.read").length).toBe(1);
  expect(directoriesIn(metadata)).toBe(1);
  await engine.confirmRead();
  expect(asked.mock.calls.filter(([{ type }]) => type === "client.read").length).toBe(2);
});

test("a read that waits while the master stops is told so", async () => {
  const engine = await untilReady(loneEngine(folder()));
  const refused = engine.confirmRead().catch((error: Refusal) => error.code);
  engine.close();
  expect(await refused).toBe("NOT_READY");
});

test("a copy of the files at any moment, as a crash leaves them, recovers every acknowledged command", async () => {
  const directory = folder();
  const { engine } = await open(directory);
  for (let n = 1; n <= 5; n++) {
    await Promise.all(Array.from({ length: 20 }, (_, k) => mkdir(engine, `d${n}/${k}`)));
    const crashed = folder();
    cpSync(directory, crashed, { recursive: true });
    expect(directoriesIn((await open(crashed)).metadata)).toBe(n * 21);
  }
});

test("28b. a state that lags behind its log is replayed; one that is lost altogether is built again", async () => {
  const directory = folder();
  const first = await open(directory);
  await mkdir(first.engine, "kept");
  const lagging = folder();
  cpSync(directory, lagging, { recursive: true });
  await mkdir(first.engine, "later");
  first.engine.close();
  opened.length = 0;
  cpSync(join(directory, "master_metadata.db"), join(lagging, "master_metadata.db"));
  rmSync(join(lagging, "master_metadata.db-wal"), { force: true });
  expect(directoriesIn((await open(lagging)).metadata)).toBe(2);
  for (const end of ["", "-wal", "-shm"]) rmSync(join(directory, `dfs_metadata.db${end}`), { force: true });
  expect(directoriesIn((await open(directory)).metadata)).toBe(2);
});

test("a state that is ahead of its log is not of this master, and is refused", async () => {
  const ahead = folder();
  const { engine } = await open(ahead);
  await mkdir(engine, "a");
  engine.close();
  opened.length = 0;
  for (const end of ["", "-wal", "-shm"]) rmSync(join(ahead, `master_metadata.db${end}`), { force: true });
  expect(open(ahead)).rejects.toThrow(LogDamaged);
});

test("a flipped bit in the log stops the start", async () => {
  const directory = folder();
  const { engine } = await open(directory);
  for (let n = 0; n < 10; n++) await mkdir(engine, `d${n}`);
  engine.close();
  opened.length = 0;
  const raw = new Database(join(directory, "master_metadata.db"));
  raw.run("UPDATE log SET data = CAST(x'00' || substr(data, 2) AS BLOB) WHERE idx = 5");
  raw.close();
  for (const end of ["", "-wal", "-shm"]) rmSync(join(directory, `dfs_metadata.db${end}`), { force: true });
  expect(open(directory)).rejects.toThrow(/log entry 5 does not fit its checksum/);
});

test("31. two processes cannot share a data directory", async () => {
  const directory = folder();
  await open(directory);
  const second = Bun.spawnSync({
    cmd: [
      process.execPath,
      "-e",
      `const { MasterLog } = await import(${JSON.stringify(join(import.meta.dir, "../../databases/master-log.ts"))});
      new MasterLog(${JSON.stringify(join(directory, "master_metadata.db"))}, { clusterId: "x", nodeId: "y", configuration: { voters: [["y"]], learners: [] } });`,
    ],
    stderr: "pipe",
  });
  expect(second.exitCode).not.toBe(0);
  expect(second.stderr.toString()).toContain("in use by another process");
});

test("31b. a second master on a data directory in use says so and exits", async () => {
  const directory = folder();
  await open(directory);
  const [port] = freePorts(1);
  const configPath = join(folder(), "config.json");
  const masters = [{ id: "master-1", url: `http://127.0.0.1:${port}` }];
  writeFileSync(configPath, JSON.stringify({ ...loadConfig(), masters, dataDirectory: folder() }));
  const second = Bun.spawn({
    cmd: [process.execPath, MASTER, "--id", "master-1", "--config", configPath, "--data", directory],
    stderr: "pipe",
    stdout: "ignore",
  });
  expect(await second.exited).toBe(ExitCode.dataDirectoryRefused);
  expect(await new Response(second.stderr).text()).toContain("is in use by another process");
});

test("each start opens a higher term, and log time never falls nor runs while nobody leads", async () => {
  const directory = folder();
  const first = await open(directory);
  await Bun.sleep(20);
  await mkdir(first.engine, "a");
  const { term, logTime } = first.engine;
  expect(logTime).toBeGreaterThanOrEqual(20);
  first.engine.close();
  opened.length = 0;
  await Bun.sleep(300);
  const second = await open(directory);
  expect(second.engine.term).toBe(term + 1);
  expect(second.engine.logTime).toBeGreaterThanOrEqual(logTime - 20);
  expect(second.engine.logTime).toBeLessThan(logTime + 250);
});

test("67. more commands than may wait, in number or in bytes, are refused at once, and the rest are carried out", async () => {
  const { engine } = await open(folder());
  const attempt = (path: string) => {
    const command = { type: "MAKE_DIRECTORY", path } as const;
    try {
      return engine.execute({ command, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null });
    } catch (error) {
      return error as Refusal;
    }
  };
  const rounds = [
    { path: () => "d", waiting: 20_000 },
    // Refused by `decide` for its length; what counts here is what waits.
    { path: () => "d".repeat(1 << 20), waiting: 63 },
  ];
  for (const { path, waiting } of rounds) {
    const taken: Promise<unknown>[] = [];
    for (;;) {
      const outcome = attempt(path());
      if (outcome instanceof Refusal) {
        expect(outcome.code).toBe("OVERLOADED");
        break;
      }
      taken.push(outcome);
    }
    expect(taken).toHaveLength(waiting);
    await Promise.all(taken);
    expect(attempt("again")).not.toBeInstanceOf(Refusal);
    await mkdir(engine, "and again");
  }
});

const MINUTE = 60_000;
const UPLOAD = {
  replicationFactor: 3,
  minReplicas: 2,
  chunkSizeBytes: 1 << 20,
  leaseMs: MINUTE,
  condition: {},
  contentType: "a/b",
  sha256: null,
  userMetadata: {},
};
const openUpload = (engine: RaftMetadata) => engine.propose({ type: "OPEN_UPLOAD", path: "slow", ...UPLOAD });
const commit = (engine: RaftMetadata, uploadId: number) =>
  engine.propose({ type: "COMMIT_UPLOAD", uploadId, sizeBytes: 0, crc32: 0, sha256: null });

test("58. an upload with a lease of a minute outlives ten minutes without a leader, for log time stands still", async () => {
  const directory = folder();
  const clock = leapingClock();
  const first = await open(directory, clock);
  const { uploadId } = await openUpload(first.engine);
  clock.leap(MINUTE / 2);
  await mkdir(first.engine, "half the lease is over");
  first.engine.close();
  opened.length = 0;
  clock.leap(10 * MINUTE);
  const second = await open(directory, clock);
  expect(await commit(second.engine, uploadId)).toMatchObject({ file: { path: "slow" } });
});

test("58b. under a leader the lease does run out, the time under the leader before it included", async () => {
  const directory = folder();
  const clock = leapingClock();
  const first = await open(directory, clock);
  const { uploadId } = await openUpload(first.engine);
  clock.leap(MINUTE / 2);
  await mkdir(first.engine, "half the lease is over");
  first.engine.close();
  opened.length = 0;
  const second = await open(directory, clock);
  clock.leap(MINUTE / 2);
  await expect(commit(second.engine, uploadId)).rejects.toThrow(/does not exist/);
});

test("53h. a command that is sent again to the next leader gets the first one's result, also when its state was built again", async () => {
  const directory = folder();
  const first = await open(directory);
  const { sessionId } = await first.engine.propose({ type: "OPEN_SESSION", clientId: "g1" });
  const command = { type: "OPEN_UPLOAD", path: "f", ...UPLOAD } as const;
  const proposal = { command, sessionId, seq: 1, lowestUnacked: 1, idempotencyKey: null };
  const { result } = await first.engine.execute(proposal);
  first.engine.close();
  opened.length = 0;
  for (const end of ["", "-wal", "-shm"]) rmSync(join(directory, `dfs_metadata.db${end}`), { force: true });
  const second = await open(directory);
  expect((await second.engine.execute(proposal)).result).toEqual(result);
  expect(second.metadata.rows("expiredUploads", { logTime: Number.MAX_SAFE_INTEGER, limit: 10 })).toHaveLength(1);
});

test("43b. chunk ids go on rising after a change of leader, and when the applied state was built again from the log", async () => {
  const directory = folder();
  const grant = (engine: RaftMetadata) =>
    engine.propose({
      type: "GRANT_CHUNKS",
      gatewayId: "g1",
      count: 10,
      leaseMs: MINUTE,
      decision: { atLogTime: 0, rule: "test", candidates: [] },
    });
  const given: number[] = [];
  for (const accident of ["a restart", "the state is lost", "none"]) {
    const { engine } = await open(directory);
    const grants = await Promise.all([grant(engine), grant(engine)]);
    given.push(...grants.map(({ firstChunkId }) => firstChunkId));
    engine.close();
    opened.length = 0;
    if (accident === "the state is lost")
      for (const end of ["", "-wal", "-shm"]) rmSync(join(directory, `dfs_metadata.db${end}`), { force: true });
  }
  expect(given).toEqual([1, 11, 21, 31, 41, 51]);
});

test("a state of an older schema is brought up to date when it is opened", async () => {
  const directory = folder();
  const { engine } = await open(directory);
  await mkdir(engine, "kept");
  engine.close();
  opened.length = 0;
  const raw = new Database(join(directory, "dfs_metadata.db"));
  raw.run("ALTER TABLE workers DROP COLUMN lost_below");
  for (const column of ["version", "state_hash", "mark_index", "mark_hash"])
    raw.run(`ALTER TABLE applied DROP COLUMN ${column}`);
  raw.run("DROP TABLE contents; DROP INDEX buried_directories");
  raw.run("ALTER TABLE totals DROP COLUMN tiny_bytes");
  raw.run("DROP TABLE accounts; DROP INDEX grants_ended");
  for (const column of ["account_id", "chosen"]) raw.run(`ALTER TABLE grants DROP COLUMN ${column}`);
  raw.run("PRAGMA user_version = 1");
  raw.close();
  const { metadata } = await open(directory);
  expect(directoriesIn(metadata)).toBe(1);
  expect(metadata.rows("workers", {})).toEqual([]);
  expect(metadata.version).toBe(1);
});

test("a long log is cut back once its state is on disk, and the rest still recovers", async () => {
  const directory = folder();
  const { engine } = await open(directory);
  for (let n = 0; n < 23; n++) await Promise.all(Array.from({ length: 1000 }, () => engine.propose({ type: "NOOP" })));
  await mkdir(engine, "kept");
  while (engine.compact());
  const { log } = engine.raft.state;
  expect(log.baseIndex).toBeGreaterThan(0);
  expect(log.length).toBeLessThanOrEqual(20_000);
  engine.close();
  opened.length = 0;
  expect(directoriesIn((await open(directory)).metadata)).toBe(1);
});

test("a newer program's database is refused, not guessed at", async () => {
  const directory = folder();
  const raw = new Database(join(directory, "dfs_metadata.db"));
  raw.run("PRAGMA user_version = 99");
  raw.close();
  expect(open(directory)).rejects.toThrow(DatabaseRefused);
});
