/** Carries out measurements in a place: those that share a cluster on one, the others on clusters of their own. */
import { MiB } from "./arithmetic.ts";
import { startCluster, stopClusters, withClusters } from "./clusters.ts";
import {
  type ApartMeasurement,
  type ApartSession,
  AS_SHIPPED,
  type Figure,
  figuresOf,
  type Measurement,
  type Session,
  type SharedMeasurement,
} from "./measurement.ts";
import { PeakWatch } from "./peak-watch.ts";
import type { Place } from "./place.ts";
import type { Sizes } from "./sizes.ts";

export const THROUGHOUT = "Over the whole run";

export interface Run {
  place: Place;
  sizes: Sizes;
  /** One measurement has failed; the others go on. */
  failed(what: string, error: unknown): void;
}

const isApart = (measurement: Measurement): measurement is ApartMeasurement => "runApart" in measurement;
const sayAs = (place: Place, name: string) => (line: string) => console.error(`  ${place.kind}, ${name}: ${line}`);

/** @returns figures by title */
export async function measureIn(run: Run, measurements: Measurement[]): Promise<Map<string, Figure[]>> {
  const { place, sizes, failed } = run;
  const shared = measurements.filter((one): one is SharedMeasurement => !isApart(one));
  const found = shared.length > 0 ? await measureTogether(run, shared) : new Map<string, Figure[]>();
  for (const { name, title, runApart } of measurements.filter(isApart)) {
    const session: ApartSession = {
      place,
      sizes,
      say: sayAs(place, name),
      withClusters: (wanted, work) => withClusters(place, wanted, work),
    };
    try {
      found.set(title, await runApart(session));
    } catch (error) {
      failed(`${place.kind}, ${name}`, error);
    }
  }
  return found;
}

async function measureTogether(
  { place, sizes, failed }: Run,
  measurements: SharedMeasurement[],
): Promise<Map<string, Figure[]>> {
  const found = new Map<string, Figure[]>();
  const started = await startCluster(place, AS_SHIPPED);
  const peaks = new PeakWatch(started);
  const session = (name: string): Session => ({ place, cluster: started, sizes, peaks, say: sayAs(place, name) });
  for (const { name, title, run } of measurements) {
    try {
      found.set(title, await run(session(name)));
    } catch (error) {
      failed(`${place.kind}, ${name}`, error);
    }
    peaks.throughout();
  }
  const { gatewayBytes, largestWorkerBytes, masterBytes } = peaks.throughout();
  const inMiB = (bytes: number | null): number | null => (bytes === null ? null : bytes / MiB);
  found.set(
    THROUGHOUT,
    figuresOf(
      session(THROUGHOUT),
      { id: "throughout.gateway", label: "gateway peak", value: inMiB(gatewayBytes), unit: "MiB" },
      { id: "throughout.worker", label: "largest worker peak", value: inMiB(largestWorkerBytes), unit: "MiB" },
      { id: "throughout.master", label: "master peak", value: inMiB(masterBytes), unit: "MiB" },
    ),
  );
  await stopClusters();
  return found;
}
