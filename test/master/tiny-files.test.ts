/** Tiny files: their bytes lie in the metadata, and are counted exactly whatever happens to their names. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { CommandResult } from "../../actors/messages/commands.ts";
import { PROGRAM_VERSION, TINY_SINCE } from "../../actors/rules/decide/cluster-version.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const FILE = bytes("a tiny file");

let dfs: MetadataHarness;
beforeEach(() => {
  dfs = new MetadataHarness();
  dfs.run({ type: "SET_CLUSTER_VERSION", version: PROGRAM_VERSION });
});
afterEach(() => {
  expect(dfs.violations()).toEqual([]);
  dfs.metadata.close();
});

const contentOf = (path: string): string => Buffer.from(dfs.queries.locate(path, 0, 1).content ?? []).toString();
const totals = () => dfs.metadata.row("totals", {});
const remove = (path: string) => dfs.accept({ type: "DELETE_PATH", path, recursive: true, condition: {} });

test("a tiny file has no chunks, and its bytes come with the answer to where it is", () => {
  dfs.accept(dfs.putTiny("a/f", FILE));
  expect(dfs.queries.stat("a/f")).toMatchObject({ sizeBytes: FILE.length, chunkCount: 0 });
  expect(contentOf("a/f")).toBe("a tiny file");
  expect(totals()).toMatchObject({ files: 1, bytes: FILE.length, tinyBytes: FILE.length });
});

test("an empty file and a file of chunks have no bytes here", () => {
  dfs.accept(dfs.put("empty", []));
  dfs.accept(dfs.put("large"));
  expect(dfs.queries.locate("empty", 0, 1).content).toBeUndefined();
  expect(dfs.queries.locate("large", 0, 1)).toMatchObject({ chunks: [{ lengthBytes: 10 }] });
  expect(totals()).toMatchObject({ files: 2, tinyBytes: 0 });
});

test("a file is replaced by one of the other kind, there and back", () => {
  dfs.accept(dfs.putTiny("f", FILE));
  dfs.accept(dfs.put("f", [dfs.chunk(["w1", "w2"], 20)]));
  expect(totals()).toMatchObject({ files: 1, bytes: 20, tinyBytes: 0 });
  dfs.accept(dfs.putTiny("f", bytes("again")));
  expect(contentOf("f")).toBe("again");
  expect(totals()).toMatchObject({ files: 1, bytes: 5, tinyBytes: 5 });
  dfs.reapAll();
  expect(dfs.count("garbage")).toBe(2);
});

test("a copy has the bytes for itself; a rename takes them along", () => {
  dfs.accept(dfs.putTiny("d/f", FILE));
  dfs.accept({ type: "COPY_PATH", from: "d", to: "e", overwrite: false, condition: {} });
  dfs.accept({ type: "RENAME_PATH", from: "d/f", to: "g", overwrite: false, condition: {} });
  expect(totals()?.tinyBytes).toBe(2 * FILE.length);
  remove("g");
  expect(contentOf("e/f")).toBe("a tiny file");
  expect(totals()).toMatchObject({ files: 1, tinyBytes: FILE.length });
});

test("a rename over a tiny file frees it", () => {
  dfs.accept(dfs.putTiny("f", FILE));
  dfs.accept(dfs.putTiny("g", bytes("other")));
  dfs.accept({ type: "RENAME_PATH", from: "g", to: "f", overwrite: true, condition: {} });
  expect(contentOf("f")).toBe("other");
  expect(totals()?.tinyBytes).toBe(5);
});

test("the bytes below a deleted directory go with its other contents, in slices", () => {
  for (let n = 0; n < 300; n++) dfs.accept(dfs.putTiny(`d/${n}`, FILE));
  remove("d");
  expect(dfs.count("contents")).toBe(300);
  dfs.reapAll();
  expect(dfs.count("contents")).toBe(0);
  expect(totals()).toMatchObject({ files: 0, bytes: 0, tinyBytes: 0 });
});

describe("bytes are refused, and nothing of the old file is touched,", () => {
  beforeEach(() => void dfs.accept(dfs.putTiny("f", bytes("old"))));
  afterEach(() => expect(contentOf("f")).toBe("old"));

  test("if they are not those of the checksum, or of another length", () => {
    expect(dfs.refusal(dfs.putTiny("f", FILE, { crc32: 1 }))).toBe("INVALID_BODY");
    expect(dfs.refusal(dfs.putTiny("f", FILE, { sizeBytes: FILE.length + 1 }))).toBe("INVALID_BODY");
    expect(dfs.refusal(dfs.putTiny("f", FILE, { chunks: [dfs.chunk(["w1", "w2"], FILE.length)] }))).toBe(
      "INVALID_BODY",
    );
  });

  test("if fewer masters keep them than copies are wanted", () => {
    expect(dfs.refusal(dfs.putTiny("f", FILE, { replicationFactor: 4 }))).toBe("CONTENT_NOT_TAKEN");
  });

  test("if all tiny files together become too long", () => {
    const room = { masters: 3, totalBytes: 3 + FILE.length - 1 };
    expect(dfs.refusal(dfs.putTiny("g", FILE, { room }))).toBe("CONTENT_NOT_TAKEN");
    dfs.accept(dfs.putTiny("g", FILE, { room: { ...room, totalBytes: room.totalBytes + 1 } }));
  });

  test("if no leader has said how much room there is", () => {
    expect(dfs.refusal(dfs.putTiny("f", FILE, { room: undefined }))).toBe("CONTENT_NOT_TAKEN");
  });
});

describe("with a client's own key", () => {
  const keyed = (command: ReturnType<typeof dfs.put>): CommandResult => dfs.run(command, undefined, "key");

  test("a file that the metadata did not take is the same request when its bytes come in chunks", () => {
    expect(keyed(dfs.putTiny("f", FILE, { replicationFactor: 4 }))).toMatchObject({ code: "CONTENT_NOT_TAKEN" });
    const { sizeBytes, crc32 } = dfs.putTiny("f", FILE) as { sizeBytes: number; crc32: number };
    const chunks = [dfs.chunk(["w1", "w2"], FILE.length)];
    const stored = keyed(dfs.put("f", chunks, { sizeBytes, crc32, replicationFactor: 4 }));
    expect(stored).toMatchObject({ ok: true, value: { created: true } });
  });

  test("a file that was taken is not stored a second time, by whichever way it comes", () => {
    const first = keyed(dfs.putTiny("f", FILE));
    const { crc32 } = dfs.putTiny("f", FILE) as { crc32: number };
    expect(keyed(dfs.putTiny("f", FILE, { room: { masters: 5, totalBytes: 7 } }))).toEqual(first);
    expect(keyed(dfs.put("f", [dfs.chunk(["w1", "w2"], FILE.length)], { crc32 }))).toEqual(first);
    expect(keyed(dfs.putTiny("f", bytes("another file")))).toMatchObject({ code: "INVALID_HEADER" });
  });
});

test("the state's hash knows the bytes by their checksum, and is the same for the same log", () => {
  const hashAfter = (content: Uint8Array): number => {
    const other = new MetadataHarness();
    other.run({ type: "SET_CLUSTER_VERSION", version: PROGRAM_VERSION });
    other.accept(other.putTiny("f", content));
    const { stateHash } = other.metadata.applied();
    other.metadata.close();
    return stateHash;
  };
  expect(hashAfter(FILE)).toBe(hashAfter(Buffer.from(FILE)));
  expect(hashAfter(FILE)).not.toBe(hashAfter(bytes("A tiny file")));
});

test("below its version a master decides as an older program does, which knows no bytes in a command", () => {
  const old = new MetadataHarness();
  old.run({ type: "SET_CLUSTER_VERSION", version: TINY_SINCE - 1 });
  expect(old.refusal(old.putTiny("f", FILE))).toBe("INVALID_BODY");
  old.metadata.close();
});
