/** Commands that are sent again: under a session's number or a client's key they take effect once. */
import { expect, test } from "bun:test";
import { MetadataHarness } from "../support/metadata-harness.ts";

test("53. a command under the same number in a session takes effect once and answers the same", () => {
  const dfs = new MetadataHarness();
  const { sessionId } = dfs.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId: "g1" });
  const command = dfs.put("f");
  const first = dfs.run(command, { sessionId, seq: 1, lowestUnacked: 1 });
  const again = dfs.run(command, { sessionId, seq: 1, lowestUnacked: 1 });
  expect(again).toEqual(first);
  expect(dfs.count("chunks")).toBe(1);
});

test("53b. a refusal is remembered under its number in a session, too", () => {
  const dfs = new MetadataHarness();
  const { sessionId } = dfs.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId: "g1" });
  const remove = { type: "DELETE_PATH", path: "f", recursive: false, condition: {} } as const;
  const session = { sessionId, seq: 1, lowestUnacked: 1 };
  expect(dfs.run(remove, session)).toMatchObject({ ok: false, code: "NO_SUCH_FILE" });
  dfs.accept(dfs.put("f"));
  expect(dfs.run(remove, session)).toMatchObject({ ok: false, code: "NO_SUCH_FILE" });
  expect(dfs.paths()).toEqual(["f"]);
});

test("66. an ended session applies nothing; an acknowledged number is stale, not run again", () => {
  const dfs = new MetadataHarness();
  expect(dfs.run(dfs.put("f"), { sessionId: 999, seq: 1, lowestUnacked: 1 })).toMatchObject({
    code: "SESSION_EXPIRED",
  });
  const { sessionId } = dfs.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId: "g1" });
  for (let seq = 1; seq <= 100; seq++)
    dfs.run({ type: "MAKE_DIRECTORY", path: `d${seq}` }, { sessionId, seq, lowestUnacked: seq });
  expect(dfs.run({ type: "MAKE_DIRECTORY", path: "again" }, { sessionId, seq: 3, lowestUnacked: 100 })).toMatchObject({
    code: "STALE_SEQUENCE",
  });
  expect(dfs.count("outcomes")).toBeLessThan(64);
});

test("53c. an end client's key gives the same answer for the same request, and refuses another", () => {
  const dfs = new MetadataHarness();
  const none = { sessionId: 0, seq: 0, lowestUnacked: 0 };
  const first = dfs.run(dfs.put("f"), none, "key-1");
  expect(dfs.run(dfs.put("f"), none, "key-1")).toEqual(first);
  expect(dfs.run(dfs.put("g"), none, "key-1")).toMatchObject({ ok: false, code: "INVALID_HEADER" });
  dfs.logTime = 25 * 3_600_000;
  dfs.accept({ type: "EXPIRE", sessionIdleMs: 1e12 });
  expect(dfs.count("keyed_outcomes")).toBe(0);
});
