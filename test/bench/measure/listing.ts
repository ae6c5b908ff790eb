/** Pages of 1000 names out of one directory that holds very many. */
import { loadCluster } from "../cluster-work.ts";
import type { ListPagesResult, ListPagesTask } from "../load/list-pages.ts";
import type { ManyFilesResult, ManyFilesTask } from "../load/many-files.ts";
import { type Figure, figuresOf, type Measurement, type Session } from "../measurement.ts";

const PAGE_SIZE = 1000;
const CREATE_CONCURRENCY = 64;
const DIRECTORY = "bench/listed";

async function run(session: Session): Promise<Figure[]> {
  const { cluster, sizes, say } = session;
  say(`creating ${sizes.listedNames} names`);
  const { seconds: creating } = await loadCluster<ManyFilesTask, ManyFilesResult>(cluster, "load/many-files.ts", {
    verb: "PUT",
    url: cluster.url,
    directory: DIRECTORY,
    count: sizes.listedNames,
    sizeBytes: 0,
    concurrency: CREATE_CONCURRENCY,
  });
  say("listing");
  const { result, seconds, cpuSeconds } = await loadCluster<ListPagesTask, ListPagesResult>(
    cluster,
    "load/list-pages.ts",
    { url: cluster.url, directory: DIRECTORY, pageSize: PAGE_SIZE, pages: sizes.listPages },
  );
  const note = `${PAGE_SIZE} names each, ${sizes.listedNames.toLocaleString("en")} in the directory, one reader`;
  return figuresOf(
    session,
    { id: "list.rate", label: "list pages", value: result.pages / seconds, unit: "/s", note },
    { id: "list.p50", label: "list page, p50", value: result.latency.p50Ms, unit: "ms" },
    { id: "list.p99", label: "list page, p99", value: result.latency.p99Ms, unit: "ms" },
    { id: "list.client", label: "list pages, client busy", value: (100 * cpuSeconds) / seconds, unit: "% of a core" },
    { id: "list.names", label: "names created before", value: sizes.listedNames / creating, unit: "/s" },
  );
}

export const listing: Measurement = { name: "listing", title: "Listing", where: "memory", run };
