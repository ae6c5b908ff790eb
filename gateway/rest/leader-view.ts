/** The cluster's state for those who look at it: a probe or a page is told soon that no leader answers. */

import type { Gateway } from "../http/context.ts";
import { askedWaitMs } from "../nodes/patience.ts";
import type { ClusterStateAnswer } from "../ports/data-path.ts";

const PATIENCE_MS = 2000;

/** @throws NO_LEADER after two seconds, or what the client asked for, while a change of files waits longer for a slow leader */
export const leaderView = ({ data }: Gateway): Promise<ClusterStateAnswer> =>
  data.masters.clusterState({ budgetMs: Math.max(PATIENCE_MS, askedWaitMs() ?? 0) });
