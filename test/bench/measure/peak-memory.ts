/** How much memory the gateway and the workers take with many transfers at once, quick writers and slow readers. */
import { MiB, megabytesPerSecond } from "../arithmetic.ts";
import { remove, transfer } from "../cluster-work.ts";
import { type Figure, figuresOf, type Session, type SharedMeasurement } from "../measurement.ts";
import type { Peaks } from "../peak-watch.ts";
import { freeBytes } from "../place.ts";

const TRANSFERS = 16;
const COPIES = 3;
/** Of the free space, so that no worker becomes full. */
const USABLE_SHARE = 0.8;
const SLOW_BYTES_PER_SECOND = 4 * MiB;
const DIRECTORY = "bench/parallel";

const inMiB = (bytes: number | null): number | null => (bytes === null ? null : bytes / MiB);

async function run(session: Session): Promise<Figure[]> {
  const { place, cluster, sizes, peaks, say } = session;
  const fitting = Math.floor((freeBytes(place) * USABLE_SHARE) / (TRANSFERS * COPIES) / MiB) * MiB;
  const sizeBytes = Math.min(sizes.parallelUploadBytes, fitting);
  const cut = sizeBytes < sizes.parallelUploadBytes ? `; no room for ${sizes.parallelUploadBytes / MiB} MiB each` : "";
  const note = `${TRANSFERS} × ${sizeBytes / MiB} MiB at once${cut}`;
  const paths = Array.from({ length: TRANSFERS }, (_, n) => `/files/${DIRECTORY}/${n}`);

  say(note);
  peaks.startAnew();
  const uploads = await transfer(cluster, { verb: "put", paths, sizeBytes });
  const whileUploading = peaks.now();

  say(`${TRANSFERS} slow readers`);
  peaks.startAnew();
  const slow = { bytesPerSecond: SLOW_BYTES_PER_SECOND, stopAfterMs: sizes.slowReadersMs };
  await transfer(cluster, { verb: "get", paths, sizeBytes, ...slow });
  const whileReading = peaks.now();
  await remove(cluster, DIRECTORY);

  const rate = megabytesPerSecond(uploads.result.bytes, uploads.seconds);
  const slowly = `${TRANSFERS} readers of ${SLOW_BYTES_PER_SECOND / MiB} MiB/s each`;
  const both = (id: string, label: string, { gatewayBytes, largestWorkerBytes }: Peaks, told: string) => [
    { id: `${id}.gateway`, label: `gateway peak, ${label}`, value: inMiB(gatewayBytes), unit: "MiB", note: told },
    { id: `${id}.worker`, label: `largest worker peak, ${label}`, value: inMiB(largestWorkerBytes), unit: "MiB" },
  ];
  return figuresOf(
    session,
    ...both("memory.uploads", "uploads", whileUploading, note),
    { id: "memory.uploads.rate", label: "these uploads together", value: rate, unit: "MB/s" },
    ...both("memory.downloads", "slow downloads", whileReading, slowly),
  );
}

export const peakMemory: SharedMeasurement = { name: "peak-memory", title: "Memory", where: "disk", run };
