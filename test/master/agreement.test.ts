/** Masters that run different programs, and masters that built different states from one log. */
import { afterEach, expect, test } from "bun:test";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import type { Command } from "../../actors/messages/commands.ts";
import {
  commonVersion,
  KNOWN_SINCE,
  majorityHash,
  PROGRAM_VERSION,
  type StateMark,
} from "../../actors/rules/decide/cluster-version.ts";
import { accepted, CannotApply, type Decision, type Environment } from "../../actors/rules/decide/decision.ts";
import { type Proposal, RULES, type Rules } from "../../actors/rules/decide/exactly-once.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import { DatabaseRefused } from "../../databases/sqlite.ts";
import { EngineGroup, type EngineGroupOptions } from "../support/engine-group.ts";

let group: EngineGroup;
afterEach(() => group?.close());

const AGREEING = { tickMs: 10, checkEveryMs: 100 };
const begin = (options: EngineGroupOptions = {}): EngineGroup => {
  group = new EngineGroup({ agreement: AGREEING, ...options });
  return group;
};
const mkdir = (path: string) => group.propose({ type: "MAKE_DIRECTORY", path });
const directoriesIn = (engine: RaftMetadata) => engine.store.row("totals", {})?.directories;

/** As if something in `decide` hung on the machine that it runs on: a clock, the order of a set, a rounding. */
const odd: Rules = {
  ...RULES,
  *decide(proposal: Proposal, env: Environment) {
    const decision = yield* RULES.decide(proposal, env);
    if (proposal.command.type !== "MAKE_DIRECTORY" || proposal.command.path !== "odd") return decision;
    const writes = decision.writes.map((write) =>
      write[0] === "addTotals" ? (["addTotals", { files: 0, directories: 2, bytes: 0 }] as const) : write,
    );
    return { ...decision, writes } as Decision;
  },
};

for (const [where, makes] of [
  ["a follower", (leader: string, other: string) => other !== leader],
  ["the leader", (leader: string, other: string) => other === leader],
] as const)
  test(`30. a command that is not deterministic, at ${where}: it stops and says why, and the others go on`, async () => {
    begin();
    const first = (await group.untilLeader()).raft.state.id;
    const victim = group.members.find(({ id }) => makes(first, id))?.id as string;
    await group.until("hashes are kept", () =>
      group.members.every(({ engine }) => engine?.store.version === PROGRAM_VERSION),
    );
    // The faulty program is started where the others run the right one.
    group.stop(victim);
    group.start(victim, odd);
    await group.lead(victim === first ? victim : first);
    await mkdir("odd");
    await group.until("it stops", () => group.member(victim).engine === null);
    expect(group.member(victim).failure).toBeInstanceOf(CannotApply);
    expect(group.member(victim).failure).toMatchObject({
      why: "diverged",
      message: expect.stringContaining("put dfs_metadata.db aside"),
    });
    await mkdir("the others go on");
    const left = group.members.filter(({ id }) => id !== victim);
    expect(left.every(({ failure, engine }) => failure === null && engine !== null)).toBe(true);
  });

test("30b. with no majority for either state nobody is stopped", () => {
  const three = { voters: [["a", "b", "c"]], learners: [] };
  const told: Record<string, StateMark> = { a: { index: 7, hash: 1 }, b: { index: 7, hash: 2 } };
  const markOf = (id: string) => told[id] ?? null;
  expect(majorityHash(three, 7, markOf)).toBeNull();
  told.c = { index: 6, hash: 2 };
  expect(majorityHash(three, 7, markOf)).toBeNull();
  told.c = { index: 7, hash: 2 };
  expect(majorityHash(three, 7, markOf)).toBe(2);
});

test("30c. when nothing happens any more, nothing is compared any more", async () => {
  begin();
  await mkdir("a");
  const marked = () => Math.min(...group.members.map(({ engine }) => engine?.store.mark.index ?? 0));
  await group.until("a mark is made", () => marked() > 0);
  const seen: number[] = [];
  await group.until("the log stands still", () => {
    seen.push(group.leader?.appliedIndex ?? 0);
    return seen.length > 100 && seen.at(-100) === seen.at(-1);
  });
});

test("30d. the hash of the state goes through restarts, and is the same on all", async () => {
  begin();
  await group.untilLeader();
  await group.until("hashes are kept", () =>
    group.members.every(({ engine }) => engine?.store.version === PROGRAM_VERSION),
  );
  for (let n = 0; n < 20; n++) await mkdir(`d${n}`);
  group.stop("master-2");
  group.start("master-2");
  await mkdir("later");
  await group.untilEqual();
  const hashes = group.members.map(({ engine }) => engine?.store.applied().stateHash);
  expect(new Set(hashes).size).toBe(1);
  expect(hashes[0]).not.toBe(0);
});

/** The next program: it knows a command more. */
const NEXT_VERSION = PROGRAM_VERSION + 1;
const NEW_KIND = { type: "MAKE_COFFEE" } as unknown as Command;
const newer: Rules = {
  version: NEXT_VERSION,
  knownSince: (type) => (type === NEW_KIND.type ? NEXT_VERSION : RULES.knownSince(type)),
  *decide(proposal: Proposal, env: Environment) {
    const { command } = proposal;
    if (command.type === NEW_KIND.type) return accepted("coffee", []);
    if (command.type === "SET_CLUSTER_VERSION") return accepted(null, [["setVersion", { version: command.version }]]);
    return yield* RULES.decide(proposal, env);
  },
};

test("32. rolling upgrade: a new command is refused until every master knows it, and then taken by all", async () => {
  begin();
  await group.untilLeader();
  await group.until("the version of today", () =>
    group.members.every(({ engine }) => engine?.store.version === PROGRAM_VERSION),
  );
  for (const { id } of group.members) {
    group.stop(id);
    group.start(id, newer);
    if (id === "master-3") break;
    const leader = await group.lead(id);
    await expect(async () => leader.propose(NEW_KIND)).toThrow(
      `MAKE_COFFEE needs cluster version ${NEXT_VERSION}; it is ${PROGRAM_VERSION}`,
    );
  }
  await group.until("the next version", () =>
    group.members.every(({ engine }) => engine?.store.version === NEXT_VERSION),
  );
  expect(await group.propose(NEW_KIND)).toBe("coffee");
  await group.untilEqual();
  expect(group.members.map(({ failure }) => failure)).toEqual([null, null, null]);
});

test("32b. a master whose program is older never applies what it does not know: it stops, and starts again with a newer one", async () => {
  begin({ rules: { "master-1": newer, "master-2": newer }, agreement: { tickMs: 1e9, checkEveryMs: 1e9 } });
  await group.untilLeader();
  await group.lead("master-1");
  await mkdir("known");
  await group.untilEqual();
  // What must not be is forced: the version is raised while one master does not know it.
  await group.propose({ type: "SET_CLUSTER_VERSION", version: NEXT_VERSION });
  await group.lead("master-1");
  await group.propose(NEW_KIND);
  await group.until("the old one stops", () => group.member("master-3").engine === null);
  expect(group.member("master-3").failure).toMatchObject({
    why: "unknownCommand",
    message: expect.stringContaining("start a newer one"),
  });
  const before = new SqliteMetadata(`${group.folderOf("master-3")}/dfs_metadata.db`);
  expect([before.version, before.row("totals", {})?.directories]).toEqual([1, 1]);
  before.close();
  await mkdir("the others go on");
  group.start("master-3", newer);
  await group.untilEqual();
  expect(directoriesIn(group.engine("master-3"))).toBe(2);
  group.stop("master-3");
  expect(() => group.start("master-3", RULES)).toThrow(DatabaseRefused);
});

test("32c. a kind of command that nobody announced stops a master as well", () => {
  const metadata = new SqliteMetadata(":memory:");
  const proposal = { command: NEW_KIND, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null };
  const apply = () => metadata.apply([{ proposal, env: { index: 1, term: 1, logTime: 0, wallTime: 0 } }]);
  expect(apply).toThrow(CannotApply);
  expect(metadata.applied().index).toBe(0);
});

/** What the first program knew. A command that came later must not be here. */
const OF_VERSION_1 = [
  ...["OPEN_SESSION", "GRANT_CHUNKS", "RENEW_GRANTS", "CLOSE_GRANTS", "PUT_FILE", "OPEN_UPLOAD", "STAGE_CHUNKS"],
  ...["COMMIT_UPLOAD", "ABORT_UPLOAD", "DELETE_PATH", "RENAME_PATH", "COPY_PATH", "MAKE_DIRECTORY"],
  ...["REGISTER_WORKER", "SET_WORKER_LIVENESS", "SET_WORKER_MODE", "ADD_REPLICAS", "MARK_REPLICAS", "DROP_REPLICA"],
  ...["FORGET_GARBAGE", "EXPIRE", "REAP_DELETED", "NOOP", "SET_CLUSTER_VERSION"],
];

test("32e. a command says since which version it is known: none that came later claims the first, or one that is not there yet", () => {
  const versions = Object.entries<number>(KNOWN_SINCE);
  expect(versions.flatMap(([type, since]) => (since === 1 ? [type] : [])).sort()).toEqual(OF_VERSION_1.sort());
  expect(Math.max(...versions.map(([, since]) => since))).toBeLessThanOrEqual(PROGRAM_VERSION);
});

test("32f. CHECK_STATE is refused, and changes nothing, where the log is of version 1: by the leader, and by who applies it all the same", async () => {
  const command = { type: "CHECK_STATE", index: 0, hash: 0 } as const;
  begin({ agreement: { tickMs: 1e9, checkEveryMs: 1e9 } });
  const leader = await group.untilLeader();
  await expect(async () => leader.propose(command)).toThrow("CHECK_STATE needs cluster version 2; it is 1");
  const metadata = new SqliteMetadata(":memory:");
  const proposal = { command, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null };
  const [result] = metadata.apply([{ proposal, env: { index: 1, term: 1, logTime: 0, wallTime: 0 } }]);
  expect(result).toMatchObject({ ok: false, code: "VERSION_TOO_LOW" });
  expect(metadata.mark).toEqual({ index: 0, hash: 0 });
});

test("32d. the cluster version is that which all know; one who has not said holds it back", () => {
  const known: Record<string, number> = { a: 3, b: 2 };
  const knownBy = (id: string) => known[id] ?? null;
  expect(commonVersion(["a", "b", "c"], knownBy)).toBeNull();
  known.c = 5;
  expect(commonVersion(["a", "b", "c"], knownBy)).toBe(2);
});
