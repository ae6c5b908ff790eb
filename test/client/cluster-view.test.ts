import { expect, test } from "bun:test";
import { verdictOf } from "../../gateway/cli/cluster-view.ts";
import { groupView } from "../../gateway/cli/masters.ts";
import { formatBytes, formatDuration, printable, table } from "../../gateway/cli/output.ts";
import type { Cluster, MasterGroup } from "../../gateway/client/client.ts";

const cluster = (changes: Partial<Cluster> = {}): Cluster =>
  ({
    leader: "master-1",
    steward: "steady",
    workers: ["a", "b", "c"].map((id) => ({ id, state: "live", mode: "active" })),
    redundancy: { chunks: 10, full: 10, below: {} },
    reasons: [],
    ...changes,
  }) as unknown as Cluster;
const levelOf = (changes: Partial<Cluster>) => verdictOf(cluster(changes)).level;

test("all copies and all workers there is the only thing called well", () => {
  expect(verdictOf(cluster())).toEqual({
    level: "ok",
    sentence: "All 10 chunks have all wanted copies; 3 of 3 workers are live.",
  });
});

test("too few copies are counted in the first sentence", () => {
  const { level, sentence } = verdictOf(cluster({ redundancy: { chunks: 10, full: 7, below: { "1": 1, "2": 2 } } }));
  expect(level).toBe("degraded");
  expect(sentence).toStartWith("3 chunks have fewer good copies than wanted (1 with 1, 2 with 2); all can be read.");
});

test("a chunk without any copy is the first thing said, whatever else is wrong", () => {
  const { level, sentence } = verdictOf(cluster({ redundancy: { chunks: 10, full: 7, below: { "0": 1, "2": 2 } } }));
  expect(level).toBe("lost");
  expect(sentence).toStartWith("1 chunk has no good copy now");
});

test("what cannot be known is called unknown: no leader, or one that still listens", () => {
  expect(levelOf({ leader: null })).toBe("unknown");
  expect(levelOf({ steward: "safeMode", redundancy: { chunks: 10, full: 0, below: { "0": 10 } } })).toBe("unknown");
});

test("F20. chunks of which the leader does not know yet are told before those that are merely short, and never as whole", () => {
  const redundancy = { chunks: 10, full: 3, below: { "2": 2 }, unknown: 5 };
  const { level, sentence } = verdictOf(cluster({ redundancy }));
  expect(level).toBe("unknown");
  expect(sentence).toContain("5 chunks of 10");
  expect(sentence).toContain("2 others have fewer good copies than wanted");
  expect(levelOf({ redundancy: { ...redundancy, below: { "0": 1 } } })).toBe("lost");
});

test("a missing worker or a warning of the leader is not passed over", () => {
  const workers = cluster().workers.map((worker, n) => (n === 0 ? { ...worker, state: "dead" } : worker));
  expect(verdictOf(cluster({ workers })).sentence).toContain("only 2 of 3 workers are live");
  expect(levelOf({ reasons: [{ code: "X", message: "disks run full", severity: "warning" }] })).toBe("degraded");
});

test("39f. while repairs are paused, the first sentence says so, and why", () => {
  const reasons = [{ code: "REPAIR_PAUSED", message: "all 2 workers of rack-a are silent", severity: "error" }];
  const redundancy = { chunks: 10, full: 7, below: { "2": 3 } };
  const { level, sentence } = verdictOf(cluster({ steward: "paused", redundancy, reasons }));
  expect(level).toBe("degraded");
  expect(sentence).toEndWith("Repairs are paused: all 2 workers of rack-a are silent.");
});

test("sizes and times are short and in binary units", () => {
  expect([0, 1023, 1024, 1536, 20e6, 5 * 2 ** 40].map(formatBytes)).toEqual([
    "0 B",
    "1023 B",
    "1.00 KiB",
    "1.50 KiB",
    "19.1 MiB",
    "5.00 TiB",
  ]);
  expect([0.2, 61, 3700, Number.POSITIVE_INFINITY].map(formatDuration)).toEqual([
    "1 s",
    "1 min 1 s",
    "1 h 2 min",
    "unknown",
  ]);
});

test("tables align wide characters, and names cannot steer the terminal", () => {
  expect(
    table(
      ["n", "size"],
      [
        ["日本", "1"],
        ["a", "22"],
      ],
      [1],
    ),
  ).toBe("n     size\n日本     1\na       22");
  expect(printable("a\u001b[31m\u202eb\n")).toBe("a\\u{1b}[31m\\u{202e}b\\u{a}");
});

test("the view of the masters says how many of them may still fail", () => {
  const group = (...answers: boolean[]): MasterGroup => ({
    leader: "m1",
    term: 1,
    masters: answers.map((isThere, n) => ({
      id: `m${n}`,
      url: "",
      member: "voter",
      role: "follower",
      leader: null,
      term: isThere ? 1 : null,
      commitIndex: null,
      appliedIndex: null,
      lastIndex: null,
      lag: null,
      stateAgeMs: null,
    })),
  });
  const said = (...answers: boolean[]) => groupView(group(...answers)).split("\n")[1];
  expect(said(true, true, true)).toBe("A majority is 2 of 3 voters; 1 may fail now.");
  expect(said(true, true, false)).toBe("A majority is 2 of 3 voters; none of those that answer may fail now.");
  expect(said(true, true)).toBe("A majority is 2 of 2 voters; none of those that answer may fail now.");
  expect(said(true, false, false)).toBe("A majority is 2 of 3 voters; 1 more must answer before anything can change.");
});
