/** The most memory that a cluster's processes ever had resident, over a run and over parts of it. */
import type { RealCluster } from "../support/real-cluster.ts";
import { forgetPeak, peakResidentBytes } from "./process-accounting.ts";

export interface Peaks {
  gatewayBytes: number | null;
  largestWorkerBytes: number | null;
  masterBytes: number | null;
}

const larger = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.max(a, b);

export class PeakWatch {
  readonly #cluster: RealCluster;
  #throughout: Peaks = { gatewayBytes: null, largestWorkerBytes: null, masterBytes: null };

  constructor(cluster: RealCluster) {
    this.#cluster = cluster;
  }

  /** Peaks since the last `startAnew`. */
  now(): Peaks {
    const peakOf = (kind: string): number | null =>
      this.#cluster
        .pids()
        .filter((node) => node.kind === kind)
        .map(({ pid }) => peakResidentBytes(pid))
        .reduce(larger, null);
    return { gatewayBytes: peakOf("gateway"), largestWorkerBytes: peakOf("worker"), masterBytes: peakOf("master") };
  }

  /** Peaks since the cluster was started. */
  throughout(): Peaks {
    const now = this.now();
    this.#throughout = {
      gatewayBytes: larger(this.#throughout.gatewayBytes, now.gatewayBytes),
      largestWorkerBytes: larger(this.#throughout.largestWorkerBytes, now.largestWorkerBytes),
      masterBytes: larger(this.#throughout.masterBytes, now.masterBytes),
    };
    return this.#throughout;
  }

  /** Forgets the peaks so far, where the system can; `throughout` keeps them. */
  startAnew(): void {
    this.throughout();
    for (const { pid } of this.#cluster.pids()) forgetPeak(pid);
  }
}
