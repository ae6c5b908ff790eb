/**
 * Small files, one request each: created durably, read, deleted. 4 KiB is the small file that most others are measured
 * with; 8 KiB is small too, but too large to be anywhere but on workers. As much again goes before it: a node that is still
 * compiling its JavaScript spends up to a third more.
 */
import type { RealCluster } from "../../support/real-cluster.ts";
import { type ClusterWork, loadCluster } from "../cluster-work.ts";
import { cpuFigures } from "../cpu-figures.ts";
import type { ManyFilesResult, ManyFilesTask } from "../load/many-files.ts";
import { type Figure, figuresOf, type Session, type SharedMeasurement } from "../measurement.ts";

export const CONCURRENCY = 32;
export const SIZES = [
  { id: "small", label: "4 KiB files", sizeBytes: 4096 },
  { id: "small8", label: "8 KiB files", sizeBytes: 8192 },
] as const;
export const VERBS = [
  { verb: "PUT", id: "create", did: "created" },
  { verb: "GET", id: "read", did: "read" },
  { verb: "DELETE", id: "delete", did: "deleted" },
] as const;

export const manyFiles = (
  cluster: RealCluster,
  task: Pick<ManyFilesTask, "verb" | "directory" | "count" | "sizeBytes">,
): Promise<ClusterWork<ManyFilesResult>> =>
  loadCluster<ManyFilesTask, ManyFilesResult>(cluster, "load/many-files.ts", {
    url: cluster.url,
    concurrency: CONCURRENCY,
    ...task,
  });

async function run(session: Session): Promise<Figure[]> {
  const { cluster, sizes, say } = session;
  const count = sizes.smallFiles;
  const figures: Figure[] = [];
  for (const { id: size, label: what, sizeBytes } of SIZES) {
    say(`${what}: warm-up`);
    for (const { verb } of VERBS)
      await manyFiles(cluster, { verb, sizeBytes, directory: `bench/${size}-warm-up`, count });
    for (const { verb, id: act, did } of VERBS) {
      say(`${what}: ${count} × ${verb}`);
      const work = await manyFiles(cluster, { verb, sizeBytes, directory: `bench/${size}`, count });
      const { seconds, cpuSeconds, result, spent } = work;
      const [id, label] = [`${size}.${act}`, `${what} ${did}`];
      const busy = (100 * cpuSeconds) / seconds;
      const note = `${CONCURRENCY} at a time`;
      figures.push(
        ...figuresOf(
          session,
          { id: `${id}.rate`, label, value: count / seconds, unit: "/s", note },
          { id: `${id}.p50`, label: `${label}, p50`, value: result.latency.p50Ms, unit: "ms" },
          { id: `${id}.p99`, label: `${label}, p99`, value: result.latency.p99Ms, unit: "ms" },
          ...cpuFigures(id, label, spent, { count, unit: "ms each" }),
          {
            id: `${id}.clientCpu`,
            label: `${label}, client's CPU`,
            value: (1000 * cpuSeconds) / count,
            unit: "ms each",
          },
          { id: `${id}.client`, label: `${label}, client busy`, value: busy, unit: "% of a core" },
        ),
      );
    }
  }
  return figures;
}

export const smallFiles: SharedMeasurement = { name: "small-files", title: "Small files", where: "both", run };
