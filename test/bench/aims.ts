/** What we want to reach, and whether these figures do. Nothing fails over it: a slow machine is no bug. */
import type { Figure } from "./measurement.ts";
import type { PlaceKind } from "./place.ts";

export interface Verdict {
  aim: string;
  value: number | null;
  unit: string;
  limit: number;
  /** null: not measured in this run. */
  reached: boolean | null;
  /** How far the value is from the limit, in percent of it: how much better when reached, how much worse when not. */
  byPercent: number | null;
}

interface Aim {
  aim: string;
  unit: string;
  atLeast?: number;
  atMost?: number;
  /** One figure; or with `of`, its percentage of another. */
  figure: string;
  of?: string;
  /** Asked instead of `atLeast` when it is less: what binds us there may be the machine. */
  orOfTheBest?: { percent: number; of: string[] };
  place: PlaceKind;
}

const rate = (aim: string, figure: string, atLeast: number): Aim => ({
  aim,
  figure,
  atLeast,
  unit: "/s",
  place: "disk",
});
const cpu = (aim: string, figure: string, atMost: number): Aim => ({
  aim: `${aim}, CPU of all nodes`,
  figure,
  atMost,
  unit: "ms each",
  place: "disk",
});
const memory = (aim: string, figure: string, place: PlaceKind = "disk"): Aim => ({
  aim: `gateway resident ${aim}`,
  figure,
  atMost: 256,
  unit: "MiB",
  place,
});

const SMALL: Aim[] = [
  rate("durable creates of 4 KiB", "small.create.rate", 3500),
  cpu("create of 4 KiB", "small.create.cpu", 0.5),
  rate("durable creates of 8 KiB", "small8.create.rate", 1800),
  cpu("create of 8 KiB", "small8.create.cpu", 1),
  rate("strong reads of 4 KiB", "small.read.rate", 8000),
  cpu("read of 4 KiB", "small.read.cpu", 0.2),
  rate("deletes of 4 KiB", "small.delete.rate", 8000),
  cpu("delete of 4 KiB", "small.delete.cpu", 0.25),
  { aim: "page of 1,000 of 10,000 names, p50", figure: "page.p50", place: "disk", atMost: 5, unit: "ms" },
];

const LARGE: Aim[] = [
  { aim: "put in memory", figure: "put.rate", place: "memory", atLeast: 450, unit: "MB/s" },
  { aim: "put in memory, CPU of all nodes", figure: "put.cpu", place: "memory", atMost: 3.5, unit: "s/GiB" },
  {
    aim: "put on disk, or 85 % of three flushed copies,",
    figure: "put.rate",
    place: "disk",
    atLeast: 380,
    orOfTheBest: { percent: 85, of: ["scale.copies", "scale.copiesDirect"] },
    unit: "MB/s",
  },
  { aim: "put on disk, CPU of all nodes", figure: "put.cpu", place: "disk", atMost: 4, unit: "s/GiB" },
  {
    aim: "put in memory, of a bare chain",
    figure: "put.rate",
    of: "scale.chain",
    place: "memory",
    atLeast: 60,
    unit: "%",
  },
  { aim: "get in memory", figure: "get.rate", place: "memory", atLeast: 1300, unit: "MB/s" },
  { aim: "get in memory, CPU of all nodes", figure: "get.cpu", place: "memory", atMost: 1.1, unit: "s/GiB" },
  {
    aim: "get in memory, of the straight send",
    figure: "get.rate",
    of: "scale.straight",
    place: "memory",
    atLeast: 60,
    unit: "%",
  },
];

const MASTERS: Aim[] = [1, 3].flatMap((masters) => {
  const who = masters === 1 ? "one master" : `${masters} masters`;
  return [
    rate(`durable creates, ${who}`, `masters.${masters}.create.rate`, 5000),
    rate(`strong stats, ${who}`, `masters.${masters}.stat.rate`, 20_000),
  ];
});

/** Of a leader, and of a master's start, as the cluster grows. */
const GROWTH: Aim[] = [
  { aim: "judging, 161,700 replica sets", figure: "cluster.free.judge", place: "disk", atMost: 5, unit: "ms CPU" },
  { aim: "judging, 1,000 workers", figure: "cluster.large.judge", place: "disk", atMost: 20, unit: "ms CPU" },
  { aim: "a leader of 1,000 workers", figure: "cluster.large.rest", place: "disk", atMost: 20, unit: "% of a core" },
  { aim: "disk of a chunk of 4 KiB", figure: "chunks.bytes", place: "disk", atMost: 5000, unit: "bytes" },
  { aim: "start with 10 million files", figure: "start.closed.leads", place: "disk", atMost: 5, unit: "s" },
];

const AIMS: Aim[] = [
  ...SMALL,
  ...LARGE,
  ...GROWTH,
  {
    aim: "recording, more CPU of all nodes for a create",
    figure: "recording.create.cpu",
    place: "disk",
    atMost: 3,
    unit: "%",
  },
  { aim: "idle, all nine processes", figure: "idle.cpu", place: "disk", atMost: 5, unit: "% of a core" },
  memory("throughout 16 uploads at once", "memory.uploads.gateway"),
  memory("throughout 16 slow downloads", "memory.downloads.gateway"),
  memory("over the whole run, on disk", "throughout.gateway"),
  memory("over the whole run, in memory", "throughout.gateway", "memory"),
  ...MASTERS,
  rate("strong stats, per second of the leader's CPU, of 3", "masters.3.stat.leaderRate", 20_000),
  { aim: "list page out of a large directory, p50", figure: "list.p50", place: "disk", atMost: 10, unit: "ms" },
  { aim: "list page out of a large directory, p99", figure: "list.p99", place: "disk", atMost: 10, unit: "ms" },
];

export const judge = (figures: Figure[]): Verdict[] => AIMS.map((aim) => judgeOne(aim, figures));

function judgeOne({ aim, unit, atLeast, atMost, figure, of, orOfTheBest, place }: Aim, figures: Figure[]): Verdict {
  const measuredAs = (id: string) => figures.find((one) => one.id === id && one.place === place)?.value ?? null;
  const measured = measuredAs(figure);
  const base = of === undefined ? 100 : measuredAs(of);
  const value = measured === null || base === null ? null : of === undefined ? measured : (100 * measured) / base;
  const others = (orOfTheBest?.of ?? []).flatMap((id) => measuredAs(id) ?? []);
  const best = others.length > 0 ? (Math.max(...others) * (orOfTheBest?.percent ?? 0)) / 100 : Number.POSITIVE_INFINITY;
  const limit = atLeast === undefined ? (atMost as number) : Math.min(atLeast, best);
  const spelled = `${aim} ${atLeast === undefined ? "≤" : "≥"} ${Number(limit.toPrecision(4)).toLocaleString("en")} ${unit}`;
  if (value === null) return { aim: spelled, value, unit, limit, reached: null, byPercent: null };
  const reached = atLeast === undefined ? value <= limit : value >= limit;
  return { aim: spelled, value, unit, limit, reached, byPercent: Math.abs(100 * (value / limit - 1)) };
}
