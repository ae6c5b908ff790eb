/** Deleted files: they leave the namespace with one row, and their chunks become garbage in slices afterwards. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { BURIED_SINCE, PROGRAM_VERSION } from "../../actors/rules/decide/cluster-version.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

let dfs: MetadataHarness;
beforeEach(() => {
  dfs = new MetadataHarness();
  dfs.run({ type: "SET_CLUSTER_VERSION", version: PROGRAM_VERSION });
});
afterEach(() => {
  expect(dfs.violations()).toEqual([]);
  dfs.metadata.close();
});

const remove = (path: string, recursive = false) => dfs.accept({ type: "DELETE_PATH", path, recursive, condition: {} });
const reap = () => dfs.accept<{ more: boolean }>({ type: "REAP_DELETED" }).more;
const left = () => ({ chunks: dfs.count("chunks"), garbage: dfs.count("garbage"), graves: dfs.count("graveyard") });

test("the totals are right at once, and the chunks are free after a slice", () => {
  dfs.accept(dfs.put("a", [dfs.chunk(), dfs.chunk(["w4", "w5"], 20)]));
  remove("a");
  expect(dfs.metadata.row("totals", {})).toMatchObject({ files: 0, bytes: 0 });
  expect(left()).toEqual({ chunks: 2, garbage: 0, graves: 1 });
  expect(reap()).toBe(true);
  expect(left()).toEqual({ chunks: 0, garbage: 5, graves: 0 });
  expect(reap()).toBe(false);
});

test("chunks are freed at the time of the slice: readers under way have their grace from there", () => {
  dfs.accept(dfs.put("a"));
  remove("a");
  dfs.logTime = 5000;
  dfs.reapAll();
  expect(dfs.queries.garbageOf("w1", 4999, 10)).toEqual([]);
  expect(dfs.queries.garbageOf("w1", 5000, 10)).toHaveLength(1);
});

test("what another file shares stays until that one goes, whichever goes first", () => {
  dfs.accept(dfs.put("a"));
  dfs.accept({ type: "COPY_PATH", from: "a", to: "b", overwrite: false, condition: {} });
  remove("a");
  dfs.reapAll();
  expect(left()).toMatchObject({ chunks: 1, garbage: 0 });
  dfs.accept({ type: "COPY_PATH", from: "b", to: "c", overwrite: false, condition: {} });
  remove("b");
  remove("c");
  dfs.reapAll();
  expect(left()).toEqual({ chunks: 0, garbage: 3, graves: 0 });
});

test("a replaced file is freed like a deleted one", () => {
  dfs.accept(dfs.put("a"));
  dfs.accept(dfs.put("a"));
  dfs.accept(dfs.put("b"));
  dfs.accept({ type: "RENAME_PATH", from: "b", to: "a", overwrite: true, condition: {} });
  expect(left()).toMatchObject({ chunks: 3, graves: 2 });
  dfs.reapAll();
  expect(left()).toEqual({ chunks: 1, garbage: 6, graves: 0 });
});

test("a chunk of a buried file can still be repaired; its faults and reasons go with it", () => {
  const chunk = dfs.chunk(["w1", "w2"]);
  dfs.accept(dfs.put("a", [chunk]));
  remove("a");
  const { chunkId } = chunk;
  dfs.accept({ type: "ADD_REPLICAS", replicas: [{ chunkId, workerId: "w3", reason: "copied" }] });
  dfs.accept({ type: "MARK_REPLICAS", replicas: [{ chunkId, workerId: "w1", state: "corrupt" }] });
  dfs.reapAll();
  expect([dfs.count("replica_faults"), dfs.count("replica_reasons")]).toEqual([0, 0]);
  expect(dfs.queries.garbageOf("w3", 0, 10)).toEqual([chunkId]);
});

test("many files, and one of very many chunks, are freed in slices of bounded length", () => {
  const large = Array.from({ length: 600 }, () => dfs.chunk(["w1", "w2"]));
  dfs.accept(dfs.put("large", large));
  for (let n = 0; n < 300; n++) dfs.accept(dfs.put(`d/${n}`, [dfs.chunk(["w4", "w5"])]));
  remove("large");
  remove("d", true);
  for (let before = left().chunks; reap(); before = left().chunks)
    expect(before - left().chunks).toBeLessThanOrEqual(256);
  expect(left()).toEqual({ chunks: 0, garbage: 1800, graves: 0 });
});

test("a slice that ends within a file goes on there", () => {
  const chunks = (count: number) => Array.from({ length: count }, () => dfs.chunk(["w1", "w2"]));
  for (const [name, count] of [
    ["a", 255],
    ["b", 1],
    ["c", 1],
    ["d", 300],
  ] as const)
    dfs.accept(dfs.put(name, chunks(count)));
  for (const name of ["a", "b", "c", "d"]) remove(name);
  dfs.reapAll();
  expect(left()).toEqual({ chunks: 0, garbage: 2 * 557, graves: 0 });
});

test("below its version a small file is freed in the step that deletes it", () => {
  const old = new MetadataHarness();
  old.run({ type: "SET_CLUSTER_VERSION", version: BURIED_SINCE - 1 });
  old.accept(old.put("a"));
  old.accept({ type: "DELETE_PATH", path: "a", recursive: false, condition: {} });
  expect([old.count("chunks"), old.count("garbage"), old.count("graveyard")]).toEqual([0, 3, 0]);
  old.metadata.close();
});
