import { describe, expect, test } from "bun:test";
import { comparePaths } from "../../actors/rules/path.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

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

test("comparePaths orders as UTF-8 bytes do", () => {
  const samples = ["", "a", "aa", "\u{10ffff}", "\ud7ff", "\ue000", "\uffff", "\u{1f600}", "é", "z"];
  for (const a of samples)
    for (const b of samples) expect(Math.sign(comparePaths(a, b))).toBe(Math.sign(byBytes(a, b)));
});
