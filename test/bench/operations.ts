/** What is compared, profiled and accounted for: one operation each, done many times in one run. */
import type { RealCluster } from "../support/real-cluster.ts";
import { GiB, megabytesPerSecond } from "./arithmetic.ts";
import { loadCluster, remove, transfer } from "./cluster-work.ts";
import type { Per } from "./cpu-figures.ts";
import type { ListPagesResult, ListPagesTask } from "./load/list-pages.ts";
import { manyFiles } from "./measure/small-files.ts";
import type { Sizes } from "./sizes.ts";
import type { ClusterSpent } from "./spent-cpu.ts";

/** The first run on a cluster. */
export const WARM_UP = "warm-up";

/** What one run of an operation came to. */
export interface Performed {
  /** Operations or millions of bytes per second. */
  rate: number;
  spent: ClusterSpent | null;
  per: Per;
}

export interface Operation {
  id: OperationId;
  label: string;
  /** The measurement that it belongs to, for `--only`. */
  part: "small-files" | "put-and-get" | "page";
  rateUnit: "/s" | "MB/s";
  perUnit: Per["unit"];
  /** The operation that makes what this one reads or deletes. */
  needs?: OperationId;
  /**
   * Runs it `amount` times; of large files, with so many bytes. `run` tells runs apart: the first is WARM_UP, and what is
   * read in one was made in it.
   */
  perform(cluster: RealCluster, amount: Sizes["perTurn"], run: string): Promise<Performed>;
}

export type OperationId = `${"create" | "read" | "delete"}-${"4k" | "8k"}` | "page" | "put" | "get";

function small(verb: "PUT" | "GET" | "DELETE", act: "create" | "read" | "delete", kibibytes: 4 | 8): Operation {
  return {
    id: `${act}-${kibibytes}k`,
    ...(act === "create" ? {} : { needs: `create-${kibibytes}k` as const }),
    label: `${act} ${kibibytes} KiB`,
    part: "small-files",
    rateUnit: "/s",
    perUnit: "ms each",
    perform: async (cluster, { smallFiles: count }, run) => {
      const directory = `bench/${run}-${kibibytes}`;
      const { seconds, spent } = await manyFiles(cluster, { verb, directory, count, sizeBytes: kibibytes * 1024 });
      return { rate: count / seconds, spent, per: { count, unit: "ms each" } };
    },
  };
}

function large(verb: "put" | "get"): Operation {
  return {
    id: verb,
    ...(verb === "get" ? { needs: "put" as const } : {}),
    label: `${verb} a large file`,
    part: "put-and-get",
    rateUnit: "MB/s",
    perUnit: "s/GiB",
    perform: async (cluster, { fileBytes: sizeBytes }, run) => {
      const path = `bench/${run}-large`;
      const { seconds, spent } = await transfer(cluster, { verb, paths: [`/files/${path}`], sizeBytes });
      if (verb === "get") await remove(cluster, path);
      return { rate: megabytesPerSecond(sizeBytes, seconds), spent, per: { count: sizeBytes / GiB, unit: "s/GiB" } };
    },
  };
}

const PAGE_SIZE = 1000;
const PAGED = "bench/paged";

const page: Operation = {
  id: "page",
  label: "page of 1,000 names",
  part: "page",
  rateUnit: "/s",
  perUnit: "ms each",
  perform: async (cluster, { smallFiles }, run) => {
    const names = PAGE_SIZE * Math.ceil(smallFiles / PAGE_SIZE);
    if (run === WARM_UP) await manyFiles(cluster, { verb: "PUT", directory: PAGED, count: names, sizeBytes: 0 });
    const count = Math.ceil(smallFiles / 50);
    const task = { url: cluster.url, directory: PAGED, pageSize: PAGE_SIZE, pages: count };
    const work = await loadCluster<ListPagesTask, ListPagesResult>(cluster, "load/list-pages.ts", task);
    return { rate: count / work.seconds, spent: work.spent, per: { count, unit: "ms each" } };
  },
};

/** In an order in which each finds what it needs. */
export const OPERATIONS: Operation[] = [
  ...([4, 8] as const).flatMap((size) => [
    small("PUT", "create", size),
    small("GET", "read", size),
    small("DELETE", "delete", size),
  ]),
  large("put"),
  large("get"),
  page,
];
