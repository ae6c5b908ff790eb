/** How much a node remembers of itself, by bytes: few long records fill the ring as many short ones do. */
import { afterEach, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { StepRecord } from "../../actors/messages/records.ts";
import { NodeRecords } from "../../databases/records.ts";
import { until } from "../support/fair-time.ts";
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

/** Records that come while the log is copied are written after that. */
const lastIs = (ring: NodeRecords, q: number) => until("the last record is written", () => kept(ring).at(-1)?.q === q);

test("a node's records take no more bytes than it keeps, whatever their number, and the newest stay", async () => {
  const ring = openRing();
  for (let q = 1; q <= 3 * TRIM_EVERY; q++) ring.append([record(q, 900)]);
  await lastIs(ring, 3 * TRIM_EVERY);
  const left = kept(ring);
  expect(bytesOf(left)).toBeLessThanOrEqual(KEEP_BYTES);
  expect(left.length).toBeGreaterThan(100);
  expect(left.map(({ q }) => q)).toEqual(left.map((_, n) => 3 * TRIM_EVERY - left.length + 1 + n));
  ring.close();
});

test("short records stay in numbers that long ones would not, and the ring counts anew what it finds at its start", async () => {
  const ring = openRing();
  for (let n = 0; n < TRIM_EVERY; n++) ring.append([record(FIRST + n, 1)]);
  await lastIs(ring, FIRST + TRIM_EVERY - 1);
  expect(kept(ring)).toHaveLength(TRIM_EVERY);
  ring.close();
  const again = new NodeRecords(join(folder, "records.db"), { keepRecords: 1_000_000, keepBytes: KEEP_BYTES });
  for (let n = TRIM_EVERY; n < 2 * TRIM_EVERY; n++) again.append([record(FIRST + n, 1)]);
  await lastIs(again, FIRST + 2 * TRIM_EVERY - 1);
  expect(kept(again).length).toBeLessThan(2 * TRIM_EVERY);
  expect(bytesOf(kept(again))).toBeLessThanOrEqual(KEEP_BYTES);
  again.close();
});

/** A ring whose log is long; its flushes wait until one after the other is let through. */
function openGated() {
  folder = scratchFolder("dfs-ring-");
  const gates: PromiseWithResolvers<void>[] = [];
  const flush = () => {
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    return gate.promise;
  };
  const ring = new NodeRecords(join(folder, "records.db"), { keepRecords: 1_000_000 }, flush);
  ring.append([record(1, 5 << 20)]);
  return { ring, gates };
}

test("nobody waits while the log of records is copied and flushed: what comes meanwhile is written after that", async () => {
  const { ring, gates } = openGated();
  ring.append([record(2, 1)]);
  expect(gates).toHaveLength(1); // of the log
  expect(kept(ring).map(({ q }) => q)).toEqual([1]);
  gates[0]?.resolve();
  await until("the second flush", () => gates.length === 2); // of the database
  ring.append([record(3, 1)]);
  gates[1]?.resolve();
  await lastIs(ring, 3);
  expect(kept(ring).map(({ q }) => q)).toEqual([1, 2, 3]);
  ring.close();
});

test("a node that stops meanwhile keeps what came, whatever was flushed", async () => {
  for (const flushed of [0, 1]) {
    const { ring, gates } = openGated();
    for (let n = 0; n < flushed; n++) gates[n]?.resolve();
    await until("a flush", () => gates.length === flushed + 1);
    ring.append([record(2, 1)]);
    ring.close();
    for (const gate of gates) gate.resolve();
    await Bun.sleep(1);
    const again = new NodeRecords(join(folder, "records.db"), { keepRecords: 1_000_000 });
    expect(kept(again).map(({ q }) => q)).toEqual([1, 2]);
    again.close();
    rmSync(folder, { recursive: true });
  }
});

test("too many records do not wait, and after a failed flush none is taken", async () => {
  const { ring, gates } = openGated();
  ring.append(Array.from({ length: 10_000 }, (_, n) => record(n + 2, 1)));
  expect(() => ring.append([record(20_000, 1)])).toThrow("wait already");
  gates[0]?.reject(Object.assign(new Error("EIO"), { code: "EIO" }));
  await Bun.sleep(1);
  expect(() => ring.append([record(20_001, 1)])).toThrow("could not be flushed");
  expect(kept(ring).map(({ q }) => q)).toEqual([1]);
  ring.close();
});
