import { describe, expect, test } from "bun:test";
import type { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { staleReads } from "../../actors/master/group/stale-reads.ts";
import type { Command } from "../../actors/messages/commands.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { comparePaths } from "../../actors/rules/path.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";
import { pick, SEED, seeded } from "../support/random.ts";

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

describe("listing", () => {
  const names = ["a", "a-b", "a/x", "a/y/z", "a0", "ab/c", "b", "ä/ö", "\u{1f600}/smile", "！wide", "z z"].filter(
    (n) => n !== "a",
  );
  const dfs = new MetadataHarness();
  for (const name of names) dfs.accept(dfs.put(name, []));

  test("paths come in byte order, whatever the page size", () => {
    const sorted = [...names].sort(byBytes);
    for (const limit of [1, 2, 3, 5, 1000]) expect(dfs.paths({ limit })).toEqual(sorted);
  });

  test("a delimiter rolls directories up, and every page size gives the same names", () => {
    const rolled = ["a-b", "a/", "a0", "ab/", "b", "z z", "ä/", "！wide", "\u{1f600}/"].sort(byBytes);
    for (const limit of [1, 2, 1000]) expect(dfs.paths({ delimiter: true, limit })).toEqual(rolled);
  });

  test("a prefix may end inside a name or at a directory", () => {
    for (const limit of [1, 1000]) {
      expect(dfs.paths({ prefix: "a/", limit })).toEqual(["a/x", "a/y/z"]);
      expect(dfs.paths({ prefix: "a", limit })).toEqual(["a-b", "a/x", "a/y/z", "a0", "ab/c"]);
      expect(dfs.paths({ prefix: "a/y", limit })).toEqual(["a/y/z"]);
      expect(dfs.paths({ prefix: "a/", delimiter: true, limit })).toEqual(["a/x", "a/y/"]);
      expect(dfs.paths({ prefix: "nothing/", limit })).toEqual([]);
    }
  });

  test("a prefix that no path can have lists nothing", () => {
    for (const prefix of ["../..", "../", "./", "/", "a//", "a/../", `${"n".repeat(4096)}/`, "a\0/"])
      expect([prefix, dfs.paths({ prefix })]).toEqual([prefix, []]);
  });

  test("A7. a page looks at no more than 20,000 rows: it ends early, and the pages after it find what comes behind", () => {
    const tree = new MetadataHarness();
    const empty = (n: number): Command => ({ type: "MAKE_DIRECTORY", path: `a/0/${n}` });
    for (let n = 0; n < 999; n++) tree.accept(empty(n));
    for (let n = 1; n < 22; n++)
      tree.accept({ type: "COPY_PATH", from: "a/0", to: `a/${n}`, overwrite: false, condition: {} });
    tree.accept(tree.put("b", []));
    const first = tree.queries.list({ prefix: "", delimiter: false, after: "", limit: 10 });
    expect(first.entries).toEqual([]);
    expect(first.next).toStartWith("a/");
    expect(tree.paths({ limit: 10 })).toEqual(["b"]);
    expect(tree.queries.list({ prefix: "b", delimiter: false, after: "", limit: 10 }).next).toBeNull();
  });

  test("a walk over deep trees by random pages misses nothing and repeats nothing", () => {
    const tree = new MetadataHarness();
    const paths = new Set<string>();
    for (let n = 0; n < 1500; n++) paths.add(`${n % 11}/${n % 5}${"/d".repeat(n % 3)}/f${n}`);
    for (const path of paths) tree.accept(tree.put(path, []));
    const sorted = [...paths].sort(byBytes);
    for (const limit of [7, 256, 257, 1000]) expect(tree.paths({ limit })).toEqual(sorted);
  });

  test("names added or deleted between pages do not disturb the others", () => {
    const tree = new MetadataHarness();
    for (let n = 100; n < 200; n++) tree.accept(tree.put(`d/${n}`, []));
    const first = tree.queries.list({ prefix: "", delimiter: false, after: "", limit: 50 });
    tree.accept({ type: "DELETE_PATH", path: "d/149", recursive: false, condition: {} });
    tree.accept(tree.put("d/0", []));
    const second = tree.queries.list({ prefix: "", delimiter: false, after: first.next as string, limit: 50 });
    expect(second.entries.map(({ path }) => path)).toEqual(Array.from({ length: 50 }, (_, n) => `d/${150 + n}`));
  });
});

test(`68. pages while names are put, deleted and renamed: each is of one moment, and what is there throughout is listed once  SEED=${SEED}`, () => {
  const random = seeded(SEED);
  const names = ["a", "b", "c", "d", "e"];
  const path = () => Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(random, names)).join("/");
  let renamed = 0;
  for (let round = 0; round < 40; round++) {
    const tree = new MetadataHarness();
    const churn = () => {
      const file = pick(random, [...tree.paths(), path()]);
      const depth = 1 + Math.floor(random() * file.split("/").length);
      const [from, to] = [file.split("/").slice(0, depth).join("/"), path()];
      const dice = random();
      if (dice < 0.3) tree.run(tree.put(to, []));
      else if (dice < 0.4) tree.run({ type: "DELETE_PATH", path: from, recursive: random() < 0.3, condition: {} });
      else if (tree.run({ type: "RENAME_PATH", from, to, overwrite: true, condition: {} }).ok) renamed++;
    };
    for (let n = 0; n < 60; n++) tree.run(tree.put(path(), []));
    const listed: string[] = [];
    let throughout = new Set(tree.paths());
    for (let after: string | null = ""; after !== null; ) {
      const page = tree.queries.list({ prefix: "", delimiter: false, after, limit: 1 + Math.floor(random() * 3) });
      const now = new Set(tree.paths());
      for (const entry of page.entries) expect(now).toContain(entry.path);
      listed.push(...page.entries.map((entry) => entry.path));
      after = page.next;
      for (let n = Math.floor(random() * 4); n > 0 && after !== null; n--) {
        churn();
        throughout = throughout.intersection(new Set(tree.paths()));
      }
    }
    expect(listed).toEqual([...new Set(listed)].sort(byBytes));
    expect(listed).toEqual(expect.arrayContaining([...throughout]));
  }
  expect(renamed).toBeGreaterThan(20);
});

test("68b. a master that has not applied what the page before reflected does not answer the next one", () => {
  const dfs = new MetadataHarness();
  const engine = {
    appliedIndex: 10,
    queries: dfs.queries,
    notLeader: () => new Refusal("NOT_LEADER", "ask elsewhere"),
  } as unknown as RaftMetadata;
  const { LIST } = staleReads(engine, { ageWanted: () => 5 }, 1000);
  const page = { type: "LIST", prefix: "", delimiter: false, after: "a", limit: 10, consistency: "eventual" } as const;
  expect(LIST({ ...page, minIndex: 10 }, "gateway-1")).toMatchObject({ index: 10 });
  expect(() => LIST({ ...page, minIndex: 11 }, "gateway-1")).toThrow("ask elsewhere");
});

test("comparePaths orders as UTF-8 bytes do", () => {
  const samples = ["", "a", "aa", "\u{10ffff}", "\ud7ff", "\ue000", "\uffff", "\u{1f600}", "é", "z"];
  for (const a of samples)
    for (const b of samples) expect(Math.sign(comparePaths(a, b))).toBe(Math.sign(byBytes(a, b)));
});
