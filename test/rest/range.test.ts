import { expect, test } from "bun:test";
import { contentRange, decideRanges, MAX_RANGES } from "../../gateway/http/range.ts";

const BLOCK = 100;
const ranges = (header: string | null, size = 1000) => {
  const verdict = decideRanges(header, size, BLOCK);
  return verdict.kind === "ranges" ? verdict.ranges.map((r) => [r.start, r.endExclusive]) : verdict.kind;
};

test("no Range, or one in another unit, means the whole file", () => {
  expect(ranges(null)).toBe("whole");
  expect(ranges("lines=1-2")).toBe("whole");
});

test("first-last, open ends and suffixes are cut to the file", () => {
  expect(ranges("bytes=0-99")).toEqual([[0, 100]]);
  expect(ranges("bytes=999-999")).toEqual([[999, 1000]]);
  expect(ranges("bytes=900-")).toEqual([[900, 1000]]);
  expect(ranges("bytes=900-5000")).toEqual([[900, 1000]]);
  expect(ranges("bytes=-100")).toEqual([[900, 1000]]);
  expect(ranges("bytes=-5000")).toEqual([[0, 1000]]);
  expect(ranges("Bytes = 0-0 , 5-5")).toEqual([
    [0, 1],
    [5, 6],
  ]);
});

test("a range that lies outside, ends before it starts or makes no sense is unsatisfiable", () => {
  for (const header of [
    "bytes=1000-",
    "bytes=-0",
    "bytes=9-5",
    "bytes=a-b",
    "bytes=-",
    "bytes=",
    "bytes=1",
    "bytes=1-2-3",
  ])
    expect(ranges(header)).toBe("unsatisfiable");
  expect(ranges("bytes=0-", 0)).toBe("unsatisfiable");
  expect(ranges("bytes=-5", 0)).toBe("unsatisfiable");
});

test("of several ranges those that lie outside are left out", () => {
  expect(ranges("bytes=0-1,5000-6000")).toEqual([[0, 2]]);
});

test("F3. ranges keep the order asked for, unless they overlap or share a block: then they come joined and rising", () => {
  expect(ranges("bytes=500-599,0-9")).toEqual([
    [500, 600],
    [0, 10],
  ]);
  expect(ranges("bytes=0-999,0-999,5-10")).toEqual([[0, 1000]]);
  expect(ranges("bytes=0-9,10-19")).toEqual([
    [0, 10],
    [10, 20],
  ]);
  expect(ranges("bytes=510-519,0-9,500-509")).toEqual([
    [0, 10],
    [500, 510],
    [510, 520],
  ]);
});

test("more than the bounded number of ranges is refused", () => {
  const many = (count: number) => `bytes=${Array.from({ length: count }, (_, n) => `${n * 2}-${n * 2}`).join(",")}`;
  expect(ranges(many(MAX_RANGES))).toHaveLength(MAX_RANGES);
  expect(ranges(many(MAX_RANGES + 1))).toBe("unsatisfiable");
});

test("Content-Range names the last byte", () => {
  expect(contentRange({ start: 0, endExclusive: 10 }, 100)).toBe("bytes 0-9/100");
});

test("F8. a range that ends beyond 2^53, or beyond every number, is clamped to the file", () => {
  for (const end of ["9007199254740993", "9223372036854775807", "18446744073709551616", "9".repeat(400)]) {
    expect([end, ranges(`bytes=0-${end}`)]).toEqual([end, [[0, 1000]]]);
    expect([end, ranges(`bytes=999-${end}`)]).toEqual([end, [[999, 1000]]]);
    expect([end, ranges(`bytes=-${end}`)]).toEqual([end, [[0, 1000]]]);
    expect([end, ranges(`bytes=${end}-`)]).toEqual([end, "unsatisfiable"]);
    expect([end, ranges(`bytes=${end}-${end}`)]).toEqual([end, "unsatisfiable"]);
  }
});
