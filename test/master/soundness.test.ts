/** Whether the file of the applied state is whole: what is believed at a start, what is checked, and who may lead meanwhile. */
import { Database } from "bun:sqlite";
import { afterEach, expect, test } from "bun:test";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RaftDriver } from "../../actors/master/group/raft-driver.ts";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { Soundness, StateDamaged } from "../../actors/master/group/soundness.ts";
import type { RaftMessage } from "../../actors/messages/raft.ts";
import { MasterLog } from "../../databases/master-log.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import { blankRaft, stillPorts } from "../support/blank-raft.ts";
import { until } from "../support/fair-time.ts";
import { loneEngine, untilReady } from "../support/lone-engine.ts";
import { ManualClock } from "../support/manual-clock.ts";

const folders: string[] = [];
const opened: RaftMetadata[] = [];
const closeAll = () => {
  for (const engine of opened.splice(0)) engine.close();
};
afterEach(() => {
  closeAll();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "dfs-soundness-"));
  folders.push(made);
  return made;
}

const open = (directory: string, more: Parameters<typeof loneEngine>[5] = {}): RaftMetadata => {
  const engine = loneEngine(directory, "c", 10_000, undefined, undefined, more);
  opened.push(engine);
  return engine;
};
/** However small a state is, it is checked beside its use. */
const beside = { checkedAtOnceBytes: 0 };
const stateIn = (directory: string) => join(directory, "dfs_metadata.db");

/** A state of some pages. */
async function lived(): Promise<string> {
  const directory = folder();
  const engine = await untilReady(open(directory));
  for (let n = 0; n < 300; n++) await engine.propose({ type: "MAKE_DIRECTORY", path: `directory-${n}` });
  engine.store.makeDurable();
  return directory;
}

/** What a kill -9 leaves at this moment. */
function killed(directory: string): string {
  const image = folder();
  cpSync(directory, image, { recursive: true });
  return image;
}

/** Tears the page of an index that a start alone does not look at. The file stays as long as it was. */
function tear(directory: string): void {
  const path = stateIn(directory);
  const db = new Database(path);
  const { rootpage } = db.query("SELECT rootpage FROM sqlite_schema WHERE name = 'file_chunks'").get() as {
    rootpage: number;
  };
  const { page_size: size } = db.query("PRAGMA page_size").get() as { page_size: number };
  db.close();
  const bytes = readFileSync(path);
  bytes.fill(0xa5, (rootpage - 1) * size, rootpage * size);
  writeFileSync(path, bytes);
}

const isPutAside = (directory: string) => existsSync(`${stateIn(directory)}.damaged`);

function stateFileIn(directory: string) {
  const configuration = { voters: [[]], learners: [] };
  const log = new MasterLog(join(directory, "master_metadata.db"), { clusterId: "c", nodeId: "x", configuration });
  const { stateFile } = log;
  log.close();
  return stateFile;
}

test("a state that was closed in order is believed: a start reads no more than it needs", async () => {
  const directory = await lived();
  closeAll();
  expect(stateFileIn(directory).closed).not.toBeNull();
  tear(directory);
  const engine = open(directory, beside);
  expect(engine.soundness.isWhole).toBe(true);
  expect(isPutAside(directory)).toBe(false);
});

test("a small state that was not closed is read through at once; a torn one is put aside, and built again from the log", async () => {
  const image = killed(await lived());
  tear(image);
  const engine = await untilReady(open(image));
  expect(isPutAside(image)).toBe(true);
  expect(engine.store.row("totals", {})?.directories).toBe(300);
});

test("that the state is open is on disk before anything is written to it, and after every kind of end but an orderly one", async () => {
  const directory = folder();
  const engine = open(directory);
  expect(stateFileIn(killed(directory)).closed).toBeNull();
  await untilReady(engine);
  expect(stateFileIn(killed(directory)).closed).toBeNull();
  closeAll();
  expect(stateFileIn(killed(directory)).closed).toMatchObject({ generation: 0, index: 1 });
  open(directory);
  expect(stateFileIn(killed(directory)).closed).toBeNull();
});

test("a state that another program went on with, or that is another file, is not believed", async () => {
  const directory = await lived();
  closeAll();
  const grown = killed(directory);
  const store = new SqliteMetadata(stateIn(grown));
  const { index, term } = store.applied();
  store.prepare("UPDATE applied SET idx = idx - 1").run();
  store.close();
  expect(open(grown, beside).soundness.isWhole).toBe(false);
  const other = killed(directory);
  writeFileSync(stateIn(other), new Uint8Array(4096), { flag: "a" });
  expect(open(other, beside).soundness.isWhole).toBe(false);
  expect([index, term]).toEqual([301, 1]);
});

test("a data directory of an older program, which says nothing of its state, is read through once", async () => {
  const directory = await lived();
  closeAll();
  const db = new Database(join(directory, "master_metadata.db"));
  db.exec("DROP TABLE state_file");
  db.close();
  const engine = open(directory, beside);
  expect(engine.soundness.isWhole).toBe(false);
  await untilReady(engine);
  closeAll();
  expect(open(directory, beside).soundness.isWhole).toBe(true);
});

test("a large state that was not closed is read through beside its use, and its master leads only after it", async () => {
  const image = killed(await lived());
  const seen: boolean[] = [];
  const engine = open(image, {
    ...beside,
    leaderChanged: (leaderId) => {
      if (leaderId !== null) seen.push(engine.soundness.isWhole);
    },
  });
  expect(engine.soundness.isWhole).toBe(false);
  engine.start();
  expect(engine.raft.role).toBe("follower");
  await until("it leads", () => engine.raft.isReady, { pollMs: 1 });
  expect(seen).toEqual([true]);
  expect(engine.store.row("totals", {})?.directories).toBe(300);
});

test("a check that is not over when its master stops leaves the state unproven", async () => {
  const image = killed(await lived());
  open(image, beside).start();
  closeAll();
  expect(stateFileIn(image).closed).toBeNull();
});

test("a large state that is found torn ends its master, and the next start puts it aside and builds it again", async () => {
  const image = killed(await lived());
  tear(image);
  const failures: unknown[] = [];
  const engine = open(image, { ...beside, onFailure: (cause) => failures.push(cause) });
  expect(engine.soundness.isWhole).toBe(false);
  engine.start();
  await until("it is found", () => failures.length > 0, { pollMs: 1 });
  expect(failures[0]).toBeInstanceOf(StateDamaged);
  expect(engine.raft.role).toBe("follower");
  closeAll();
  const again = await untilReady(open(image, beside));
  expect(isPutAside(image)).toBe(true);
  expect(again.store.row("totals", {})?.directories).toBe(300);
});

test("once a week a state is read through while it is in use; a torn one ends its master", async () => {
  const directory = await lived();
  closeAll();
  const clock = new ManualClock();
  const configuration = { voters: [[]], learners: [] };
  const log = new MasterLog(join(directory, "master_metadata.db"), { clusterId: "c", nodeId: "x", configuration });
  log.noteStateWhole(clock.wallTime());
  const found: Error[] = [];
  const parts = { log, clock, readThrough: () => null, onDamaged: (cause: Error) => found.push(cause) };
  const watch = new Soundness(parts, stateIn(directory), true);
  watch.start();
  const DAY = 24 * 3_600_000;
  clock.pass(7 * DAY);
  expect(log.stateFile.checkedAt).toBeLessThan(clock.wallTime());
  clock.pass(DAY);
  await until("it was read through", () => log.stateFile.checkedAt === clock.wallTime(), { pollMs: 1 });
  expect(watch.isWhole).toBe(true);
  tear(directory);
  clock.pass(8 * DAY);
  await until("it is found", () => found.length > 0, { pollMs: 1 });
  expect(watch.isWhole).toBe(false);
  expect(log.stateFile.damagedGeneration).toBe(0);
  watch.close();
  log.close();
});

const beat = (term: number): RaftMessage => ({ type: "rpc.beat", from: "b", to: "a", term, commit: 0, readSeq: 1 });

test("a master that does not know yet whether its state is whole follows and votes, and neither campaigns nor takes over", () => {
  const clock = new ManualClock();
  const sent: RaftMessage[] = [];
  const master = { mayLead: false };
  const driver = new RaftDriver(
    "a",
    blankRaft({ voters: [["a", "b", "c"]], learners: [] }),
    { heartbeatMs: 100, electionMs: 1000 },
    stillPorts({ clock, send: (message) => sent.push(message), mayLead: () => master.mayLead }),
  );
  driver.start();
  clock.pass(20_000);
  expect([driver.role, sent]).toEqual(["follower", []]);
  driver.receive({ type: "rpc.vote", from: "b", to: "a", term: 1, lastIndex: 0, lastTerm: 0, transfer: false });
  expect(sent.splice(0)).toMatchObject([{ type: "rpc.voteReply", granted: true }]);
  driver.receive(beat(1));
  expect(driver.state.leaderId).toBe("b");
  driver.receive({ type: "rpc.timeoutNow", from: "b", to: "a", term: 1 } as RaftMessage);
  clock.pass(20_000);
  expect(driver.role).toBe("follower");
  master.mayLead = true;
  clock.pass(2_000);
  expect(driver.role).toBe("precandidate");
  driver.stop();
});
