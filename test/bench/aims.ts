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
}

interface Aim {
  aim: string;
  unit: string;
  atLeast?: number;
  atMost?: number;
  /** One figure; or with `of`, its percentage of another. */
  figure: string;
  of?: string;
  place: PlaceKind;
}

const AIMS: Aim[] = [
  {
    aim: "put on disk, of three flushed copies",
    figure: "put.rate",
    of: "scale.copies",
    place: "disk",
    atLeast: 85,
    unit: "%",
  },
  {
    aim: "put in memory, of the bare TCP fan-out",
    figure: "put.rate",
    of: "scale.fanOut",
    place: "memory",
    atLeast: 60,
    unit: "%",
  },
  { aim: "put in memory, CPU of the cluster", figure: "put.cpu", place: "memory", atMost: 5, unit: "s/GiB" },
  {
    aim: "get in memory, of the straight send",
    figure: "get.rate",
    of: "scale.straight",
    place: "memory",
    atLeast: 60,
    unit: "%",
  },
  { aim: "get in memory", figure: "get.rate", place: "memory", atLeast: 700, unit: "MB/s" },
  { aim: "get in memory, CPU of the cluster", figure: "get.cpu", place: "memory", atMost: 2, unit: "s/GiB" },
  { aim: "durable creates of 4 KiB on disk", figure: "small.create.rate", place: "disk", atLeast: 1000, unit: "/s" },
  ...[1, 3].map((masters) => ({
    aim: `durable creates, ${masters === 1 ? "one master" : `${masters} masters`}`,
    figure: `masters.${masters}.create.rate`,
    place: "disk" as const,
    atLeast: 5000,
    unit: "/s",
  })),
  ...[1, 3].map((masters) => ({
    aim: `strong stats, ${masters === 1 ? "one master" : `${masters} masters`}`,
    figure: `masters.${masters}.stat.rate`,
    place: "disk" as const,
    atLeast: 20_000,
    unit: "/s",
  })),
  {
    aim: "strong stats, per second of the leader's CPU, of 3",
    figure: "masters.3.stat.leaderRate",
    place: "disk",
    atLeast: 20_000,
    unit: "/s",
  },
  { aim: "list page out of a large directory, p50", figure: "list.p50", place: "disk", atMost: 10, unit: "ms" },
  { aim: "list page out of a large directory, p99", figure: "list.p99", place: "disk", atMost: 10, unit: "ms" },
  {
    aim: "gateway resident, 16 uploads at once",
    figure: "memory.uploads.gateway",
    place: "disk",
    atMost: 256,
    unit: "MiB",
  },
  {
    aim: "gateway resident, 16 slow downloads",
    figure: "memory.downloads.gateway",
    place: "disk",
    atMost: 256,
    unit: "MiB",
  },
  {
    aim: "gateway resident throughout, on disk",
    figure: "throughout.gateway",
    place: "disk",
    atMost: 256,
    unit: "MiB",
  },
  {
    aim: "gateway resident throughout, in memory",
    figure: "throughout.gateway",
    place: "memory",
    atMost: 256,
    unit: "MiB",
  },
];

export function judge(figures: Figure[]): Verdict[] {
  return AIMS.map(({ aim, unit, atLeast, atMost, figure, of, place }) => {
    const measuredAs = (id: string) => figures.find((one) => one.id === id && one.place === place)?.value ?? null;
    const measured = measuredAs(figure);
    const base = of === undefined ? 100 : measuredAs(of);
    const value = measured === null || base === null ? null : of === undefined ? measured : (100 * measured) / base;
    const limit = (atLeast ?? atMost) as number;
    const reached = value === null ? null : atLeast === undefined ? value <= limit : value >= limit;
    return { aim: `${aim} ${atLeast === undefined ? "≤" : "≥"} ${limit} ${unit}`, value, unit, limit, reached };
  });
}
