/** Files of 4 KiB, one request each: created durably, read, deleted. */
import { loadCluster, type Work } from "../cluster-work.ts";
import type { ManyFilesResult, ManyFilesTask } from "../load/many-files.ts";
import { type Figure, figuresOf, type Session, type SharedMeasurement } from "../measurement.ts";

const SIZE_BYTES = 4096;
const CONCURRENCY = 32;
const VERBS = [
  { verb: "PUT", id: "create", label: "4 KiB files created" },
  { verb: "GET", id: "read", label: "4 KiB files read" },
  { verb: "DELETE", id: "delete", label: "4 KiB files deleted" },
] as const;

async function run(session: Session): Promise<Figure[]> {
  const { cluster, sizes, say } = session;
  const many = (verb: ManyFilesTask["verb"], directory: string, count: number): Promise<Work<ManyFilesResult>> =>
    loadCluster<ManyFilesTask, ManyFilesResult>(cluster, "load/many-files.ts", {
      verb,
      url: cluster.url,
      directory,
      count,
      sizeBytes: SIZE_BYTES,
      concurrency: CONCURRENCY,
    });
  say("warm-up");
  const warmUp = Math.ceil(sizes.smallFiles / 10);
  for (const { verb } of VERBS) await many(verb, "bench/small-warm-up", warmUp);

  const figures: Figure[] = [];
  for (const { verb, id, label } of VERBS) {
    say(`${sizes.smallFiles} × ${verb}`);
    const { seconds, cpuSeconds, clusterCpuSeconds, result } = await many(verb, "bench/small", sizes.smallFiles);
    const each = clusterCpuSeconds === null ? null : (clusterCpuSeconds / sizes.smallFiles) * 1000;
    figures.push(
      ...figuresOf(
        session,
        {
          id: `small.${id}.rate`,
          label,
          value: sizes.smallFiles / seconds,
          unit: "/s",
          note: `${CONCURRENCY} at a time`,
        },
        { id: `small.${id}.p50`, label: `${label}, p50`, value: result.latency.p50Ms, unit: "ms" },
        { id: `small.${id}.p99`, label: `${label}, p99`, value: result.latency.p99Ms, unit: "ms" },
        { id: `small.${id}.cpu`, label: `${label}, CPU of the cluster`, value: each, unit: "ms each" },
        {
          id: `small.${id}.client`,
          label: `${label}, client busy`,
          value: (100 * cpuSeconds) / seconds,
          unit: "% of a core",
        },
      ),
    );
  }
  return figures;
}

export const smallFiles: SharedMeasurement = { name: "small-files", title: "Small files", where: "both", run };
