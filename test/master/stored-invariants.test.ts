/** The invariants of what a master stores are able to break, and what breaks one is not stored. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RaftEntry } from "../../actors/messages/raft.ts";
import type { Decision, Environment } from "../../actors/rules/decide/decision.ts";
import { type Proposal, RULES, type Rules } from "../../actors/rules/decide/exactly-once.ts";
import type { Write } from "../../actors/rules/decide/state.ts";
import { declaredInvariants, InvariantBroken } from "../../actors/rules/invariant.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";
import { MasterLog } from "../../databases/master-log.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

/** The claim that it breaks. */
function broken(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof InvariantBroken) return error.claim;
    throw error;
  }
  return "none";
}

const claimsOf = (room: string) => [...declaredInvariants().keys()].filter((claim) => claim.startsWith(`${room}: `));

// ── the applied state ──────────────────────────────────────────────────────────────────────────────────────────────

/** What a mistaken decision would write on MAKE_DIRECTORY, in a state with one file of one chunk. */
const MISTAKES: Record<string, Write[]> = {
  "metadata: totals >= 0": [["addTotals", { files: 0, directories: 0, bytes: -1_000 }]],
  "metadata: ids are handed out once, and are exact": [["takeChunkIds", { count: Number.MAX_SAFE_INTEGER }]],
  "metadata: chunk_count >= 0, of a set that is there": [
    ["shrinkSet", { setId: 1 }],
    ["shrinkSet", { setId: 1 }],
  ],
  "metadata: a chunk enters a set that is there": [["addToSet", { scheme: copies(3), workers: ["w4", "w5"] }]],
  "metadata: refs >= 1, of a chunk that is there": [["addRef", { chunkId: 1, delta: -1 }]],
};

const mistaken = (writes: Write[]): Rules => ({
  ...RULES,
  *decide(proposal: Proposal, env: Environment) {
    const decision = yield* RULES.decide(proposal, env);
    return proposal.command.type === "MAKE_DIRECTORY"
      ? ({ ...decision, writes: [...decision.writes, ...writes] } as Decision)
      : decision;
  },
});

for (const [claim, writes] of Object.entries(MISTAKES))
  test(`a planted mistake in what a command writes breaks "${claim}", and nothing of it is applied`, () => {
    const harness = new MetadataHarness(undefined, mistaken(writes));
    harness.accept(harness.put("file"));
    const before = harness.metadata.applied();
    expect(broken(() => harness.run({ type: "MAKE_DIRECTORY", path: "d" }))).toBe(claim);
    expect(harness.metadata.applied()).toEqual(before);
    expect(harness.queries.stat("d")).toBeNull();
    expect(harness.violations()).toEqual([]);
  });

test("entries are applied one after the other: one left out, doubled or of an earlier term breaks the invariant", () => {
  const metadata = new SqliteMetadata(":memory:");
  const proposal = { command: { type: "NOOP" }, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null } as const;
  const apply = (...places: [index: number, term: number][]) =>
    broken(() =>
      metadata.apply(places.map(([index, term]) => ({ proposal, env: { index, term, logTime: 0, wallTime: 0 } }))),
    );
  const claim = "metadata: entries are applied one after the other";
  expect(apply([1, 2], [2, 2])).toBe("none");
  expect(apply([4, 2])).toBe(claim);
  expect(apply([2, 2])).toBe(claim);
  expect(apply([3, 1])).toBe(claim);
  expect(apply([3, 2], [5, 2])).toBe(claim);
  expect(metadata.applied().index).toBe(2);
  expect(apply([3, 3])).toBe("none");
});

test("each invariant of the applied state and of the log has a mistake planted here", () => {
  expect([...Object.keys(MISTAKES), "metadata: entries are applied one after the other"].sort()).toEqual(
    claimsOf("metadata").sort(),
  );
  expect(Object.keys(LOG_MISTAKES).sort()).toEqual(claimsOf("log").sort());
});

// ── the log ────────────────────────────────────────────────────────────────────────────────────────────────────────

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
const GENESIS = { clusterId: "c", nodeId: "m1", configuration: { voters: [["m1"]], learners: [] } };
const entry = (index: number, term: number): RaftEntry => ({
  index,
  term,
  kind: "command",
  data: new Uint8Array([index]),
});
const append = (log: MasterLog, ...entries: RaftEntry[]) =>
  log.write({ hard: null, changes: [{ truncateFrom: null, entries }] });

/** Three entries, of which the first is compacted away, in term 5. */
function someLog(): { log: MasterLog; path: string } {
  const folder = mkdtempSync(join(tmpdir(), "dfs-log-"));
  folders.push(folder);
  const path = join(folder, "master_metadata.db");
  const log = new MasterLog(path, GENESIS);
  log.write({
    hard: { term: 5, vote: "m1" },
    changes: [{ truncateFrom: null, entries: [entry(1, 1), entry(2, 1), entry(3, 5)] }],
  });
  log.compact(1, 1);
  return { log, path };
}

const LOG_MISTAKES: Record<string, (log: MasterLog) => void> = {
  "log: entries follow each other": (log) => append(log, entry(5, 5)),
  "log: terms never fall along the log": (log) => append(log, entry(4, 4)),
  "log: the stored term never falls": (log) => log.write({ hard: { term: 4, vote: null }, changes: [] }),
  "log: nothing is cut off at or below the base": (log) =>
    log.write({ hard: null, changes: [{ truncateFrom: 1, entries: [entry(1, 5)] }] }),
  // P9 forgotten: after a write that failed, and was undone on disk, the log is written on.
  "log: the next checksum covers the last one on disk": (log) => {
    broken(() => append(log, entry(4, 5), entry(6, 5)));
    append(log, entry(5, 5));
  },
};

for (const [claim, mistake] of Object.entries(LOG_MISTAKES))
  test(`a planted mistake in what is logged breaks "${claim}", and nothing of it is stored`, () => {
    const { log, path } = someLog();
    expect(broken(() => mistake(log))).toBe(claim);
    log.close();
    const again = new MasterLog(path, GENESIS);
    const { term, vote, baseIndex, entries } = again.recover();
    again.close();
    expect({ term, vote, baseIndex }).toEqual({ term: 5, vote: "m1", baseIndex: 1 });
    expect(entries.map(({ index, term: of }) => [index, of])).toEqual([
      [2, 1],
      [3, 5],
    ]);
  });
