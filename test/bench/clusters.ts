/** Every cluster that the bench starts, so that none outlives it. */
import type { Config } from "../../actors/messages/config.ts";
import projectConfig from "../../config.json";
import { type ClusterOptions, RealCluster } from "../support/real-cluster.ts";
import type { Place } from "./place.ts";

const running = new Set<Promise<RealCluster>>();
let kept = false;

/** Folders of clusters that are stopped from now on stay. */
export function keepFolders(): void {
  kept = true;
}

/** As shipped, but deleted bytes are freed at once, so that each run finds the space of the one before. */
function benchConfig(): Partial<Config> {
  const { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs, tinyFileBytes } = projectConfig;
  const trash = { ...projectConfig.trash, keepMs: 0, deleteGraceMs: 0 };
  return { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs, tinyFileBytes, trash };
}

export async function startCluster(place: Place, options: ClusterOptions): Promise<RealCluster> {
  const config = { ...benchConfig(), ...options.config };
  const starting = RealCluster.start({ parent: place.directory, keep: kept, ...options, config });
  running.add(starting);
  return starting;
}

export async function stopClusters(): Promise<void> {
  for (const cluster of running) await cluster.then((started) => started.stop()).catch(() => {});
  running.clear();
}

/** Starts one cluster for each of `options`, all up at once, and stops them after the work. */
export async function withClusters<T, O extends ClusterOptions[]>(
  place: Place,
  options: [...O],
  work: (...clusters: { [K in keyof O]: RealCluster }) => Promise<T>,
): Promise<T> {
  try {
    const started: RealCluster[] = [];
    for (const wanted of options) started.push(await startCluster(place, wanted));
    return await work(...(started as { [K in keyof O]: RealCluster }));
  } finally {
    await stopClusters();
  }
}
