/** The cluster's state for probes and pages, which hear soon if no leader answers. */
import { askedWaitMs } from "../ports/asked-wait.ts";
import type { ClusterStateAnswer, Operations } from "../ports/operations.ts";

const PATIENCE_MS = 2000;

/** @throws NO_LEADER after two seconds, or after what the client asked for; a change of files waits longer for a slow leader */
export const leaderView = (operations: Operations): Promise<ClusterStateAnswer> =>
  operations.clusterState({ budgetMs: Math.max(PATIENCE_MS, askedWaitMs() ?? 0) });
