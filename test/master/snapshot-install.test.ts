/** A follower that takes a whole state from the leader: crashes at each step, transfers that break off, full disks. */
import { afterEach, expect, spyOn, test } from "bun:test";
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, truncateSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { Snapshots } from "../../actors/master/group/snapshots.ts";
import type { RaftMessageOf } from "../../actors/messages/raft.ts";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { createLogger } from "../../actors/node/log.ts";
import { MasterLog } from "../../databases/master-log.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import { followerEngine, identity } from "../support/follower-engine.ts";
import { freePorts } from "../support/free-ports.ts";
import { loneEngine, untilReady } from "../support/lone-engine.ts";
import type { SmallDiskTask } from "../support/on-small-disk.ts";

const folders: string[] = [];
const opened: { close(): unknown }[] = [];
afterEach(() => {
  for (const it of opened.splice(0)) it.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "dfs-install-"));
  folders.push(made);
  return made;
}

const log = createLogger("master-1", "silent");
const directoriesIn = (engine: RaftMetadata) => engine.store.row("totals", {})?.directories;

type Offer = RaftMessageOf<"rpc.snapshotOffer">;

/** A leader that has `directories` of them, and serves its snapshot; `cutAt`, `silentAt`: the next answer ends there, or falls silent. */
async function source(directories: number, filler = "") {
  const directory = folder();
  const engine = await untilReady(loneEngine(directory));
  opened.push(engine);
  for (let n = 0; n < directories; n++) await engine.propose({ type: "MAKE_DIRECTORY", path: `d${n}${filler}` });
  const [port] = freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const snapshots = new Snapshots({ metadata: engine, identity, url, dataDirectory: directory, log, send: () => {} });
  const { manifest, body } = await snapshots.backup();
  await body.cancel();
  const ranges: (string | null)[] = [];
  const wire = { cutAt: null as number | null, silentAt: null as number | null, ranges };
  const server = Bun.serve({
    port,
    async fetch(request) {
      const range = request.headers.get("range");
      ranges.push(range);
      const whole = await snapshots.serve(new URL(request.url).pathname.split("/").at(-1) as string, range);
      const { cutAt, silentAt } = wire;
      wire.cutAt = wire.silentAt = null;
      if (silentAt !== null) {
        const bytes = (await whole.bytes()).slice(0, silentAt);
        return new Response(new ReadableStream({ start: (controller) => controller.enqueue(bytes) }), whole);
      }
      return cutAt === null ? whole : new Response((await whole.blob()).slice(0, cutAt), whole);
    },
  });
  opened.push({ close: () => server.stop(true) });
  const { index, term, sizeBytes, sha256 } = manifest;
  const offer: Offer = {
    type: "rpc.snapshotOffer",
    from: "master-1",
    to: "master-2",
    term,
    snapshotIndex: index,
    snapshotTerm: term,
    configuration: { voters: [["master-1"]], learners: ["master-2"] },
    url: `${url}/raft/snapshots/${index}`,
    sizeBytes,
    sha256,
  };
  return { offer, wire };
}

function follower(directory: string, silenceMs?: number) {
  const { engine, snapshots } = followerEngine(directory, () => {}, silenceMs);
  opened.push(engine);
  return { engine, snapshots };
}

/** The state's files that a data directory holds, but for SQLite's own beside them. */
const statesIn = (directory: string): string[] => {
  const generations = existsSync(join(directory, "state")) ? readdirSync(join(directory, "state")) : [];
  return [...(existsSync(join(directory, "dfs_metadata.db")) ? ["0"] : []), ...generations];
};

test("26b. a crash at each step of a snapshot's installation leaves the old state or the new, and the next one succeeds", async () => {
  const old = await source(3);
  const fresh = await source(40);
  const directory = folder();
  const { engine, snapshots } = follower(directory);
  await snapshots.install(old.offer);
  expect(directoriesIn(engine)).toBe(3);

  const left: Record<string, string> = {};
  const crashAt = (step: string): string => {
    left[step] = folder();
    cpSync(directory, left[step], { recursive: true });
    return left[step];
  };
  const anyFile = await open(join(directory, "master_metadata.db"), "r");
  const handles = Object.getPrototypeOf(anyFile) as typeof anyFile;
  await anyFile.close();
  const { sync } = handles;
  const spies = [
    spyOn(handles, "sync").mockImplementation(async function (this: typeof anyFile) {
      if (!left["file written"]) {
        crashAt("file written");
        const torn = crashAt("file half written");
        truncateSync(join(torn, "state", "2", "dfs_metadata.db"), 5000);
      }
      await sync.call(this);
      if (!left["file flushed"]) crashAt("file flushed");
    }),
  ];
  const adopt = MasterLog.prototype.adoptSnapshot;
  spies.push(
    spyOn(MasterLog.prototype, "adoptSnapshot").mockImplementation(function (this: MasterLog, snapshot) {
      crashAt("state looked at");
      adopt.call(this, snapshot);
      crashAt("pointer committed");
    }) as never,
  );
  const { close } = SqliteMetadata.prototype;
  spies.push(
    spyOn(SqliteMetadata.prototype, "close").mockImplementation(function (this: SqliteMetadata) {
      if (!left["connection swapped"]) crashAt("connection swapped");
      close.call(this);
    }) as never,
  );
  await snapshots.install(fresh.offer);
  for (const spy of spies) spy.mockRestore();
  crashAt("old deleted");
  expect(directoriesIn(engine)).toBe(40);

  const found: Record<string, unknown> = {};
  for (const [step, crashed] of Object.entries(left)) {
    const again = follower(crashed);
    found[step] = [directoriesIn(again.engine), again.engine.store.applied().index === fresh.offer.snapshotIndex];
    expect(statesIn(crashed), step).toHaveLength(1);
    await again.snapshots.install(fresh.offer);
    expect(directoriesIn(again.engine), step).toBe(40);
    expect(statesIn(crashed), step).toHaveLength(1);
  }
  const [before, after] = [
    [3, false],
    [40, true],
  ];
  expect(found).toEqual({
    "file written": before,
    "file half written": before,
    "file flushed": before,
    "state looked at": before,
    "pointer committed": after,
    "connection swapped": after,
    "old deleted": after,
  });
});

test("27d. a disk that fills up while a snapshot is fetched: the old state is kept, and taken on from once there is room", async () => {
  const old = await source(3);
  const fresh = await source(100, "x".repeat(3900));
  const directory = folder();
  const begun = follower(directory);
  await begun.snapshots.install(old.offer);
  opened.splice(opened.indexOf(begun.engine), 1);
  begun.engine.close();
  const full = await onSmallDisk(directory, { megabytes: 0.375, offer: fresh.offer });
  expect(full).toEqual({ exitCode: 0, acknowledged: 3 });
  const { engine, snapshots } = follower(directory);
  expect(directoriesIn(engine)).toBe(3);
  await snapshots.install(fresh.offer);
  expect(directoriesIn(engine)).toBe(100);
});

for (const [letter, what, filler, mostDirectories] of [
  ["b", "an append", "", 0],
  ["c", "a checkpoint", "x".repeat(3900), 1],
] as const)
  test(`27${letter}. a disk that fills up during ${what} stops the master, and it starts again from its files`, async () => {
    const directory = folder();
    const full = await onSmallDisk(directory, { megabytes: 6, during: what, filler });
    expect(full.exitCode).toBe(ExitCode.diskFailed);
    expect(full.acknowledged).toBeGreaterThan(20);
    const engine = await untilReady(loneEngine(directory, "c", 20));
    opened.push(engine);
    // What was under way when the disk was full may have happened, too.
    expect(directoriesIn(engine)).toBeGreaterThanOrEqual(full.acknowledged * mostDirectories);
    expect(engine.appliedIndex).toBeGreaterThan(full.acknowledged);
    await engine.propose({ type: "MAKE_DIRECTORY", path: "there is room again" });
  });

/** Runs a master in a process whose files cannot grow beyond so many megabytes. @returns what it was told is done */
async function onSmallDisk(directory: string, task: { megabytes: number } & Omit<SmallDiskTask, "directory">) {
  const { megabytes, ...rest } = task;
  const told: SmallDiskTask = { directory, ...rest };
  const script = join(import.meta.dir, "../support/on-small-disk.ts");
  const limited = `trap '' XFSZ; ulimit -f ${megabytes * 1024}; exec "$0" "$@"`;
  const child = Bun.spawn(["bash", "-c", limited, process.execPath, script, JSON.stringify(told)], {
    stdout: "pipe",
    stderr: "inherit",
  });
  const [stdout, exitCode] = await Promise.all([new Response(child.stdout).text(), child.exited]);
  return { exitCode, acknowledged: Number(stdout.trim().split("\n").at(-1)) };
}

test("a transfer that broke off goes on where it stopped; another snapshot begins anew", async () => {
  const { offer, wire } = await source(20);
  const { engine, snapshots } = follower(folder());
  wire.cutAt = 5000;
  await snapshots.install(offer);
  expect(engine.appliedIndex).toBe(0);
  wire.cutAt = 3000;
  await snapshots.install(offer);
  const other = await source(7);
  other.wire.cutAt = 100;
  await snapshots.install(other.offer);
  await snapshots.install(offer);
  expect(directoriesIn(engine)).toBe(20);
  expect(wire.ranges).toEqual(["bytes=0-", "bytes=5000-", "bytes=0-"]);
});

test("a source that falls silent in the middle, its connection open, is given up, and the transfer goes on later", async () => {
  const { offer, wire } = await source(20);
  const { engine, snapshots } = follower(folder(), 200);
  wire.silentAt = 5000;
  await snapshots.install(offer);
  expect(engine.appliedIndex).toBe(0);
  await snapshots.install(offer);
  expect(directoriesIn(engine)).toBe(20);
  expect(wire.ranges).toEqual(["bytes=0-", "bytes=5000-"]);
});

test("a snapshot that is damaged on its way is not taken, and not gone on with", async () => {
  const { offer, wire } = await source(20);
  const { engine, snapshots } = follower(folder());
  await snapshots.install({ ...offer, sha256: "f".repeat(64) });
  expect(engine.appliedIndex).toBe(0);
  await snapshots.install(offer);
  expect(directoriesIn(engine)).toBe(20);
  expect(wire.ranges).toEqual(["bytes=0-", "bytes=0-"]);
});
