/** A worker is killed: how long until it is known to be dead, and until every chunk has all its copies again. */
import type { ChunkView } from "../../support/real-cluster.ts";
import { MiB, megabytesPerSecond } from "../arithmetic.ts";
import { transfer } from "../cluster-work.ts";
import { type Figure, figuresOf, type Session, type SharedMeasurement } from "../measurement.ts";

const FILE = "bench/kept-alive";
const PATIENCE_MS = 120_000;

/** The worker that holds most of these chunks' bytes. */
function fullestWorker(chunks: ChunkView[]): { victim: string; bytes: number } {
  const bytesOf = new Map<string, number>();
  for (const { length, replicas } of chunks)
    for (const { worker } of replicas) bytesOf.set(worker, (bytesOf.get(worker) ?? 0) + length);
  const [fullest] = [...bytesOf].sort(([, a], [, b]) => b - a);
  if (!fullest) throw new Error("No worker holds a copy of the file");
  return { victim: fullest[0], bytes: fullest[1] };
}

async function run(session: Session): Promise<Figure[]> {
  const { cluster, sizes, say } = session;
  await transfer(cluster, { verb: "put", paths: [`/files/${FILE}`], sizeBytes: sizes.fileBytes });
  const chunks = await cluster.chunks(FILE);
  const { victim, bytes } = fullestWorker(chunks);

  say(`${victim} dies with ${Math.round(bytes / MiB)} MiB`);
  const died = performance.now();
  await cluster.kill(victim);
  await cluster.until("the worker is known to be dead", PATIENCE_MS, async () => {
    const { workers } = await cluster.view();
    return workers.find(({ id }) => id === victim)?.state === "dead";
  });
  const detected = performance.now();
  await cluster.until("every chunk has all its copies", PATIENCE_MS, async () => {
    const { redundancy } = await cluster.view();
    return redundancy.full === redundancy.chunks;
  });
  const copied = performance.now();

  const copying = (copied - detected) / 1000;
  const { deadAfterMs } = cluster.config;
  return figuresOf(
    session,
    {
      id: "redundancy.seconds",
      label: "from a worker's death to all copies",
      value: (copied - died) / 1000,
      unit: "s",
      note: `${Math.round(bytes / MiB)} MiB copied again`,
    },
    {
      id: "redundancy.detection",
      label: "of that, until it is known",
      value: (detected - died) / 1000,
      unit: "s",
      note: `deadAfterMs is ${deadAfterMs}`,
    },
    { id: "redundancy.copying", label: "of that, copying", value: copying, unit: "s" },
    { id: "redundancy.bytes", label: "copied again", value: bytes / MiB, unit: "MiB" },
    { id: "redundancy.rate", label: "copied again, rate", value: megabytesPerSecond(bytes, copying), unit: "MB/s" },
  );
}

/** The last of a cluster's measurements: it leaves four workers of five. */
export const redundancy: SharedMeasurement = { name: "redundancy", title: "Death of a worker", where: "both", run };
