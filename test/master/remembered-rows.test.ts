/** Directories, sessions and workers are read once and remembered; nobody can tell, but by the time it takes. */
import { expect, test } from "bun:test";
import { RememberedRows, TOUCHES } from "../../databases/metadata/remembered-rows.ts";
import { WRITES } from "../../databases/metadata/statements.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

test("every write to a table whose rows are remembered says which of them it touches", () => {
  const touching = Object.entries(WRITES)
    .filter(([, sql]) => /\b(INTO|UPDATE|FROM) (entries|sessions|workers)\b/.test(sql))
    .map(([name]) => name);
  expect(touching.length).toBeGreaterThanOrEqual(9);
  expect(Object.keys(TOUCHES).sort()).toEqual(touching.sort());
});

test("a directory that was moved or deleted is no longer on the way", () => {
  const harness = new MetadataHarness();
  const put = (path: string) => harness.accept(harness.put(path, []));
  put("a/b/file");
  expect(harness.queries.stat("a/b/file")?.kind).toBe("file");
  harness.accept({ type: "RENAME_PATH", from: "a/b", to: "c/d", overwrite: false, condition: {} });
  expect(harness.queries.stat("a/b/file")).toBeNull();
  expect(harness.queries.stat("c/d/file")?.kind).toBe("file");
  put("a/b/other");
  expect(harness.queries.stat("c/d/other")).toBeNull();
  harness.accept({ type: "DELETE_PATH", path: "c", recursive: true, condition: {} });
  expect(harness.queries.stat("c/d/file")).toBeNull();
  put("c/d/new");
  expect(harness.queries.stat("c/d/new")?.kind).toBe("file");
  expect(harness.queries.stat("c/d/file")).toBeNull();
});

test("a session that ended is unknown, and one that moved on remembers how far", () => {
  const harness = new MetadataHarness();
  const { sessionId } = harness.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId: "g1" });
  const make = (seq: number, lowestUnacked: number) =>
    harness.run({ type: "MAKE_DIRECTORY", path: `d${seq}` }, { sessionId, seq, lowestUnacked });
  expect(make(1, 1).ok).toBe(true);
  expect(make(100, 100).ok).toBe(true);
  expect(make(50, 100)).toMatchObject({ ok: false, code: "STALE_SEQUENCE" });
  harness.logTime = 1e12;
  harness.accept({ type: "EXPIRE", sessionIdleMs: 1 });
  expect(make(101, 101)).toMatchObject({ ok: false, code: "SESSION_EXPIRED" });
});

test("what is remembered is bounded, and what is not there is asked for again", () => {
  const rows = new RememberedRows();
  let asked = 0;
  const find = (n: number, found: unknown[]) =>
    rows.rowsOf(["entry", { parent: 0, key: `d${n}/` }], () => {
      asked++;
      return found;
    });
  find(0, []);
  find(0, [1]);
  expect(find(0, [])).toEqual([1]);
  expect(asked).toBe(2);
  for (let n = 1; n <= 10_000; n++) find(n, [n]);
  expect(asked).toBe(10_002);
  find(0, [1]);
  expect(asked).toBe(10_003);
});
