/** How much a node remembers of itself, by bytes: few long records fill the ring as many short ones do. */
import { afterEach, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { StepRecord } from "../../actors/messages/records.ts";
import { NodeRecords } from "../../databases/records.ts";
import { scratchFolder } from "../support/scratch.ts";

const KEEP_BYTES = 200_000;
/** The ring is trimmed once per so many records. */
const TRIM_EVERY = 1000;
/** Numbers of four digits: all records are of one length. */
const FIRST = 1001;
let folder = "";
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** @param length of its payload */
const record = (q: number, length: number): StepRecord => ({
  ...{ n: "master-1", b: 1, q, h: "0".repeat(16), t: 0, m: "mark", a: "mark", s: "x", k: "mark", e: "x", v: "" },
  d: { text: "y".repeat(length) },
});

function openRing(): NodeRecords {
  folder = scratchFolder("dfs-ring-");
  return new NodeRecords(join(folder, "records.db"), { keepRecords: 1_000_000, keepBytes: KEEP_BYTES });
}
const kept = (ring: NodeRecords): StepRecord[] => ring.after({ boot: 0, seq: 0 }, 100_000).records;
const bytesOf = (records: StepRecord[]): number => records.reduce((sum, one) => sum + JSON.stringify(one).length, 0);

test("a node's records take no more bytes than it keeps, whatever their number, and the newest stay", () => {
  const ring = openRing();
  for (let q = 1; q <= 3 * TRIM_EVERY; q++) ring.append([record(q, 900)]);
  const left = kept(ring);
  expect(bytesOf(left)).toBeLessThanOrEqual(KEEP_BYTES);
  expect(left.length).toBeGreaterThan(100);
  expect(left.map(({ q }) => q)).toEqual(left.map((_, n) => 3 * TRIM_EVERY - left.length + 1 + n));
  ring.close();
});

test("short records stay in numbers that long ones would not, and the ring counts anew what it finds at its start", () => {
  const ring = openRing();
  for (let n = 0; n < TRIM_EVERY; n++) ring.append([record(FIRST + n, 1)]);
  expect(kept(ring)).toHaveLength(TRIM_EVERY);
  ring.close();
  const again = new NodeRecords(join(folder, "records.db"), { keepRecords: 1_000_000, keepBytes: KEEP_BYTES });
  for (let n = TRIM_EVERY; n < 2 * TRIM_EVERY; n++) again.append([record(FIRST + n, 1)]);
  expect(kept(again).length).toBeLessThan(2 * TRIM_EVERY);
  expect(bytesOf(kept(again))).toBeLessThanOrEqual(KEEP_BYTES);
  again.close();
});
