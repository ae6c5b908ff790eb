/** The cluster's state for those who look at it: a probe or a page is told soon that no leader answers. */
import { Refusal } from "../../actors/messages/errors.ts";
import type { ClusterStateAnswer } from "../data-path-api.ts";
import type { Gateway } from "./context.ts";

const PATIENCE_MS = 2000;

/** @throws NO_LEADER after two seconds, while a change of files waits longer for a new leader */
export async function leaderView(gateway: Gateway): Promise<ClusterStateAnswer> {
  const deadline = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => deadline.reject(new Refusal("NO_LEADER", `No master answered within ${PATIENCE_MS} ms`)),
    PATIENCE_MS,
  );
  try {
    return await Promise.race([gateway.data.masters.clusterState(), deadline.promise]);
  } finally {
    clearTimeout(timer);
  }
}
