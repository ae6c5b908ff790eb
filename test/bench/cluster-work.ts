/** Runs load against a cluster and counts what the cluster's processes spent on it. */
import type { RealCluster } from "../support/real-cluster.ts";
import { runLoad } from "./child-processes.ts";
import type { LoadReport } from "./load/load-process.ts";
import type { TransferResult, TransferTask } from "./load/transfer.ts";
import { allOf, type Counted, countFrom, type KindSpent, type NodeKind, nodesOf } from "./spent-cpu.ts";

const TRASH_PATIENCE_MS = 30_000;

export interface Work<Result, K extends string = string> extends LoadReport<Result> {
  /** Of all processes of the cluster, the load generator apart; null if the system does not tell. */
  clusterCpuSeconds: number | null;
  /** The same, told apart. */
  spent: KindSpent<K>[] | null;
}

export type ClusterWork<Result> = Work<Result, NodeKind>;

/** What the processes spent while `work` ran. */
export async function countingCpu<Result, K extends string>(
  processes: Counted<K>[],
  work: () => Promise<LoadReport<Result>>,
): Promise<Work<Result, K>> {
  const since = countFrom(processes);
  const report = await work();
  const spent = since();
  return { ...report, spent, clusterCpuSeconds: allOf(spent) };
}

export const loadCluster = async <Task, Result>(
  cluster: RealCluster,
  script: string,
  task: Task,
): Promise<ClusterWork<Result>> => countingCpu(await nodesOf(cluster), () => runLoad<Task, Result>(script, task));

export const transfer = (
  cluster: RealCluster,
  task: Pick<TransferTask, "verb" | "paths" | "sizeBytes"> & Partial<TransferTask>,
): Promise<ClusterWork<TransferResult>> =>
  loadCluster<TransferTask, TransferResult>(cluster, "load/transfer.ts", {
    url: cluster.url,
    bytesPerSecond: 0,
    stopAfterMs: 0,
    ...task,
  });

/** Deletes files and directories, and waits until the workers have freed the space, so that no run pays for the last. */
export async function remove(cluster: RealCluster, ...paths: string[]): Promise<void> {
  for (const path of paths) {
    const response = await fetch(`${cluster.fileUrl(path)}?recursive=true`, { method: "DELETE" });
    if (!response.ok) throw new Error(`"${path}" was not deleted: ${await response.text()}`);
  }
  await cluster.until("the trash is empty", TRASH_PATIENCE_MS, async () => {
    const { garbage, workers } = await cluster.view();
    return garbage === 0 && workers.every(({ state, trashBytes }) => state !== "live" || trashBytes === 0);
  });
}
