/** Files of 0 bytes: no worker is asked, so this is the masters' log and the namespace alone. */
import { loadCluster } from "../cluster-work.ts";
import type { ManyFilesResult, ManyFilesTask } from "../load/many-files.ts";
import { type Figure, figuresOf, type Measurement, type Session } from "../measurement.ts";

const CONCURRENCY = 32;
/** Alone, each request waits for a flush of its own; a tenth of the number is plenty. */
const ALONE_SHARE = 0.1;

async function run(session: Session): Promise<Figure[]> {
  const { cluster, sizes, say } = session;
  const create = (directory: string, count: number, concurrency: number) =>
    loadCluster<ManyFilesTask, ManyFilesResult>(cluster, "load/many-files.ts", {
      verb: "PUT",
      url: cluster.url,
      directory,
      count,
      sizeBytes: 0,
      concurrency,
    });
  say("empty files");
  await create("bench/empty-warm-up", Math.ceil(sizes.emptyFiles / 10), CONCURRENCY);
  const alone = await create("bench/empty-alone", Math.ceil(sizes.emptyFiles * ALONE_SHARE), 1);
  const many = await create("bench/empty", sizes.emptyFiles, CONCURRENCY);
  const rate = sizes.emptyFiles / many.seconds;
  return figuresOf(
    session,
    { id: "metadata.rate", label: "metadata-only creates", value: rate, unit: "/s", note: `${CONCURRENCY} at a time` },
    {
      id: "metadata.p50",
      label: `commit latency, ${CONCURRENCY} at a time, p50`,
      value: many.result.latency.p50Ms,
      unit: "ms",
    },
    {
      id: "metadata.p99",
      label: `commit latency, ${CONCURRENCY} at a time, p99`,
      value: many.result.latency.p99Ms,
      unit: "ms",
    },
    { id: "metadata.alone.p50", label: "commit latency, alone, p50", value: alone.result.latency.p50Ms, unit: "ms" },
    { id: "metadata.alone.p99", label: "commit latency, alone, p99", value: alone.result.latency.p99Ms, unit: "ms" },
  );
}

export const metadata: Measurement = { name: "metadata", title: "Metadata alone", where: "both", run };
