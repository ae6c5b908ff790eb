/** Pages of 1,000 names out of a directory of some thousands, asked one after another, over REST. */
import { loadCluster, remove } from "../cluster-work.ts";
import { cpuFigures } from "../cpu-figures.ts";
import type { ListPagesResult, ListPagesTask } from "../load/list-pages.ts";
import { type Figure, figuresOf, type Session, type SharedMeasurement } from "../measurement.ts";
import { manyFiles } from "./small-files.ts";

const PAGE_SIZE = 1000;
const DIRECTORY = "bench/page";

async function run(session: Session): Promise<Figure[]> {
  const { cluster, sizes, say } = session;
  const { pageNames: names, listPages: pages } = sizes;
  say(`${names} empty files`);
  await manyFiles(cluster, { verb: "PUT", directory: DIRECTORY, count: names, sizeBytes: 0 });
  const list = (count: number) =>
    loadCluster<ListPagesTask, ListPagesResult>(cluster, "load/list-pages.ts", {
      url: cluster.url,
      directory: DIRECTORY,
      pageSize: PAGE_SIZE,
      pages: count,
    });
  await list(Math.ceil(pages / 3));
  say(`${pages} pages`);
  const { result, spent } = await list(pages);
  await remove(cluster, DIRECTORY);
  const note = `${PAGE_SIZE} names each, ${names.toLocaleString("en")} in the directory, one reader, over REST`;
  return figuresOf(
    session,
    { id: "page.p50", label: "page, p50", value: result.latency.p50Ms, unit: "ms", note },
    { id: "page.p99", label: "page, p99", value: result.latency.p99Ms, unit: "ms" },
    ...cpuFigures("page", "page", spent, { count: pages, unit: "ms each" }),
  );
}

export const page: SharedMeasurement = { name: "page", title: "A page of names", where: "disk", run };
