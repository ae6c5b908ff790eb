import { expect, test } from "bun:test";
import {
  decideRead,
  parseEntityTags,
  parseHttpDate,
  rangeApplies,
  refuseConditions,
  writeCondition,
} from "../../gateway/http/conditions.ts";

const file = { etag: "v1", modifiedAt: Date.UTC(2026, 0, 2, 3, 4, 5, 678) };
const sameSecond = new Date(file.modifiedAt).toUTCString();
const earlier = new Date(file.modifiedAt - 60_000).toUTCString();
const read = (headers: Record<string, string>) => decideRead(new Headers(headers), file);
const write = (headers: Record<string, string>, current: typeof file | null = file) =>
  writeCondition(new Headers(headers), async () => current);

test("entity tags are a list or a star; anything else is refused", () => {
  expect(parseEntityTags(' "a", W/"b" ,"c,d"', "If-Match")).toEqual([
    { tag: "a", weak: false },
    { tag: "b", weak: true },
    { tag: "c,d", weak: false },
  ]);
  expect(parseEntityTags(" * ", "If-Match")).toBe("*");
  for (const bad of ["", "a", '"a', '"a" "b"', '"a",*', `"${"x".repeat(200)}"`])
    expect(() => parseEntityTags(bad, "If-Match")).toThrow("If-Match");
  expect(() => parseEntityTags(Array(17).fill('"a"').join(","), "If-Match")).toThrow("at most 16");
});

test("If-None-Match compares weakly and hides If-Modified-Since", () => {
  expect(read({ "if-none-match": '"v1"' })).toBe("notModified");
  expect(read({ "if-none-match": 'W/"v1"' })).toBe("notModified");
  expect(read({ "if-none-match": "*" })).toBe("notModified");
  expect(read({ "if-none-match": '"v0"', "if-modified-since": sameSecond })).toBe("send");
});

test("If-Match compares strongly and hides If-Unmodified-Since", () => {
  expect(read({ "if-match": '"v0", "v1"' })).toBe("send");
  expect(read({ "if-match": 'W/"v1"' })).toBe("preconditionFailed");
  expect(read({ "if-match": "*", "if-unmodified-since": earlier })).toBe("send");
});

test("dates compare by whole seconds; a date that cannot be read is ignored", () => {
  expect(read({ "if-modified-since": sameSecond })).toBe("notModified");
  expect(read({ "if-modified-since": earlier })).toBe("send");
  expect(read({ "if-modified-since": "yesterday-ish" })).toBe("send");
  expect(read({ "if-unmodified-since": sameSecond })).toBe("send");
  expect(read({ "if-unmodified-since": earlier })).toBe("preconditionFailed");
});

test("If-Range wants exactly this version", () => {
  expect(rangeApplies(null, file)).toBe(true);
  expect(rangeApplies('"v1"', file)).toBe(true);
  expect(rangeApplies('W/"v1"', file)).toBe(false);
  expect(rangeApplies('"v0"', file)).toBe(false);
  expect(rangeApplies(sameSecond, file)).toBe(true);
  expect(rangeApplies(earlier, file)).toBe(false);
});

test("write conditions become what the log can judge", async () => {
  expect(await write({})).toBeUndefined();
  expect(await write({ "if-none-match": "*" })).toEqual({ ifNoneMatchAny: true });
  expect(await write({ "if-match": '"a", W/"b"' })).toEqual({ ifMatch: ["a"] });
  expect(await write({ "if-match": "*" })).toEqual({ ifMatch: ["v1"] });
  expect(await write({ "if-unmodified-since": sameSecond })).toEqual({ ifMatch: ["v1"] });
});

test("write conditions that cannot come true are refused at once", () => {
  expect(write({ "if-match": "*" }, null)).rejects.toMatchObject({ code: "PRECONDITION_FAILED" });
  expect(write({ "if-match": 'W/"v1"' })).rejects.toMatchObject({ code: "PRECONDITION_FAILED" });
  expect(write({ "if-unmodified-since": earlier })).rejects.toMatchObject({ code: "PRECONDITION_FAILED" });
  expect(write({ "if-none-match": '"v1"' })).rejects.toMatchObject({ code: "INVALID_HEADER" });
});

test("F11. empty elements of a list of tags are ignored; a list of nothing else is refused", () => {
  const tags = [
    { tag: "a", weak: false },
    { tag: "b", weak: true },
  ];
  for (const list of [',"a",W/"b"', '"a",,W/"b"', '"a" , ,\t, W/"b",', ' , "a",W/"b",,, '])
    expect([list, parseEntityTags(list, "If-Match")]).toEqual([list, tags]);
  for (const bad of [",", " , ,", '"a",b,"c"', ",*", 'W/,"a"'])
    expect(() => parseEntityTags(bad, "If-Match")).toThrow("If-Match");
});

test("F11. the three forms of an HTTP date are read, in GMT; everything else counts as not sent", () => {
  const moment = Date.UTC(1994, 10, 6, 8, 49, 37);
  for (const date of [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    " Sun, 06 Nov 1994 08:49:37 GMT ",
  ])
    expect([date, parseHttpDate(date)]).toEqual([date, moment]);
  const in2026 = Date.UTC(2026, 0, 1);
  expect(parseHttpDate("Monday, 06-Nov-76 08:49:37 GMT", in2026)).toBe(Date.UTC(2076, 10, 6, 8, 49, 37));
  expect(parseHttpDate("Saturday, 06-Nov-77 08:49:37 GMT", in2026)).toBe(Date.UTC(1977, 10, 6, 8, 49, 37));
  for (const bad of [
    ...["0", "1", "", "2026", "2026-01-02", "2026-01-02T03:04:05Z", "tomorrow", "Nov 6 1994", "784111777"],
    ...["Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 PST", "Sun, 31 Feb 1994 08:49:37 GMT"],
    ...["Sun, 06 Nov 1994 25:49:37 GMT", "Sun, 06 Nov 1994 08:61:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT"],
  ])
    expect([bad, parseHttpDate(bad)]).toEqual([bad, null]);
  expect(read({ "if-unmodified-since": "0" })).toBe("send");
  expect(read({ "if-modified-since": "2099" })).toBe("send");
});

test("F11. a condition on a write that no date sets is none, and an empty tag is no directory's", async () => {
  expect(await write({ "if-unmodified-since": "0" })).toBeUndefined();
  expect(write({ "if-match": '""' })).rejects.toMatchObject({ code: "PRECONDITION_FAILED" });
  expect(await write({ "if-match": '"", "v1"' })).toEqual({ ifMatch: ["v1"] });
});

test("F11. what takes no condition refuses one instead of ignoring it", () => {
  for (const name of ["if-match", "if-none-match", "if-unmodified-since"])
    expect(() => refuseConditions(new Headers({ [name]: "*" }), "none")).toThrow("has no meaning here");
  expect(() => refuseConditions(new Headers({ "if-modified-since": "x" }), "none")).not.toThrow();
});
