/** What the bench makes of what it measured. Nothing here measures anything. */
import { describe, expect, test } from "bun:test";
import { withKnownKeys } from "../support/real-cluster.ts";
import { judge } from "./aims.ts";
import type { Figure } from "./measurement.ts";
import { ratioOf } from "./pairs.ts";
import { type CpuReading, cpuBetween, firstThreadBetween, readCpu, wantedBetween } from "./process-accounting.ts";
import { figureIn } from "./scale/part.ts";
import { scaleParts } from "./scale/parts.ts";
import { countFrom, medianSpent } from "./spent-cpu.ts";

const MS = 1e6;
const reading = (seconds: number, threads: Record<string, number>, waited = 0): CpuReading => ({
  seconds,
  threads: new Map(Object.entries(threads)),
  waited,
  compiling: 0,
});

describe("CPU between two readings", () => {
  test("is the sum of all threads, those that came meanwhile included, finer than the kernel's ticks", () => {
    const before = reading(1, { 7: 1000 * MS });
    const after = reading(1.02, { 7: 1013 * MS, 8: 4 * MS });
    expect(cpuBetween(before, after)).toBeCloseTo(0.017, 9);
  });

  test("is the coarse count when a thread ended and took its share along", () => {
    const before = reading(1, { 7: 500 * MS, 8: 500 * MS });
    const after = reading(1.5, { 7: 600 * MS });
    expect(cpuBetween(before, after)).toBeCloseTo(0.5, 9);
  });

  test("is the coarse count where the kernel does not tell of threads", () => {
    expect(cpuBetween(reading(1, {}), reading(1.25, {}))).toBe(0.25);
  });

  test("counts by kind, and tells nothing when a process is gone", () => {
    const own = { kind: "us", pid: process.pid };
    expect(countFrom([own, own])()).toEqual([
      {
        kind: "us",
        processes: 2,
        seconds: expect.any(Number),
        firstThreads: expect.any(Number),
        compiling: expect.any(Number),
      },
    ]);
    expect(countFrom([own, { kind: "gone", pid: 2 ** 30 }])()).toBeNull();
    expect(readCpu(2 ** 30)).toBeNull();
  });

  test("the first thread is told apart, and what it wanted is what it ran and what it waited for a processor", () => {
    const before = reading(0, { 7: 10 * MS, 8: 0 }, 100 * MS);
    const after = reading(0.02, { 7: 20 * MS, 8: 10 * MS }, 130 * MS);
    expect(firstThreadBetween(7, before, after)).toBeCloseTo(0.01, 9);
    expect(wantedBetween(7, before, after)).toBeCloseTo(0.04, 9);
    expect(firstThreadBetween(7, reading(1, {}), reading(1.5, {}))).toBe(0.5);
  });

  test("the median of several runs is taken kind by kind, and is unknown if one run is", () => {
    const run = (seconds: number) => ({
      spent: [{ kind: "worker" as const, processes: 5, seconds, firstThreads: seconds / 2, compiling: 0 }],
    });
    expect(medianSpent([run(3), run(1), run(2)])).toEqual(run(2).spent);
    expect(medianSpent([run(3), { spent: null }])).toBeNull();
  });
});

describe("two contenders", () => {
  test("are compared pair by pair, so that what slows both down changes nothing", () => {
    expect(ratioOf({ ours: [2, 20, 200], theirs: [1, 10, 100] })).toEqual({ mean: 2, median: 2, error: 0 });
  });

  test("the error is the standard error of the pairs' mean ratio, and one pair has none", () => {
    const { mean, median, error } = ratioOf({ ours: [1, 2, 3, 6], theirs: [1, 1, 1, 1] });
    expect([mean, median]).toEqual([3, 2.5]);
    expect(error).toBeCloseTo(Math.sqrt(14 / 3 / 4), 9);
    expect(ratioOf({ ours: [1], theirs: [2] }).error).toBeNull();
  });

  test("another checkout is given only the keys that its config.json has, at any depth", () => {
    const known = { heartbeatMs: 500, trash: { keepMs: 1 }, workers: [1, 2] };
    const wanted = { heartbeatMs: 200, trash: { keepMs: 0, newer: 1 }, workers: [3], newer: true };
    expect(withKnownKeys(known, wanted)).toEqual({ heartbeatMs: 200, trash: { keepMs: 0 }, workers: [3] });
  });
});

describe("aims", () => {
  const figure = (id: string, value: number | null, place: "disk" | "memory" = "disk"): Figure => ({
    id,
    value,
    place,
    label: id,
    unit: "",
  });
  const verdict = (begin: string, ...figures: Figure[]) => judge(figures).find(({ aim }) => aim.startsWith(begin));

  test("say by how much a figure is better or worse than asked", () => {
    expect(verdict("durable creates of 4 KiB", figure("small.create.rate", 7000))).toMatchObject({
      reached: true,
      byPercent: 100,
    });
    expect(verdict("create of 4 KiB, CPU", figure("small.create.cpu", 2))).toMatchObject({
      reached: false,
      byPercent: 300,
    });
  });

  test("are not judged without a figure, or with one from the other place", () => {
    expect(verdict("durable creates of 4 KiB", figure("small.create.rate", 7000, "memory"))?.reached).toBeNull();
    expect(verdict("durable creates of 4 KiB", figure("small.create.rate", null))?.reached).toBeNull();
  });

  test("a put on disk need not be faster than the disk is with the better way of writing three copies", () => {
    const put = (rate: number) =>
      verdict(
        "put on disk, or",
        figure("put.rate", rate),
        figure("scale.copies", 100),
        figure("scale.copiesDirect", 200),
      );
    expect(put(171)).toMatchObject({ limit: 170, reached: true });
    expect(put(169)).toMatchObject({ reached: false });
    expect(verdict("put on disk, or", figure("put.rate", 379), figure("scale.copies", 900))).toMatchObject({
      limit: 380,
      reached: false,
    });
  });
});

test("of what a part of scale/ prints, a line in JSON with id, label and unit is a figure; all else is talk", () => {
  expect(figureIn('{"id":"a","label":"b","value":1.5,"unit":"s","place":"moon"}')).toEqual({
    id: "a",
    label: "b",
    value: 1.5,
    unit: "s",
  });
  expect(figureIn('{"id":"a","label":"b","value":null,"unit":"s"}')?.value).toBeNull();
  for (const line of ["filling", "{broken", '{"id":"a"}', "[1]"]) expect(figureIn(line)).toBeNull();
});

test("the parts of scale/ are its scripts that end in .bench.ts, with the first line of their docstring as title", () => {
  const tiny = scaleParts.find(({ name }) => name === "tiny-scale");
  expect(tiny).toMatchObject({ title: "Very many tiny files", onlyWhenNamed: true });
});
