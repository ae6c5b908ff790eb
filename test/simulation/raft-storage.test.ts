/**
 * What goes wrong with the logs, states and disks of masters, one script per known way; see `raft-scenarios.test.ts`, whose
 * numbers go on here.
 */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RaftEntry, RaftMessage, RaftMessageOf } from "../../actors/messages/raft.ts";
import { lastIndex, termAt } from "../../actors/rules/raft/log-tail.ts";
import { LogDamaged, MasterLog } from "../../databases/master-log.ts";
import { calmGroup, ready, state, T, write } from "./calm-group.ts";
import { fold } from "./raft-checks.ts";
import type { Master } from "./raft-group.ts";

test("22. a follower that needs a snapshot while the log is compacted under load gets there, without a loop", () => {
  const group = calmGroup({ compactAfter: 20, proposeEveryMs: 20, maxFlushMs: 20 });
  group.crash(group.master("m3"));
  group.run(10_000);
  group.start(group.master("m3"));
  group.until(
    () => group.master("m3").disk.state.index >= state(group, "m1").commitIndex - 5,
    5_000,
    "m3 has caught up",
  );
  expect(group.master("m3").snapshotsInstalled).toBeGreaterThan(0);
  expect(group.master("m3").snapshotsInstalled).toBeLessThanOrEqual(3);
  const { snapshotOffers } = group;
  group.run(3_000);
  expect(group.snapshotOffers).toBe(snapshotOffers);
  group.settle();
});

test("23. a snapshot of what a follower has already is answered, and nothing behind it is cut off", () => {
  const group = calmGroup();
  for (let n = 0; n < 20; n++) write(group, group.master("m1"));
  group.run(300);
  const follower = group.master("m2");
  const before = { ...follower.disk.log };
  const replies: RaftMessageOf<"rpc.snapshotReply">[] = [];
  group.onSend = (message) => {
    if (message.type === "rpc.snapshotReply") replies.push(message);
  };
  const { term } = state(group, "m1");
  group.deliver(offer({ term, snapshotIndex: 5, snapshotTerm: term }));
  group.run(100);
  expect(replies).toMatchObject([{ success: true, match: before.length }]);
  expect(lastIndex(follower.disk.log)).toBe(lastIndex(before));
  expect(follower.snapshotsInstalled).toBe(0);
});

test("23b. a snapshot for a prefix of the log keeps the entries behind it", () => {
  const group = calmGroup();
  const follower = group.master("m2");
  for (let n = 0; n < 20; n++) write(group, group.master("m1"));
  group.run(300);
  const { term } = state(group, "m1");
  // m2 starts again from a log without knowing what of it is committed, as after a crash with its state lost.
  group.crash(follower, true);
  const { log } = follower.disk;
  follower.disk.state = { index: 0, term: 0, hash: 0 };
  group.hold = ({ to, from }) => to === "m2" || from === "m2";
  group.start(follower);
  const hash = log.entries.slice(0, 5).reduce(fold, 0);
  group.deliver(offer({ term, snapshotIndex: 5, snapshotTerm: termAt(log, 5) as number, url: String(hash) }));
  group.run(100);
  expect(follower.snapshotsInstalled).toBe(1);
  expect(follower.disk.log.baseIndex).toBe(5);
  expect(lastIndex(follower.disk.log)).toBe(lastIndex(log));
  group.settle();
});

function offer(of: { term: number; snapshotIndex: number; snapshotTerm: number; url?: string }): RaftMessage {
  return {
    type: "rpc.snapshotOffer",
    from: "m1",
    to: "m2",
    configuration: { voters: [["m1", "m2", "m3"]], learners: [] },
    url: "0",
    sizeBytes: 0,
    sha256: "0".repeat(64),
    ...of,
  };
}

test("24. power lost everywhere at once, again and again: every acknowledged command is still there", () => {
  const group = calmGroup({ proposeEveryMs: 3, maxFlushMs: 30, maxDelayMs: 20, lazyState: true });
  for (let round = 0; round < 10; round++) {
    group.run(700 + 37 * round);
    for (const master of group.masters) group.crash(master);
    for (const master of group.masters) group.start(master);
    group.until(() => ready(group) !== undefined, 4 * T, "a leader after the power is back");
    group.checks.checkAcknowledged();
  }
  expect(group.checks.acknowledgements).toBeGreaterThan(200);
  group.settle();
});

test("25. a state that fell behind its log in a crash is built again to the same", () => {
  const group = calmGroup({ lazyState: true, proposeEveryMs: 10 });
  let fellBack = 0;
  for (let round = 0; round < 20; round++) {
    group.run(300);
    const master = group.masters[round % 3] as Master;
    const { index } = master.disk.state;
    group.crash(master);
    if (master.disk.state.index < index) fellBack++;
    group.start(master);
    group.until(() => master.disk.state.index >= index, 3 * T, "the state is built again");
  }
  expect(fellBack).toBeGreaterThan(5);
  group.settle();
  expect(new Set(group.masters.map(({ disk }) => disk.state.hash)).size).toBe(1);
});

test("26. a crash before or after a snapshot is adopted leaves the old state or the new, and the master catches up", () => {
  for (const moment of ["before", "after"]) {
    const group = calmGroup({ compactAfter: 10, proposeEveryMs: 10, maxFlushMs: 40, lazyState: true });
    const follower = group.master("m3");
    group.crash(follower);
    const { state: old } = follower.disk;
    const oldBase = follower.disk.log.baseIndex;
    group.run(3_000);
    group.start(follower);
    const offers = group.snapshotOffers;
    group.until(() => group.snapshotOffers > offers, T, "a snapshot is offered");
    if (moment === "before") group.run(5);
    else group.until(() => follower.snapshotsInstalled > 0, T, "it is installed");
    const isNew = follower.snapshotsInstalled > 0;
    group.crash(follower);
    const { log, state: kept } = follower.disk;
    expect(log.baseIndex > oldBase).toBe(isNew);
    expect(kept.index).toBeGreaterThanOrEqual(isNew ? log.baseIndex : old.index);
    group.start(follower);
    group.settle();
  }
});

test("27. a full disk stops its master, the group goes on, and it comes back from its files", () => {
  for (const id of ["m1", "m2"]) {
    const group = calmGroup({ proposeEveryMs: 10 });
    const master = group.master(id);
    group.breakDisk(master, "error");
    group.until(() => master.driver === null, T, "the master stops");
    group.until(() => ready(group) !== undefined, 2 * T, "the others have a leader");
    const before = group.checks.acknowledgements;
    group.run(1_000);
    expect(group.checks.acknowledgements).toBeGreaterThan(before + 50);
    group.start(master);
    group.settle();
  }
});

test("29. a bit that flips in a row of the log is noticed at the next start, and the group does without that master", () => {
  const folder = mkdtempSync(join(tmpdir(), "dfs-bit-flip-"));
  try {
    const path = join(folder, "master_metadata.db");
    const genesis = {
      clusterId: "0".repeat(32),
      nodeId: "m1",
      configuration: { voters: [["m1", "m2", "m3"]], learners: [] },
    };
    const log = new MasterLog(path, genesis);
    const entries = [1, 2, 3].map(
      (index): RaftEntry => ({ index, term: 1, kind: "command", data: new Uint8Array([index, 7, 7]) }),
    );
    log.write({ hard: { term: 1, vote: "m1" }, changes: [{ truncateFrom: null, entries }] });
    log.close();
    const database = new Database(path);
    database.run("UPDATE log SET data = x'020706' WHERE idx = 2");
    database.close();
    expect(() => new MasterLog(path, genesis).recover()).toThrow(LogDamaged);
  } finally {
    rmSync(folder, { recursive: true });
  }
  const group = calmGroup();
  group.crash(group.master("m3"));
  write(group, group.master("m1"));
  group.crash(group.master("m1"));
  group.start(group.master("m1"));
  group.until(() => ready(group) !== undefined, 3 * T, "two of three go on");
});
